//! What carries mail: a relay, or the log.

use std::{sync::Arc, time::Duration};

use bulkhead_kernel::config::{Mail, MailDriver, MailLinks};

use crate::{
    MailError,
    letter::Letter,
    links::{Purpose, Token},
    smtp::Smtp,
};

/// Carries mail as the settings say. Cheap to clone; a connection lives for one mail.
#[derive(Clone)]
pub struct Mailer {
    carrier: Carrier,
    links: MailLinks,
}

#[derive(Clone)]
enum Carrier {
    Log,
    Smtp(Arc<Smtp>),
}

impl Mailer {
    /// A mailer by the settings; connects to nothing yet.
    pub fn new(settings: &Mail) -> Result<Self, MailError> {
        let carrier = match &settings.driver {
            MailDriver::Log => Carrier::Log,
            MailDriver::Smtp(server) => Carrier::Smtp(Arc::new(Smtp::new(server, settings)?)),
        };
        Ok(Self {
            carrier,
            links: settings.links.clone(),
        })
    }

    /// How long a link of this purpose works.
    pub(crate) const fn lifetime(&self, purpose: Purpose) -> Duration {
        match purpose {
            Purpose::VerifyEmail => self.links.verify,
            Purpose::ResetPassword => self.links.reset,
        }
    }

    /// The link that a token of this purpose is for.
    pub(crate) fn link(&self, purpose: Purpose, token: &Token) -> String {
        self.page(purpose.page(), &token.to_text())
    }

    /// The link to a page of the frontend. The secret stands behind a #, so that no server along the way gets it into its log.
    pub(crate) fn page(&self, page: &str, secret: &str) -> String {
        format!("{}/{page}#token={secret}", self.links.base)
    }

    /// `Ok` means that the relay has taken it over; the log takes everything.
    pub(crate) async fn send(&self, letter: &Letter) -> Result<(), MailError> {
        match &self.carrier {
            Carrier::Smtp(smtp) => smtp.send(letter).await,
            Carrier::Log => {
                tracing::info!(
                    mail.template = letter.template,
                    identity.id = letter.identity.map(tracing::field::display),
                    mail.link = letter.text.link,
                    "mail kept: the driver is log"
                );
                Ok(())
            }
        }
    }
}
