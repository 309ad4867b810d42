//! The handler of [`CopyNames`]: a tenant lists its members from its own rows, so what a person is called stands there too.

use bulkhead_audit::{Actor, Event, record};
use bulkhead_jobs::Run;

use super::{MemberError, jobs::CopyNames, store};

/// Brings the names of the member up to date. Somebody who is no member, or is called so already: nothing.
pub async fn copy(run: &Run, job: CopyNames) -> Result<(), MemberError> {
    let mut tx = run.tenant_tx().await?;
    let Some(names) = store::lock_names(&mut tx, job.identity).await? else {
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
    Ok(run.commit(tx).await?)
}
