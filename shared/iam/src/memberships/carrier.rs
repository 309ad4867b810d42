//! Carries what the members of remote tenants changed into the index at home.
//!
//! What waits stays until it is written at home, and only then goes. A carrier that dies in between is followed by one that
//! writes the same again, which changes nothing.

use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::{Db, DbError};

use super::store::outbox;

/// Carried in one transaction.
const BATCH: i64 = 200;

/// Carries everything that waits in the cluster where `db` is. Tenants that are frozen by a move keep what they have: it goes
/// with them.
pub async fn carry_all(db: &Db) -> Result<(), DbError> {
    while db.has_clusters() && carry(db, None).await? {}
    Ok(())
}

/// A batch of what waits in a cluster; `false` when nothing was left.
pub(super) async fn carry(db: &Db, tenant: Option<TenantId>) -> Result<bool, DbError> {
    let mut here = db.control().await?;
    let words = outbox::list(&mut here, tenant, BATCH).await?;
    here.commit().await?;
    if words.is_empty() {
        return Ok(false);
    }
    let mut home = db.home().control().await?;
    outbox::apply(&mut home, &words).await?;
    home.commit().await?;
    let mut here = db.control().await?;
    let n_carried = outbox::delete(&mut here, &words).await?;
    here.commit().await?;
    Ok(n_carried > 0)
}
