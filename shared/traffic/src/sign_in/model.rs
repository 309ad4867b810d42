//! Who tries to sign in to what, and what became of it.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use bulkhead_kernel::email::Email;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use uuid::Uuid;

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The password was right.
    Succeeded,
    /// It was not, or there is no such account.
    Failed,
    /// Nobody knows: we failed before it was looked at. Nothing is counted.
    Undecided,
}

impl Outcome {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Undecided => "undecided",
        }
    }
}

/// An admitted attempt. It counts as a failure until its outcome is recorded, so that attempts at the same time cannot
/// share what is left, and hanging up early wins nothing.
#[derive(Debug)]
#[must_use = "an attempt without an outcome counts as a failure"]
pub struct Attempt {
    pub(super) id: Uuid,
    pub(super) account: Account,
    pub(super) address: AddressGroup,
    pub(super) mark: Mark,
}

/// An account by its keyed hash; exists or not, nobody can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Account(u128);

/// An account and an address together, by their keyed hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Mark(u128);

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The addresses that one customer of a network has: one of IPv4, a /64 of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressGroup(IpAddr);

impl From<IpAddr> for AddressGroup {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()),
            v4 @ IpAddr::V4(_) => Self(v4),
        }
    }
}

impl fmt::Display for AddressGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}

impl Attempt {
    /// `email` is what was typed, an address or not.
    pub(super) fn new(secret: &Hmac<Sha256>, email: &str, address: IpAddr) -> Self {
        let address = AddressGroup::from(address);
        let account = match email.parse::<Email>() {
            Ok(email) => hash(secret, "account", email.as_str()),
            Err(_) => hash(secret, "account", email),
        };
        Self {
            id: Uuid::now_v7(),
            account: Account(account),
            address,
            mark: Mark(hash(secret, "mark", &format!("{account:032x}{address}"))),
        }
    }

    /// As the budgets know it.
    pub(super) fn entry(&self) -> String {
        format!("{}:{}", self.mark, self.id.simple())
    }
}

fn hash(secret: &Hmac<Sha256>, purpose: &str, text: &str) -> u128 {
    let mut mac = secret.clone();
    mac.update(purpose.as_bytes());
    mac.update(&[0]);
    mac.update(text.as_bytes());
    let digest = mac.finalize().into_bytes();
    digest
        .iter()
        .take(16)
        .fold(0, |hash, byte| hash << 8 | u128::from(*byte))
}

/// What a budget says to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Admitted,
    /// Attempts under way have taken what is left; some may give it back soon.
    Busy,
    /// Failures have.
    Refused(Duration),
}

impl Admission {
    /// Both have to admit; the later time counts.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Refused(one), Self::Refused(other)) => Self::Refused(one.max(other)),
            (refused @ Self::Refused(_), _) | (_, refused @ Self::Refused(_)) => refused,
            (Self::Admitted, Self::Admitted) => Self::Admitted,
            (Self::Busy, _) | (_, Self::Busy) => Self::Busy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(address: &str) -> String {
        AddressGroup::from(address.parse::<IpAddr>().unwrap()).to_string()
    }

    #[test]
    fn ipv6_counts_by_64_bits_and_ipv4_by_all() {
        assert_eq!(group("203.0.113.7"), "203.0.113.7");
        assert_eq!(group("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(group("2001:db8:1:2:ffff:ffff:ffff:ffff"), "2001:db8:1:2::/64");
        assert_ne!(group("2001:db8:1:3::1"), group("2001:db8:1:2::1"));
        assert_eq!(
            group("::ffff:203.0.113.7"),
            "203.0.113.7",
            "the same host over either family"
        );
    }

    #[test]
    fn an_account_is_its_address_in_any_case_and_its_hash_needs_the_secret() {
        let key = |text: &[u8]| Hmac::<Sha256>::new_from_slice(text).unwrap();
        let address = "203.0.113.7".parse().unwrap();
        let attempt = |secret: &[u8], email: &str| Attempt::new(&key(secret), email, address);
        let ada = attempt(b"s", "ada@example.com");
        assert_eq!(ada.account, attempt(b"s", " Ada@Example.COM").account);
        assert_eq!(ada.mark, attempt(b"s", "ADA@example.com").mark);
        assert_ne!(ada.account, attempt(b"t", "ada@example.com").account);
        assert_ne!(ada.account, attempt(b"s", "bob@example.com").account);
        assert!(!format!("{ada:?}{}", ada.entry()).contains("ada"));
    }

    #[test]
    fn one_refusal_is_enough_and_the_later_time_counts() {
        let refused = |secs| Admission::Refused(Duration::from_secs(secs));
        assert_eq!(Admission::Admitted.and(Admission::Admitted), Admission::Admitted);
        assert_eq!(Admission::Admitted.and(Admission::Busy), Admission::Busy);
        assert_eq!(Admission::Busy.and(refused(3)), refused(3));
        assert_eq!(refused(5).and(refused(3)), refused(5));
    }
}
