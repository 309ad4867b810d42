//! What mails say: one text file each, its subject on the first line.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// A mail we send, with the values it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Template {
    /// To the founder of a tenant that is about to open.
    Welcome {
        /// The tenant's name.
        tenant: String,
        /// The tenant's slug.
        slug: String,
    },
    /// To an address that somebody registered, perhaps its owner.
    AccountCreated,
    /// To the owner of an account, when somebody registered with its address once more.
    RegistrationAttempted,
    /// To the owner of an API key that was found where it should not be.
    ApiKeyLeaked {
        /// The tenant's name.
        tenant: String,
        /// What the key is called.
        key: String,
        /// Its last characters.
        hint: String,
    },
}

/// A rendered template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    /// One line.
    pub(crate) subject: String,
    /// Lines that end in a line feed.
    pub(crate) body: String,
}

/// The most characters of a value that are shown.
const MAX_VALUE_CHARS: usize = 100;

impl Template {
    /// The name for telemetry and for keys.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Welcome { .. } => "welcome",
            Self::AccountCreated => "account_created",
            Self::RegistrationAttempted => "registration_attempted",
            Self::ApiKeyLeaked { .. } => "api_key_leaked",
        }
    }

    pub(crate) fn render(&self, first_name: &str) -> Text {
        let source = match self {
            Self::Welcome { .. } => include_str!("../templates/welcome.txt"),
            Self::AccountCreated => include_str!("../templates/account_created.txt"),
            Self::RegistrationAttempted => include_str!("../templates/registration_attempted.txt"),
            Self::ApiKeyLeaked { .. } => include_str!("../templates/api_key_leaked.txt"),
        };
        let values = match self {
            Self::Welcome { tenant, slug } => vec![("first_name", first_name), ("tenant", tenant), ("slug", slug)],
            Self::AccountCreated | Self::RegistrationAttempted => Vec::new(),
            Self::ApiKeyLeaked { tenant, key, hint } => {
                vec![
                    ("first_name", first_name),
                    ("tenant", tenant),
                    ("key", key),
                    ("hint", hint),
                ]
            }
        };
        let (head, body) = source.split_once("\n\n").unwrap_or(("", source));
        Text {
            subject: fill(head.trim_start_matches("Subject: "), &values),
            body: fill(body, &values),
        }
    }
}

/// Puts the values into the places named `{so}`. One pass: a value that looks like a place stays as it is.
fn fill(source: &str, values: &[(&str, &str)]) -> String {
    let mut pieces = source.split('{');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let place = piece.split_once('}');
        let value = place.and_then(|(name, rest)| Some((values.iter().find(|(known, _)| *known == name)?.1, rest)));
        // Writing to a String cannot fail.
        let _ = match value {
            Some((value, rest)) => write!(text, "{}{rest}", one_line(value)),
            None => write!(text, "{{{piece}"),
        };
    }
    text
}

/// Breaks and controls become blanks, and characters that turn the direction of writing go away, so that a value can
/// neither add lines nor disguise what stands beside it.
fn one_line(value: &str) -> String {
    value
        .chars()
        .filter(|c| !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        .map(|c| {
            if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
                ' '
            } else {
                c
            }
        })
        .take(MAX_VALUE_CHARS)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome(tenant: &str) -> Template {
        Template::Welcome {
            tenant: tenant.into(),
            slug: "acme".into(),
        }
    }

    #[test]
    fn every_template_is_complete() {
        for template in [
            welcome("Acme"),
            Template::AccountCreated,
            Template::RegistrationAttempted,
            Template::ApiKeyLeaked {
                tenant: "Acme".into(),
                key: "deploy".into(),
                hint: "x7Qa".into(),
            },
        ] {
            let Text { subject, body } = template.render("Ada");
            assert!(
                !subject.is_empty() && subject.len() <= 70 && !subject.contains('\n'),
                "{subject}"
            );
            assert!(body.starts_with("Hello") && body.ends_with("Bulkhead\n"), "{body}");
            assert!(
                !format!("{subject}{body}").contains(['{', '}']),
                "a place was not filled: {subject}\n{body}"
            );
            assert!(body.lines().all(|line| line.len() <= 76), "{body}");
        }
    }

    #[test]
    fn welcome_names_the_tenant_and_its_founder() {
        let text = welcome("Acme & Söhne").render("Ada");
        assert_eq!(text.subject, "Acme & Söhne is ready");
        assert!(text.body.starts_with("Hello Ada,\n"), "{}", text.body);
        assert!(text.body.contains("short name is acme:"), "{}", text.body);
    }

    #[test]
    fn a_value_stays_one_line_of_text() {
        let text = welcome("Acme\r\nBcc: eve@example.com\u{2028}\u{202e}x\0").render("{slug}\n\nSend money");
        assert_eq!(text.subject, "Acme  Bcc: eve@example.com x is ready");
        assert!(text.body.starts_with("Hello {slug}  Send money,\n"), "{}", text.body);
        assert!(welcome(&"é".repeat(1000)).render("").subject.chars().count() < 120);
    }

    #[test]
    fn a_stranger_gets_no_text_that_somebody_chose() {
        for template in [Template::AccountCreated, Template::RegistrationAttempted] {
            assert_eq!(template.render("http://evil.example"), template.render(""));
        }
    }
}
