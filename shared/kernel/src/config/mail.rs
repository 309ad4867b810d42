//! `[mail]`: how mail leaves.

use std::{net::IpAddr, time::Duration};

use percent_encoding::percent_decode_str;
use url::Url;

use super::{Section, mistakes::Mistakes, reader::SectionReader, template};
use crate::{email::Mailbox, secret::Secret};

/// What carries mail.
#[derive(Clone)]
pub enum MailDriver {
    /// Nothing leaves; a log event says that it would have.
    Log,
    /// A relay.
    Smtp(SmtpServer),
}

/// How mail is sent.
#[derive(Clone)]
pub struct Mail {
    /// What carries it.
    pub driver: MailDriver,
    /// What it comes from; the address is ASCII.
    pub from: Mailbox,
    /// For one mail, from the connection to the server's last word.
    pub timeout: Duration,
    /// The links in them.
    pub links: MailLinks,
}

/// The links in mails.
#[derive(Debug, Clone)]
pub struct MailLinks {
    /// The URL of the frontend, without a slash at its end.
    pub base: String,
    /// How long the link that verifies an address works.
    pub verify: Duration,
    /// How long the link to another password works.
    pub reset: Duration,
}

/// A relay, as its URL describes it.
#[derive(Clone)]
pub struct SmtpServer {
    /// Name or address, the latter without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How the connection is protected.
    pub security: SmtpSecurity,
    /// User and password, where it wants them.
    pub credentials: Option<(String, Secret)>,
}

/// How the connection to a relay is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// Not at all.
    Plain,
    /// By STARTTLS; a server that does not offer it gets no mail.
    StartTls,
    /// By TLS from the first byte.
    Tls,
}

#[derive(Clone, Copy, Default)]
enum Driver {
    #[default]
    Log,
    Smtp,
}

impl Mail {
    pub(super) fn read(section: &mut SectionReader<'_, '_>) -> Self {
        Self {
            driver: driver(section),
            from: from(section),
            timeout: section.secs("timeout_secs", 1..=300),
            links: links(section),
        }
    }

    /// The driver `log` writes links that work to the log, so it is for development: where clients reach the API on this very
    /// machine. Whoever sends mail refuses to start elsewhere without a relay.
    pub(super) fn check_development(&self, public_url: &str, mistakes: &mut Mistakes) {
        if matches!(self.driver, MailDriver::Log) && !is_this_machine(public_url) {
            let expected = "must be smtp, as BULKHEAD__SERVER__PUBLIC_URL is not this very machine: \
                            log writes the links of mails to the log, which is for development";
            mistakes.add_missing(
                Section::Mail,
                template::env_key(Section::Mail.name(), "driver"),
                expected,
            );
        }
    }
}

/// Whether clients reach this URL on this very machine, which tells a place of development.
pub(super) fn is_this_machine(url: &str) -> bool {
    let host = Url::parse(url).ok().and_then(|url| url.host_str().map(bare));
    host.is_some_and(|host| is_loopback(&host))
}

/// A host of a URL without the brackets of IPv6.
fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

fn links(section: &mut SectionReader<'_, '_>) -> MailLinks {
    let base = section.base_url("link_base", &["https", "http"]);
    if base.is_empty() && section.text("driver") == "smtp" {
        section.require(
            "link_base",
            "is required for the driver smtp: the URL of the pages that links in mails open",
        );
    }
    MailLinks {
        base,
        verify: section.secs("verify_link_secs", 60..=30 * 86_400),
        reset: section.secs("reset_link_secs", 60..=86_400),
    }
}

fn driver(section: &mut SectionReader<'_, '_>) -> MailDriver {
    let driver = section.choice("driver", &[("log", Driver::Log), ("smtp", Driver::Smtp)]);
    let url = section.text("smtp_url");
    if url.is_empty() {
        if matches!(driver, Driver::Smtp) {
            section.require(
                "smtp_url",
                "is required for the driver smtp: a URL that begins with smtps:// or smtp://",
            );
        }
        return MailDriver::Log;
    }
    match (SmtpServer::parse(&url), driver) {
        (Ok(server), Driver::Smtp) => return MailDriver::Smtp(server),
        (Ok(_), Driver::Log) => {}
        (Err(expected), _) => section.refuse("smtp_url", expected),
    }
    MailDriver::Log
}

fn from(section: &mut SectionReader<'_, '_>) -> Mailbox {
    let text = section.text("from");
    let mailbox = text
        .parse()
        .ok()
        .filter(|mailbox: &Mailbox| mailbox.email.as_str().is_ascii());
    mailbox.unwrap_or_else(|| {
        section.refuse(
            "from",
            "must be an address in ASCII, such as Bulkhead <no-reply@example.com>",
        );
        Mailbox::stand_in()
    })
}

