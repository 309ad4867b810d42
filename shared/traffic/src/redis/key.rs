//! The names of keys.

use std::fmt;

/// Whose keys they are. All keys of one owner lie in one slot of a Redis Cluster, so that one script can reach them.
#[derive(Debug, Clone, Copy)]
pub enum Tag<T> {
    /// A group of addresses.
    Address(T),
    /// An account, by its keyed hash.
    Account(T),
}

impl<T: fmt::Display> fmt::Display for Tag<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{{ip:{address}}}"),
            Self::Account(account) => write!(f, "{{acct:{account}}}"),
        }
    }
}

/// The keys of one call. They share their tag: nothing else can be built.
#[derive(Debug, Clone)]
pub struct Keys {
    head: String,
    names: Vec<String>,
}

impl Keys {
    pub(super) fn new(prefix: &str, tag: &Tag<impl fmt::Display>) -> Self {
        Self {
            head: format!("{prefix}:{tag}"),
            names: Vec::new(),
        }
    }

    /// One more key.
    #[must_use]
    pub fn key(mut self, name: impl fmt::Display) -> Self {
        self.names.push(format!("{}:{name}", self.head));
        self
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_call_share_their_hash_tag() {
        let keys = Keys::new("bulkhead", &Tag::Address("2001:db8::/64"))
            .key("failures")
            .key("more");
        assert_eq!(
            keys.names(),
            [
                "bulkhead:{ip:2001:db8::/64}:failures",
                "bulkhead:{ip:2001:db8::/64}:more"
            ]
        );
        let keys = Keys::new("staging", &Tag::Account("ab12")).key("known:ff");
        assert_eq!(keys.names(), ["staging:{acct:ab12}:known:ff"]);
    }
}
