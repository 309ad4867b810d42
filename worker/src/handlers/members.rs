//! Members.

use bulkhead_iam::members::{MemberError, jobs::CopyNames, names};
use bulkhead_jobs::Run;

pub(crate) async fn copy_names(run: Run, job: CopyNames) -> Result<(), MemberError> {
    names::copy(&run, job).await
}
