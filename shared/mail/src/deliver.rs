//! The handler of [`SendMail`].

use bulkhead_jobs::{Outcome, Run};
use bulkhead_kernel::ids::IdentityId;

use crate::{MailError, Mailer, jobs::SendMail, letter::Letter, store, store::Recipient};

/// Sends the mail of one job. A mail cannot be taken back, so the lease is checked right before it leaves, and a worker
/// that stops between the relay's yes and the end of the job makes the mail go out twice, with the same Message-ID.
pub async fn deliver(run: &Run, job: &SendMail, mailer: &Mailer) -> Outcome {
    match send(run, job, mailer).await {
        Ok(()) => Outcome::Done,
        Err(error) => error.into(),
    }
}

async fn send(run: &Run, job: &SendMail, mailer: &Mailer) -> Result<(), MailError> {
    let Recipient { email, first_name } = recipient(run, job.to).await?;
    let letter = Letter {
        id: run.job,
        identity: job.to,
        to: email.ok_or(MailError::Unmailable)?,
        template: job.template.name(),
        text: job.template.render(&first_name),
        written_at: run.clock.now(),
    };
    mailer.send(&letter).await
}

/// Ends its transaction before the conversation with the relay begins.
async fn recipient(run: &Run, identity: IdentityId) -> Result<Recipient, MailError> {
    // People are known at home, the lease where the job is.
    let mut home = run.db().home().control().await?;
    let recipient = store::find(&mut home, identity).await?;
    home.commit().await?;
    let mut tx = run.db().control().await?;
    run.hold_control(&mut tx).await?;
    tx.commit().await?;
    recipient.ok_or(MailError::UnknownIdentity)
}
