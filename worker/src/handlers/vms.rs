//! Virtual machines.

use bulkhead_compute::{reconcile::Reconciler, vms::ReconcileVm};
use bulkhead_jobs::{Outcome, Run};

/// A hint and no more: the loop knows from the table which machines are due, this one among them.
#[expect(clippy::unused_async, reason = "all handlers look alike")]
pub(crate) async fn reconcile(_: Run, _: ReconcileVm, reconciler: Reconciler) -> Outcome {
    reconciler.nudge();
    Outcome::Done
}
