//! One conversation with a relay per mail.

#[cfg(test)]
mod tests;

use std::{fmt::Write as _, time::Duration};

use bulkhead_kernel::{
    config::{Mail, SmtpSecurity, SmtpServer},
    email::Mailbox,
};
use lettre::{
    Message,
    transport::smtp::{
        Error,
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, TlsParameters},
        extension::ClientId,
    },
};
use tokio::time::timeout;

use crate::{MailError, letter, letter::Letter};

const MECHANISMS: &[Mechanism] = &[Mechanism::Plain, Mechanism::Login];

/// How long a relay that has taken the mail may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// A relay and how to reach it.
pub(crate) struct Smtp {
    host: String,
    port: u16,
    security: Security,
    credentials: Option<Credentials>,
    from: Mailbox,
    /// The domain of our own address: a container's name means nothing outside, and relays mistrust bare ones.
    hello: ClientId,
    timeout: Duration,
}

enum Security {
    Plain,
    StartTls(TlsParameters),
    Tls(TlsParameters),
}

impl Smtp {
    pub(crate) fn new(server: &SmtpServer, settings: &Mail) -> Result<Self, MailError> {
        let tls =
            || TlsParameters::new_rustls(server.host.clone()).map_err(|error| MailError::Setup(error.to_string()));
        let credentials = server.credentials.as_ref();
        Ok(Self {
            host: server.host.clone(),
            port: server.port,
            security: match server.security {
                SmtpSecurity::Plain => Security::Plain,
                SmtpSecurity::StartTls => Security::StartTls(tls()?),
                SmtpSecurity::Tls => Security::Tls(tls()?),
            },
            credentials: credentials.map(|(user, password)| Credentials::new(user.clone(), password.expose().into())),
            from: settings.from.clone(),
            hello: ClientId::Domain(letter::address(&settings.from.email)?.domain().to_owned()),
            timeout: settings.timeout,
        })
    }

    pub(crate) async fn send(&self, letter: &Letter) -> Result<(), MailError> {
        let message = letter.message(&self.from)?;
        let mut connection = timeout(self.timeout, self.hand_over(&message))
            .await
            .map_err(|_| MailError::Unavailable(format!("no end after {} s", self.timeout.as_secs_f32())))??;
        // It is the relay's mail by now; how the conversation ends changes nothing.
        let _ = timeout(GOODBYE.min(self.timeout), connection.abort()).await;
        Ok(())
    }

    async fn hand_over(&self, message: &Message) -> Result<AsyncSmtpConnection, MailError> {
        let mut connection = self.connect().await.map_err(|error| unavailable(&error))?;
        let envelope = message.envelope();
        connection
            .send(envelope, &message.formatted())
            .await
            .map_err(|error| refusal(&error).map_or_else(|| unavailable(&error), MailError::Refused))?;
        Ok(connection)
    }

    /// Up to the point where the mail itself is the subject: until then every no is about us, not about the mail.
    async fn connect(&self) -> Result<AsyncSmtpConnection, Error> {
        let tls = match &self.security {
            Security::Tls(tls) => Some(tls.clone()),
            Security::Plain | Security::StartTls(_) => None,
        };
        let server = (self.host.as_str(), self.port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, Some(self.timeout), &self.hello, tls, None).await?;
        if let Security::StartTls(tls) = &self.security {
            connection.starttls(tls.clone(), &self.hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }
}

/// The code of a refusal for good. 530 to 538 ask for a sign-in or for TLS (RFC 4954, RFC 3207): ours to set right, and
/// then the mail can go.
fn refusal(error: &Error) -> Option<u16> {
    let code = error.status().filter(|_| error.is_permanent())?.into();
    (!(530..=538).contains(&code)).then_some(code)
}

/// The relay's own words stay out, as they may repeat an address.
fn unavailable(error: &Error) -> MailError {
    if let Some(code) = error.status() {
        return MailError::Unavailable(format!("it answers {}", u16::from(code)));
    }
    if error.is_response() {
        return MailError::Unavailable("its answer makes no sense".into());
    }
    let mut text = String::from("the conversation broke off");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    MailError::Unavailable(text)
}
