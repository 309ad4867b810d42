//! Invitations.

use bulkhead_iam::invitations::{deliver, jobs::SendInvitation};
use bulkhead_jobs::{Outcome, Run};
use bulkhead_mail::Mailer;

pub(crate) async fn send(run: Run, job: SendInvitation, mailer: Mailer) -> Outcome {
    deliver(&run, job, &mailer).await
}
