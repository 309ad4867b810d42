//! What mails say: one text file each, its subject on the first line. The HTML part is made from the same file.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::{html, links::Purpose};

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
    /// To somebody with an account whom a tenant has added.
    MemberAdded,
    /// To somebody who was made an operator of the platform; whoever has no password yet chooses one.
    OperatorMade,
    /// To an address that somebody registered, perhaps its owner.
    AccountCreated,
    /// To the owner of an account, when somebody registered with its address once more.
    RegistrationAttempted,
    /// To the owner of an account, when somebody forgot its password.
    PasswordReset,
    /// To the owner of an account with a new password.
    PasswordChanged,
    /// To nobody. An address without an account costs this job, so that the work does not tell it from others.
    Nothing,
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
    /// The same as a page.
    pub(crate) html: String,
    /// The link in both; empty where they have none.
    pub(crate) link: String,
}

/// The most characters of a value that are shown.
const MAX_VALUE_CHARS: usize = 100;

impl Template {
    /// The name for telemetry and for keys.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Welcome { .. } => "welcome",
            Self::MemberAdded => "member_added",
            Self::OperatorMade => "operator_made",
            Self::AccountCreated => "account_created",
            Self::RegistrationAttempted => "registration_attempted",
            Self::PasswordReset => "password_reset",
            Self::PasswordChanged => "password_changed",
            Self::Nothing => "nothing",
            Self::ApiKeyLeaked { .. } => "api_key_leaked",
        }
    }

    /// What the link in it is good for, where it has one.
    pub(crate) const fn purpose(&self) -> Option<Purpose> {
        match self {
            Self::AccountCreated => Some(Purpose::VerifyEmail),
            Self::PasswordReset | Self::OperatorMade => Some(Purpose::ResetPassword),
            Self::Welcome { .. }
            | Self::MemberAdded
            | Self::RegistrationAttempted
            | Self::PasswordChanged
            | Self::ApiKeyLeaked { .. }
            | Self::Nothing => None,
        }
    }

    /// `link` stands where the template has a paragraph that is nothing but `{link}`.
    pub(crate) fn render(&self, first_name: &str, link: &str) -> Text {
        let source = match self {
            Self::Welcome { .. } => include_str!("../templates/welcome.txt"),
            Self::MemberAdded => include_str!("../templates/member_added.txt"),
            Self::OperatorMade => include_str!("../templates/operator_made.txt"),
            Self::AccountCreated => include_str!("../templates/account_created.txt"),
            Self::RegistrationAttempted => include_str!("../templates/registration_attempted.txt"),
            Self::PasswordReset => include_str!("../templates/password_reset.txt"),
            Self::PasswordChanged => include_str!("../templates/password_changed.txt"),
            Self::Nothing => "",
            Self::ApiKeyLeaked { .. } => include_str!("../templates/api_key_leaked.txt"),
        };
        let values = match self {
            Self::Welcome { tenant, slug } => vec![("first_name", first_name), ("tenant", tenant), ("slug", slug)],
            Self::ApiKeyLeaked { tenant, key, hint } => {
                vec![
                    ("first_name", first_name),
                    ("tenant", tenant),
                    ("key", key),
                    ("hint", hint),
                ]
            }
            _ => Vec::new(),
        };
        fill_all(source, &values, link)
    }
}

/// The mail of an invitation. It goes to whoever somebody typed, so it names the tenant by its slug alone, which can hold
/// neither a link nor a sentence.
pub(crate) fn invitation(slug: &str, link: &str) -> Text {
    fill_all(include_str!("../templates/invitation.txt"), &[("slug", slug)], link)
}

/// The whole mail. Paragraphs are found before values are put in, so that no value becomes one, nor a link.
fn fill_all(source: &str, values: &[(&str, &str)], link: &str) -> Text {
    let (head, body) = source.split_once("\n\n").unwrap_or(("", source));
    let subject = fill(head.trim_start_matches("Subject: "), values);
    let (mut text, mut content) = (Vec::new(), String::new());
    for paragraph in body.trim_end().split("\n\n") {
        if paragraph == "{link}" {
            content.push_str(&html::link(link));
            text.push(link.to_owned());
        } else {
            let filled = fill(paragraph, values);
            content.push_str(&html::paragraph(&filled));
            text.push(filled);
        }
    }
    Text {
        link: link.to_owned(),
        html: html::page(&subject, &content),
        body: text.join("\n\n") + "\n",
        subject,
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
            Template::MemberAdded,
            Template::OperatorMade,
            Template::AccountCreated,
            Template::RegistrationAttempted,
            Template::PasswordReset,
            Template::PasswordChanged,
            Template::ApiKeyLeaked {
                tenant: "Acme".into(),
                key: "deploy".into(),
                hint: "x7Qa".into(),
            },
        ] {
            let Text {
                subject, body, html, ..
            } = template.render("Ada", "https://app.example.com/x");
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
            assert_eq!(html.contains("<a "), template.purpose().is_some(), "{html}");
            assert!(html.contains(&format!("<title>{subject}</title>")), "{html}");
            assert_eq!(html.matches("<p>").count(), body.split("\n\n").count(), "{html}");
        }
    }

    #[test]
    fn welcome_names_the_tenant_and_its_founder() {
        let text = welcome("Acme & Söhne").render("Ada", "");
        assert_eq!(text.subject, "Acme & Söhne is ready");
        assert!(text.html.contains("Acme &#38; Söhne is ready"), "{}", text.html);
        assert!(text.body.starts_with("Hello Ada,\n"), "{}", text.body);
        assert!(text.body.contains("short name is acme:"), "{}", text.body);
    }

    #[test]
    fn a_value_stays_one_line_of_text() {
        let text = welcome("Acme\r\nBcc: eve@example.com\u{2028}\u{202e}x\0").render("{slug}\n\nSend money", "");
        assert_eq!(text.subject, "Acme  Bcc: eve@example.com x is ready");
        assert!(text.body.starts_with("Hello {slug}  Send money,\n"), "{}", text.body);
        assert!(welcome(&"é".repeat(1000)).render("", "").subject.chars().count() < 120);
    }

    #[test]
    fn a_link_is_one_only_where_the_template_has_it() {
        let text = fill_all(
            "Subject: s\n\n{name}\n\n{link}\n",
            &[("name", "{link}")],
            "https://ours.example/#t",
        );
        assert_eq!(text.body, "{link}\n\nhttps://ours.example/#t\n");
        assert_eq!(text.html.matches("<a ").count(), 1, "{}", text.html);
    }

    #[test]
    fn an_invitation_names_the_tenant_and_has_the_link() {
        let text = invitation("acme", "https://app.example.com/x#token=y");
        assert_eq!(text.subject, "You are invited to acme");
        assert!(
            text.body.contains("\n\nhttps://app.example.com/x#token=y\n\n"),
            "{}",
            text.body
        );
        assert_eq!(text.html.matches("<a ").count(), 1, "{}", text.html);
        let rest = text.body.replace("https://app.example.com/x#token=y", "");
        assert!(
            !rest.contains(['{', '}']) && rest.lines().all(|line| line.len() <= 76),
            "{rest}"
        );
        assert!(
            text.body.starts_with("Hello") && text.body.ends_with("Bulkhead\n"),
            "{}",
            text.body
        );
    }

    #[test]
    fn a_stranger_gets_no_text_that_somebody_chose() {
        for template in [
            Template::MemberAdded,
            Template::OperatorMade,
            Template::AccountCreated,
            Template::RegistrationAttempted,
            Template::PasswordReset,
        ] {
            assert_eq!(template.render("http://evil.example", ""), template.render("", ""));
        }
    }
}
