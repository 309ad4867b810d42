//! The mail of an invitation: to an address, which need not be anybody's yet.

use bulkhead_jobs::Run;
use bulkhead_kernel::email::Email;

use crate::{MailError, Mailer, letter::Letter, template};

/// What the mail of an invitation is made of. It has no `Debug`, as it holds a secret.
pub struct InvitationMail {
    /// Whom it is for.
    pub to: Email,
    /// The tenant's slug.
    pub tenant: String,
    /// What the link carries; characters that need no escape in a URL.
    pub token: String,
}

impl Mailer {
    /// Sends the mail of the job's invitation. `Ok` means that the relay has taken it over.
    pub async fn invite(&self, run: &Run, mail: &InvitationMail) -> Result<(), MailError> {
        let link = self.page("accept-invitation", &mail.token);
        let letter = Letter {
            id: run.job,
            identity: None,
            to: mail.to.clone(),
            template: "invitation",
            text: template::invitation(&mail.tenant, &link),
            written_at: run.clock.now(),
        };
        self.send(&letter).await
    }
}
