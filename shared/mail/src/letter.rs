//! One mail to one person, and its form on the wire.

use bulkhead_kernel::{
    email::{Email, Mailbox},
    ids::{IdentityId, JobId},
};
use chrono::{DateTime, Utc};
use lettre::{
    Address, Message,
    message::{
        Mailbox as Header, MultiPart, MultiPartKind, SinglePart,
        header::{ContentType, HeaderName, HeaderValue},
    },
};

use crate::{MailError, template::Text};

/// A mail that is ready to go.
pub(crate) struct Letter {
    /// Names the mail; the same in every attempt.
    pub(crate) id: JobId,
    /// The person, where the address is somebody's.
    pub(crate) identity: Option<IdentityId>,
    pub(crate) to: Email,
    /// The template's name.
    pub(crate) template: &'static str,
    pub(crate) text: Text,
    pub(crate) written_at: DateTime<Utc>,
}

impl Letter {
    /// The message as it travels. The recipient's name stays out of its headers.
    pub(crate) fn message(&self, from: &Mailbox) -> Result<Message, MailError> {
        let from = Header::new(from.name.clone(), address(&from.email)?);
        let message_id = format!("<{}@{}>", self.id, from.email.domain());
        // RFC 3834: no out-of-office notice shall answer.
        let automatic = HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".into(),
        );
        let part = |kind, text: &str| SinglePart::builder().header(kind).body(text.to_owned());
        // Made from the id, so that every attempt sends the same bytes.
        let parts = MultiPart::builder()
            .kind(MultiPartKind::Alternative)
            .boundary(format!("part_{}", self.id))
            .singlepart(part(ContentType::TEXT_PLAIN, &self.text.body))
            .singlepart(part(ContentType::TEXT_HTML, &self.text.html));
        Message::builder()
            .from(from)
            .to(Header::new(None, address(&self.to)?))
            .subject(self.text.subject.as_str())
            .message_id(Some(message_id))
            .date(self.written_at.into())
            .raw_header(automatic)
            .multipart(parts)
            .map_err(|_| MailError::Unmailable)
    }
}

/// The two crates differ a little in what they take for an address.
pub(crate) fn address(email: &Email) -> Result<Address, MailError> {
    email.as_str().parse().map_err(|_| MailError::Unmailable)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Template;

    pub(crate) fn letter(tenant: &str) -> Letter {
        let template = Template::Welcome {
            tenant: tenant.into(),
            slug: "acme".into(),
        };
        Letter {
            id: "job_0190a1b2c3d47e5f8a9b0c1d2e3f4a5b".parse().unwrap(),
            identity: Some(IdentityId::new()),
            to: "ada@example.org".parse().unwrap(),
            template: template.name(),
            text: template.render("Ada", ""),
            written_at: "2026-11-21T00:00:00Z".parse().unwrap(),
        }
    }

    fn formatted(letter: &Letter) -> String {
        let from = "Bulkhead <no-reply@example.com>".parse().unwrap();
        String::from_utf8(letter.message(&from).unwrap().formatted()).unwrap()
    }

    #[test]
    fn the_head_is_complete_and_tells_a_repeat() {
        let text = formatted(&letter("Acme"));
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let head = head.replace("\r\n ", " ");
        let lines: Vec<_> = head.lines().collect();
        assert_eq!(
            lines,
            [
                "From: Bulkhead <no-reply@example.com>",
                "To: ada@example.org",
                "Subject: Acme is ready",
                "Message-ID: <job_0190a1b2c3d47e5f8a9b0c1d2e3f4a5b@example.com>",
                "Date: Sat, 21 Nov 2026 00:00:00 +0000",
                "Auto-Submitted: auto-generated",
                "MIME-Version: 1.0",
                "Content-Type: multipart/alternative; boundary=\"part_job_0190a1b2c3d47e5f8a9b0c1d2e3f4a5b\"",
            ]
        );
        let parts: Vec<_> = body.split("--part_job_0190a1b2c3d47e5f8a9b0c1d2e3f4a5b").collect();
        assert!(parts[1].contains("text/plain") && parts[1].contains("\r\n\r\nHello Ada,\r\n\r\nAcme is ready"));
        assert!(
            parts[2].contains("text/html") && parts[2].contains("<p>Hello Ada,</p>"),
            "{body}"
        );
        assert_eq!(text, formatted(&letter("Acme")), "every attempt sends the same bytes");
    }

    #[test]
    fn no_value_adds_a_header() {
        let mut letter = letter("Acme\r\nBcc: eve@example.com\r\n\r\nBody");
        let names = |text: &str| {
            let (head, _) = text.split_once("\r\n\r\n").unwrap();
            head.lines().filter(|line| !line.starts_with(' ')).count()
        };
        assert_eq!(names(&formatted(&letter)), 8, "{}", formatted(&letter));
        // Even past the template.
        letter.text.subject = "x\r\nBcc: eve@example.com\r\n\r\nBody".into();
        let text = formatted(&letter);
        assert_eq!(names(&text), 8, "{text}");
        assert!(!text.contains("\nBcc:"), "{text}");
    }

    #[test]
    fn other_scripts_travel_encoded() {
        let text = formatted(&letter("Größe 東京"));
        assert!(text.is_ascii(), "{text}");
        assert!(text.contains("Subject: =?utf-8?b?"), "{text}");
    }
}