const SHAPE: &str = "must be smtps://user:password@host:port, or smtp:// with ?tls=required; \
                     user, password and port may be missing";
const UNPROTECTED: &str = "must protect the connection to another machine: smtps://, or smtp:// with ?tls=required \
                           (with ?tls=none mail travels in clear, and then without a password)";

impl SmtpServer {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| SHAPE)?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(SHAPE)?;
        let host = bare(host);
        let credentials = credentials(&url)?;
        let is_bare = matches!(url.path(), "" | "/") && url.fragment().is_none();
        let security = match (url.scheme(), url.query()) {
            _ if !is_bare => return Err(SHAPE),
            ("smtps", None) => SmtpSecurity::Tls,
            ("smtp", Some("tls=required")) => SmtpSecurity::StartTls,
            ("smtp", None) if is_loopback(&host) => SmtpSecurity::Plain,
            ("smtp", Some("tls=none")) if is_loopback(&host) || credentials.is_none() => SmtpSecurity::Plain,
            ("smtp", None | Some("tls=none")) => return Err(UNPROTECTED),
            _ => return Err(SHAPE),
        };
        let port = url.port().unwrap_or(match security {
            SmtpSecurity::Plain => 25,
            SmtpSecurity::StartTls => 587,
            SmtpSecurity::Tls => 465,
        });
        Ok(Self {
            host,
            port,
            security,
            credentials,
        })
    }
}

fn credentials(url: &Url) -> Result<Option<(String, Secret)>, &'static str> {
    let decode = |text: &str| {
        percent_decode_str(text)
            .decode_utf8()
            .map(String::from)
            .map_err(|_| SHAPE)
    };
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) | (_, None) => Err(SHAPE),
        (user, Some(password)) => Ok(Some((decode(user)?, Secret::new(decode(password)?)))),
    }
}

/// Asks no resolver, as a name could change what it means.
fn is_loopback(host: &str) -> bool {
    host.parse::<IpAddr>().map_or_else(
        |_| host.eq_ignore_ascii_case("localhost"),
        |address| address.is_loopback(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_how_the_connection_is_protected() {
        for (text, host, port, security) in [
            ("smtps://mail.example.com", "mail.example.com", 465, SmtpSecurity::Tls),
            (
                "smtps://mail.example.com:4650/",
                "mail.example.com",
                4650,
                SmtpSecurity::Tls,
            ),
            (
                "smtp://mail.example.com?tls=required",
                "mail.example.com",
                587,
                SmtpSecurity::StartTls,
            ),
            ("smtp://127.0.0.1:2525", "127.0.0.1", 2525, SmtpSecurity::Plain),
            ("smtp://localhost", "localhost", 25, SmtpSecurity::Plain),
            ("smtp://ada:word@[::1]", "::1", 25, SmtpSecurity::Plain),
            (
                "smtp://relay.internal?tls=none",
                "relay.internal",
                25,
                SmtpSecurity::Plain,
            ),
        ] {
            let server = SmtpServer::parse(text).unwrap_or_else(|mistake| panic!("{text}: {mistake}"));
            assert_eq!(
                (server.host.as_str(), server.port, server.security),
                (host, port, security),
                "{text}"
            );
        }
    }

    #[test]
    fn nothing_goes_in_clear_to_another_machine_unasked() {
        for text in [
            "smtp://mail.example.com",
            "smtp://ada:word@mail.example.com?tls=none",
            "smtp://127.0.0.1.example.com",
            "smtp://192.0.2.1:25",
        ] {
            assert_eq!(SmtpServer::parse(text).err(), Some(UNPROTECTED), "{text}");
        }
    }

    #[test]
    fn what_is_no_relay_is_refused() {
        for text in [
            "mail.example.com",
            "http://127.0.0.1",
            "smtp:///",
            "smtps://ada@mail.example.com",
            "smtps://:word@mail.example.com",
            "smtps://mail.example.com/name",
            "smtps://mail.example.com?tls=none",
            "smtp://mail.example.com?tls=opportunistic",
            "smtps://mail.example.com#here",
        ] {
            assert_eq!(SmtpServer::parse(text).err(), Some(SHAPE), "{text}");
        }
    }

    #[test]
    fn credentials_are_decoded() {
        let server = SmtpServer::parse("smtps://ada%40example.com:p%2Fw%3Ard@mail.example.com")
            .unwrap_or_else(|m| panic!("{m}"));
        let (user, password) = server.credentials.unwrap();
        assert_eq!((user.as_str(), password.expose()), ("ada@example.com", "p/w:rd"));
    }
}
