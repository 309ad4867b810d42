//! What carries mail: a relay, or the log.

use std::sync::Arc;

use bulkhead_kernel::config::{Mail, MailDriver};

use crate::{MailError, letter::Letter, smtp::Smtp};

/// Carries mail as the settings say. Cheap to clone; a connection lives for one mail.
#[derive(Clone)]
pub struct Mailer(Carrier);

#[derive(Clone)]
enum Carrier {
    Log,
    Smtp(Arc<Smtp>),
}

impl Mailer {
    /// A mailer by the settings; connects to nothing yet.
    pub fn new(settings: &Mail) -> Result<Self, MailError> {
        Ok(Self(match &settings.driver {
            MailDriver::Log => Carrier::Log,
            MailDriver::Smtp(server) => Carrier::Smtp(Arc::new(Smtp::new(server, settings)?)),
        }))
    }

    /// `Ok` means that the relay has taken it over; the log takes everything.
    pub(crate) async fn send(&self, letter: &Letter) -> Result<(), MailError> {
        match &self.0 {
            Carrier::Smtp(smtp) => smtp.send(letter).await,
            Carrier::Log => {
                tracing::info!(mail.template = letter.template, identity.id = %letter.identity, "mail kept: the driver is log");
                Ok(())
            }
        }
    }
}
