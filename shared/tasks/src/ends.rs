//! The end of a job, told to the tenant's webhooks.

use bulkhead_events::{Event, Job as Told, emit};
use bulkhead_jobs::Run;
use bulkhead_tenancy::DbError;

use crate::AnnounceJob;

/// Writes the event; a webhook that wants it gets it from there.
pub async fn announce(run: &Run, job: AnnounceJob) -> Result<(), DbError> {
    let mut tx = run.tenant_tx().await?;
    let event = Event::JobFinished(Told {
        id: job.job.into(),
        kind: job.kind,
        state: job.state,
    });
    emit(&run.origin, &mut tx, job.at, &event).await?;
    run.commit(tx).await
}
