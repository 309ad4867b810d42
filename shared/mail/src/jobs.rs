//! The background work of mail.

use bulkhead_jobs::Job;
use bulkhead_kernel::ids::IdentityId;
use serde::{Deserialize, Serialize};

use crate::Template;

/// Sends one mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendMail {
    /// Who gets it; the address is looked up when it is sent.
    pub to: IdentityId,
    /// What it says.
    pub template: Template,
}

impl Job for SendMail {
    const KIND: &'static str = "mail.send";
    /// About two hours: relays put unknown senders off for a while, and are down now and then.
    const MAX_ATTEMPTS: u16 = 30;

    /// The same mail is not sent twice because somebody asked twice in a row.
    fn unique_key(&self) -> Option<String> {
        let name = self.template.name();
        Some(match &self.template {
            Template::Welcome { slug, .. } => format!("{}:{name}:{slug}", self.to),
            Template::ApiKeyLeaked { hint, .. } => format!("{}:{name}:{hint}", self.to),
            _ => format!("{}:{name}", self.to),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Jobs outlive a release, so what is in the queue must still be read by the next one.
    #[test]
    fn payloads_keep_their_form() {
        let to: IdentityId = "usr_0190a1b2c3d47e5f8a9b0c1d2e3f4a5b".parse().unwrap();
        let welcome = Template::Welcome {
            tenant: "Acme".into(),
            slug: "acme".into(),
        };
        for (template, payload) in [
            (welcome, r#"{"welcome":{"tenant":"Acme","slug":"acme"}}"#),
            (Template::MemberAdded, r#""member_added""#),
            (Template::OperatorMade, r#""operator_made""#),
            (Template::AccountCreated, r#""account_created""#),
            (Template::RegistrationAttempted, r#""registration_attempted""#),
            (Template::PasswordReset, r#""password_reset""#),
            (Template::PasswordChanged, r#""password_changed""#),
            (Template::Nothing, r#""nothing""#),
            (
                Template::ApiKeyLeaked {
                    tenant: "Acme".into(),
                    key: "deploy".into(),
                    hint: "x7Qa".into(),
                },
                r#"{"api_key_leaked":{"tenant":"Acme","key":"deploy","hint":"x7Qa"}}"#,
            ),
        ] {
            let job = SendMail { to, template };
            let text = format!(r#"{{"to":"{to}","template":{payload}}}"#);
            assert_eq!(serde_json::to_string(&job).unwrap(), text);
            assert_eq!(serde_json::from_str::<SendMail>(&text).unwrap(), job);
        }
    }

    #[test]
    fn only_the_same_mail_shares_a_key() {
        let to = IdentityId::new();
        let key = |to, template| SendMail { to, template }.unique_key();
        let welcome = |slug: &str| Template::Welcome {
            tenant: "Acme".into(),
            slug: slug.into(),
        };
        assert_eq!(key(to, welcome("acme")), key(to, welcome("acme")));
        assert_ne!(key(to, welcome("acme")), key(to, welcome("acme-2")));
        assert_ne!(
            key(to, Template::AccountCreated),
            key(to, Template::RegistrationAttempted)
        );
        assert_ne!(
            key(to, Template::AccountCreated),
            key(IdentityId::new(), Template::AccountCreated)
        );
    }
}
