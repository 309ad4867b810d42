//! Audit logs: sealed, attested outside of the database, and kept as long as each tenant wants.

use bulkhead_iam::audit_log::Keeper;
use bulkhead_kernel::{clock::Clock, config::Config};
use bulkhead_tenancy::Db;

/// Keeps the logs of all tenants.
pub(crate) fn keeper(db: Db, config: &Config) -> Keeper {
    Keeper::new(db, config, Clock::system())
}
