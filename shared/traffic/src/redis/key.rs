//! The names of keys.

use std::fmt;

use bulkhead_kernel::ids::TenantId;

/// What may be counted over all tenants together: a person who signs in is in none yet. Anything else belongs to a tenant.
pub const GLOBAL: [&str; 2] = [ADDRESS, ACCOUNT];

const ADDRESS: &str = "ip";
const ACCOUNT: &str = "acct";

/// Whose keys they are. All keys of one owner lie in one slot of a Redis Cluster, so that one script can reach them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag(String);

impl Tag {
    /// A tenant. Two tenants never share a key, whatever ids their objects have.
    #[must_use]
    pub fn tenant(tenant: TenantId) -> Self {
        Self(format!("{{{tenant}}}"))
    }

    /// A group of addresses.
    #[must_use]
    pub fn address(address: impl fmt::Display) -> Self {
        Self(format!("{{{ADDRESS}:{address}}}"))
    }

    /// An account, by its keyed hash.
    #[must_use]
    pub fn account(account: impl fmt::Display) -> Self {
        Self(format!("{{{ACCOUNT}:{account}}}"))
    }
}

/// The keys of one call. They share their tag: nothing else can be built.
#[derive(Debug, Clone)]
pub struct Keys {
    head: String,
    names: Vec<String>,
}

impl Keys {
    pub(super) fn new(prefix: &str, Tag(tag): &Tag) -> Self {
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
        let keys = Keys::new("bulkhead", &Tag::address("2001:db8::/64"))
            .key("failures")
            .key("more");
        assert_eq!(
            keys.names(),
            [
                "bulkhead:{ip:2001:db8::/64}:failures",
                "bulkhead:{ip:2001:db8::/64}:more"
            ]
        );
        let keys = Keys::new("staging", &Tag::account("ab12")).key("known:ff");
        assert_eq!(keys.names(), ["staging:{acct:ab12}:known:ff"]);
    }

    #[test]
    fn equal_objects_of_two_tenants_have_keys_of_their_own() {
        let object = "vm_0190a1b2c3d47e5f8091a2b3c4d5e6f7";
        let [here, there] = [TenantId::new(), TenantId::new()];
        let key = |tenant| Keys::new("bulkhead", &Tag::tenant(tenant)).key(object).names()[0].clone();
        assert_eq!(key(here), format!("bulkhead:{{{here}}}:{object}"));
        assert_ne!(key(here), key(there));
    }
}
