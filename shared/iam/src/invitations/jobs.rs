//! The background work of invitations.

use bulkhead_jobs::Job;
use bulkhead_kernel::ids::{InvitationId, TenantId};
use serde::{Deserialize, Serialize};

/// Sends the mail of an invitation. Neither address nor secret are in it: one is read and the other made when it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendInvitation {
    /// Which invitation of the job's tenant.
    pub invitation: InvitationId,
    /// Which of its mails; one that another has replaced is not sent any more.
    pub generation: i32,
}

impl Job for SendInvitation {
    const KIND: &'static str = "invitations.send";
    /// About two hours, as any mail.
    const MAX_ATTEMPTS: u16 = 30;

    fn unique_key(&self) -> Option<String> {
        Some(format!("{}:{}", self.invitation, self.generation))
    }

    fn may_belong_to(&self, tenant: Option<TenantId>) -> bool {
        tenant.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Jobs outlive a release, so what is in the queue must still be read by the next one.
    #[test]
    fn the_payload_keeps_its_form() {
        let text = r#"{"invitation":"inv_0190a1b2c3d47e5f8a9b0c1d2e3f4a5b","generation":2}"#;
        let job: SendInvitation = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&job).unwrap(), text);
    }

    #[test]
    fn each_mail_of_an_invitation_is_sent_and_no_one_twice() {
        let invitation = InvitationId::new();
        let key = |generation| SendInvitation { invitation, generation }.unique_key();
        assert_eq!(key(1), key(1));
        assert_ne!(key(1), key(2));
    }
}
