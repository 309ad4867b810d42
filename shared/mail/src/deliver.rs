//! The handler of [`SendMail`].

use bulkhead_jobs::{Outcome, Run};

use crate::{
    MailError, Mailer, Template, jobs::SendMail, letter::Letter, links::service as links, store, store::Recipient,
};

/// Sends the mail of one job. A mail cannot be taken back, so the lease is checked right before it leaves, and a worker
/// that stops between the relay's yes and the end of the job makes the mail go out twice, with the same Message-ID.
pub async fn deliver(run: &Run, job: &SendMail, mailer: &Mailer) -> Outcome {
    if job.template == Template::Nothing {
        return Outcome::Done;
    }
    match send(run, job, mailer).await {
        Ok(()) => Outcome::Done,
        Err(error) => error.into(),
    }
}

async fn send(run: &Run, job: &SendMail, mailer: &Mailer) -> Result<(), MailError> {
    let (Recipient { email, first_name }, link) = prepare(run, job, mailer).await?;
    let letter = Letter {
        id: run.job,
        identity: Some(job.to),
        to: email.ok_or(MailError::Unmailable)?,
        template: job.template.name(),
        text: job.template.render(&first_name, &link),
        written_at: run.clock.now(),
    };
    mailer.send(&letter).await
}

/// Who gets it, and a link of their own where it carries one. Ends its transaction before the conversation with the relay
/// begins.
async fn prepare(run: &Run, job: &SendMail, mailer: &Mailer) -> Result<(Recipient, String), MailError> {
    // People are known at home, the lease where the job is.
    let mut home = run.db().home().control().await?;
    let recipient = store::find(&mut home, job.to).await?;
    let recipient = recipient.ok_or(MailError::UnknownIdentity)?;
    let link = match job.template.purpose() {
        Some(purpose) => {
            let lifetime = mailer.lifetime(purpose);
            let token = links::issue(&mut home, job.to, purpose, run.clock.now(), lifetime).await?;
            mailer.link(purpose, &token)
        }
        None => String::new(),
    };
    home.commit().await?;
    let mut tx = run.db().control().await?;
    run.hold_control(&mut tx).await?;
    tx.commit().await?;
    Ok((recipient, link))
}
