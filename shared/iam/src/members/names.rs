//! The handler of [`CopyNames`]: a tenant lists its members from its own rows, so what a person is called stands there too.

use bulkhead_audit::{Actor, Event, record};
use bulkhead_jobs::Run;
use bulkhead_kernel::ids::IdentityId;
use bulkhead_tenancy::TenantTx;

use super::{MemberError, jobs::CopyNames, store};
use crate::identities::{IdentityError, service::find};

/// Brings the names of the member up to date. Somebody who is no member, or is called so already: nothing.
pub async fn copy(run: &Run, job: CopyNames) -> Result<(), MemberError> {
    let mut tx = run.tenant_tx().await?;
    let Some(names) = lock(run, &mut tx, job.identity).await? else {
        return Ok(tx.commit().await?);
    };
    if names.before != names.after {
        let now = run.clock.now();
        store::set_names(&mut tx, job.identity, &names.after, now).await?;
        let actor = Actor {
            kind: "member",
            id: job.identity.to_string(),
        };
        let ([first_before, last_before], [first, last]) = (names.before, names.after);
        let event = Event::new("member.rename", actor, &run.origin, now)
            .on("user", job.identity)
            .change("first_name", first_before, first)
            .change("last_name", last_before, last);
        record(&mut tx, event).await?;
    }
    // The lease is a row beside the job. Where the tenant is elsewhere it cannot be held, and need not be: the member's row
    // was locked before the names were read, so that whoever is late read the newest.
    if tx.is_at_home() || !run.db().cluster().is_home() {
        return Ok(run.commit(tx).await?);
    }
    Ok(tx.commit().await?)
}

/// The names here and at home, in this order, the member's row kept from others until the transaction ends.
async fn lock(run: &Run, tx: &mut TenantTx, identity: IdentityId) -> Result<Option<store::Names>, MemberError> {
    if tx.is_at_home() {
        return Ok(store::lock_names(tx, identity).await?);
    }
    let Some(before) = store::lock_own_names(tx, identity).await? else {
        return Ok(None);
    };
    match find(&run.db().home(), identity).await {
        Ok(person) => Ok(Some(store::Names {
            before,
            after: [person.first_name, person.last_name],
        })),
        Err(IdentityError::NotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
