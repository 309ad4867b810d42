//! A person, and what somebody must say to become one.

use std::str::FromStr;

use bulkhead_kernel::{email::Email, fault::Violation, ids::IdentityId, secret::Secret};

use crate::passwords;

/// A given or family name: 1 to 100 characters, none of them a control character, no spaces around.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonName(String);

impl PersonName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PersonName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let name = text.trim();
        let has_length = !name.is_empty() && name.chars().take(101).count() <= 100;
        if has_length && !name.chars().any(char::is_control) {
            Ok(Self(name.into()))
        } else {
            Err("must be 1 to 100 characters, without control characters")
        }
    }
}

/// A wish to become an identity, with everything checked that can be without asking anybody.
pub struct Registration {
    pub(super) email: Email,
    pub(super) password: Secret,
    pub(super) first_name: PersonName,
    pub(super) last_name: PersonName,
}

impl Registration {
    /// Checks what came over the wire and reports everything that is wrong with it.
    pub fn parse(email: &str, password: &Secret, first_name: &str, last_name: &str) -> Result<Self, Vec<Violation>> {
        let mut violations = Vec::new();
        let email = kept(&mut violations, "/email", parse_email(email));
        let address = email.as_ref().map_or("", Email::as_str);
        let objection = passwords::objection(password.expose(), address).map_or(Ok(()), Err);
        let password = kept(&mut violations, "/password", objection).map(|()| password.clone());
        let first_name = kept(&mut violations, "/first_name", first_name.parse());
        let last_name = kept(&mut violations, "/last_name", last_name.parse());
        match (email, password, first_name, last_name) {
            (Some(email), Some(password), Some(first_name), Some(last_name)) => Ok(Self {
                email,
                password,
                first_name,
                last_name,
            }),
            _ => Err(violations),
        }
    }
}

/// Other names for a person; what is not given stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rename {
    pub(super) first_name: Option<PersonName>,
    pub(super) last_name: Option<PersonName>,
}

impl Rename {
    /// Checks what came over the wire and reports everything that is wrong with it.
    pub fn parse(first_name: Option<&str>, last_name: Option<&str>) -> Result<Self, Vec<Violation>> {
        let mut violations = Vec::new();
        let mut name = |pointer, text: Option<&str>| text.and_then(|text| kept(&mut violations, pointer, text.parse()));
        let (first_name, last_name) = (name("/first_name", first_name), name("/last_name", last_name));
        if violations.is_empty() {
            Ok(Self { first_name, last_name })
        } else {
            Err(violations)
        }
    }
}

fn parse_email(text: &str) -> Result<Email, &'static str> {
    text.parse().map_err(|_| "is not an e-mail address")
}

fn kept<T>(violations: &mut Vec<Violation>, pointer: &str, parsed: Result<T, &'static str>) -> Option<T> {
    parsed
        .map_err(|objection| violations.push(Violation::new(pointer, objection)))
        .ok()
}

/// What a registration is answered with: nothing that tells a new address from a known one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The address, as we keep it.
    pub email: String,
    /// The given name, as it was sent.
    pub first_name: String,
    /// The family name, as it was sent.
    pub last_name: String,
    /// `unverified` where the address has to be verified before the first sign-in, else `active`.
    pub status: &'static str,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The id.
    pub id: IdentityId,
    /// The address.
    pub email: String,
    /// The given name.
    pub first_name: String,
    /// The family name.
    pub last_name: String,
    /// Whether the person may sign in at all.
    pub is_active: bool,
    /// Whether the person runs the platform, and is not deactivated there.
    pub is_operator: bool,
    /// Whether the address is known to be the person's.
    pub is_email_verified: bool,
}

/// What a sign-in is checked against.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) identity: IdentityId,
    pub(crate) password_hash: Option<String>,
    pub(crate) is_active: bool,
    pub(crate) is_email_verified: bool,
}

/// The person whom an address belongs to, and whether it was so before.
pub(crate) struct Claimed {
    pub(crate) identity: IdentityId,
    pub(crate) is_new: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(email: &str, password: &str, first_name: &str, last_name: &str) -> Result<Registration, Vec<Violation>> {
        Registration::parse(email, &Secret::new(password), first_name, last_name)
    }

    #[test]
    fn a_registration_is_kept_trimmed_and_with_its_address_in_lower_case() {
        let registration = parse(" Ada@Example.com", "correct horse", " Ada ", "Lovelace")
            .ok()
            .unwrap();
        assert_eq!(registration.email.as_str(), "ada@example.com");
        assert_eq!(registration.first_name.as_str(), "Ada");
    }

    #[test]
    fn everything_wrong_with_a_registration_is_told_at_once() {
        let violations = parse("ada", "short", "", "a\0b").err().unwrap();
        let pointers: Vec<_> = violations.iter().map(|violation| violation.pointer.as_str()).collect();
        assert_eq!(pointers, ["/email", "/password", "/first_name", "/last_name"]);
        assert!(parse("ada@example.com", "correct horse", &"x".repeat(101), "L").is_err());
        assert!(parse("ada@example.com", "correct horse", &"é".repeat(100), "L").is_ok());
        assert!(parse("horse@example.com", "Horse@example.com", "A", "L").is_err());
    }
}
