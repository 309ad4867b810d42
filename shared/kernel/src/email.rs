//! E-mail addresses, compared without regard to case.

use std::{fmt, str::FromStr};

/// A syntactically plausible address in lower case, at most 254 bytes (RFC 5321, 4.5.3.1.3). Its `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

/// The text is not an address we would send mail to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address")]
pub struct MalformedEmail;

impl Email {
    /// The address in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Email {
    type Err = MalformedEmail;

    fn from_str(text: &str) -> Result<Self, MalformedEmail> {
        let email = text.trim().to_lowercase();
        let (local, domain) = email.rsplit_once('@').ok_or(MalformedEmail)?;
        let is_local = !local.is_empty()
            && local.len() <= 64
            && local
                .chars()
                .all(|c| !c.is_whitespace() && !c.is_control() && !"@<>()[]\\,;:\"".contains(c));
        let is_domain = domain.contains('.')
            && domain.split('.').all(|label| {
                !label.is_empty()
                    && label.len() <= 63
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            });
        if is_local && is_domain && email.len() <= 254 {
            Ok(Self(email))
        } else {
            Err(MalformedEmail)
        }
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

/// An address and the name that is shown with it, as in `Ada <ada@example.com>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// One line, never empty.
    pub name: Option<String>,
    /// Where mail goes.
    pub email: Email,
}

impl Mailbox {
    /// For a setting that cannot be read, in settings that are then refused.
    pub(crate) const fn stand_in() -> Self {
        let email = Email(String::new());
        Self { name: None, email }
    }
}

impl FromStr for Mailbox {
    type Err = MalformedEmail;

    fn from_str(text: &str) -> Result<Self, MalformedEmail> {
        let Some((name, rest)) = text.rsplit_once('<') else {
            let email = text.parse()?;
            return Ok(Self { name: None, email });
        };
        let email = rest.trim_end().strip_suffix('>').ok_or(MalformedEmail)?.parse()?;
        let name = name.trim();
        if name.chars().any(|c| c.is_control() || "<>\"\\".contains(c)) {
            return Err(MalformedEmail);
        }
        let name = Some(name.to_owned()).filter(|name| !name.is_empty());
        Ok(Self { name, email })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_lowered_and_trimmed() {
        let email: Email = " Ada@Example.COM ".parse().unwrap();
        assert_eq!(email.as_str(), "ada@example.com");
        assert_eq!(format!("{email:?}"), "Email(…)");
    }

    #[test]
    fn a_mailbox_may_have_a_name() {
        let mailbox: Mailbox = "Ada Lovelace <Ada@example.com>".parse().unwrap();
        assert_eq!(mailbox.name.as_deref(), Some("Ada Lovelace"));
        assert_eq!(mailbox.email.as_str(), "ada@example.com");
        for text in ["ada@example.com", "<ada@example.com>"] {
            assert_eq!(text.parse::<Mailbox>().unwrap().name, None, "{text}");
        }
        for text in [
            "Ada",
            "Ada <ada@example.com",
            "Ada\r\nBcc: x <ada@example.com>",
            "Ada <ada>",
            "A <b> <ada@example.com>",
        ] {
            assert!(text.parse::<Mailbox>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "@",
            "a@b",
            "a b@c.d",
            "a@b..c",
            "a\u{0}@b.c",
            "a@-b.c",
            "a@b.c\u{0}",
            "<a>@b.c",
            "a@@b.c",
        ] {
            assert_eq!(text.parse::<Email>(), Err(MalformedEmail), "{text:?}");
        }
        assert!(format!("{}@example.com", "a".repeat(65)).parse::<Email>().is_err());
    }
}
