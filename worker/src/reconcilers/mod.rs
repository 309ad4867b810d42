//! Loops without input: each compares what is wanted with what is there.

pub(crate) mod audit;
pub(crate) mod capacity;
pub(crate) mod signing_keys;
pub(crate) mod tenants;
pub(crate) mod vms;
