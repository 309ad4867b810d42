//! The handler of [`SendInvitation`].

use bulkhead_jobs::{Outcome, Run};
use bulkhead_mail::{InvitationMail, MailError, Mailer};
use bulkhead_tenancy::TenantSelector;

use super::{jobs::SendInvitation, store, token::Token};

/// Sends the mail of one job, if its invitation still waits for it. A worker that stops between the relay's yes and the end
/// of the job makes it go out twice, under one Message-ID and with a secret each, both of which work.
pub async fn deliver(run: &Run, job: SendInvitation, mailer: &Mailer) -> Outcome {
    match send(run, job, mailer).await {
        Ok(()) => Outcome::Done,
        Err(error) => error.into(),
    }
}

async fn send(run: &Run, job: SendInvitation, mailer: &Mailer) -> Result<(), MailError> {
    match write(run, job).await? {
        Some(mail) => mailer.invite(run, &mail).await,
        None => Ok(()),
    }
}

/// Makes the secret and keeps its hash, before the conversation with the relay begins. `None` where there is nothing to
/// send any more.
async fn write(run: &Run, job: SendInvitation) -> Result<Option<InvitationMail>, MailError> {
    let mut tx = run.tenant_tx().await?;
    let token = Token::random(tx.tenant(), job.invitation);
    let now = run.clock.now();
    let email = store::add_secret(&mut tx, job.invitation, job.generation, &token.hash(), now).await?;
    run.commit(tx).await?;
    let Some(email) = email else { return Ok(None) };
    let tenant = run.db().resolve(&TenantSelector::Id(token.tenant)).await?;
    Ok(Some(InvitationMail {
        to: email.parse().map_err(|_| MailError::Unmailable)?,
        tenant: tenant.slug.as_str().to_owned(),
        token: token.to_text(),
    }))
}
