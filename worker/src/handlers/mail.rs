//! Mail.

use bulkhead_jobs::{Outcome, Run};
use bulkhead_mail::{Mailer, deliver, jobs::SendMail};

pub(crate) async fn send(run: Run, job: SendMail, mailer: Mailer) -> Outcome {
    deliver(&run, &job, &mailer).await
}
