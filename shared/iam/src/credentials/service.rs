//! What can be done with credentials.

use bulkhead_jobs::Owner;
use bulkhead_kernel::{
    email::Email,
    fault::Violation,
    ids::{IdentityId, SessionId},
    origin::Origin,
    secret::Secret,
};
use bulkhead_mail::{
    Template,
    jobs::SendMail,
    links::{Purpose, service as links},
};
use bulkhead_tenancy::{ControlTx, DbError};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tracing::instrument;
use uuid::Uuid;

use super::{
    CredentialError,
    store::{self, Account},
};
use crate::{Iam, Person, passwords, sessions};

/// Mails a link to another password to whoever has this address, if it is an account's.
#[instrument(skip_all)]
pub async fn ask_reset(origin: &Origin, iam: &Iam, email: &Email) -> Result<(), CredentialError> {
    mail(origin, iam, email, Template::PasswordReset, |_| true).await
}

/// Mails the link that verifies this address once more, if an account waits for it.
#[instrument(skip_all)]
pub async fn ask_verification(origin: &Origin, iam: &Iam, email: &Email) -> Result<(), CredentialError> {
    let is_waiting = |account: &Account| !account.is_email_verified;
    mail(origin, iam, email, Template::AccountCreated, is_waiting).await
}

/// One look and one job, whoever it is: nobody's job goes to a person who does not exist and does nothing.
async fn mail(
    origin: &Origin,
    iam: &Iam,
    email: &Email,
    template: Template,
    is_meant: impl Fn(&Account) -> bool,
) -> Result<(), CredentialError> {
    let mut tx = iam.db.control().await?;
    let account = store::find_account(&mut tx, email).await?;
    let job = match account.filter(is_meant) {
        Some(account) => SendMail {
            to: account.identity,
            template,
        },
        None => SendMail {
            to: nobody(iam, email),
            template: Template::Nothing,
        },
    };
    bulkhead_jobs::enqueue_for(origin, &mut tx, Owner::Platform, &job).await?;
    Ok(tx.commit().await?)
}

/// The same for the same address, so that a second job for it is as needless as for a person.
fn nobody(iam: &Iam, email: &Email) -> IdentityId {
    let secret = iam.tokens.derive_secret("nobody");
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&secret).unwrap_or_else(|_| unreachable!());
    mac.update(email.as_str().as_bytes());
    let digest: [u8; 32] = mac.finalize().into_bytes().into();
    Uuid::from_slice(&digest[..16]).unwrap_or_default().into()
}

/// The address of the link's person is theirs from here on.
#[instrument(skip_all)]
pub async fn verify_email(iam: &Iam, token: &Secret) -> Result<(), CredentialError> {
    let now = iam.clock.now();
    let mut tx = iam.db.control().await?;
    let identity = links::redeem(&mut tx, Purpose::VerifyEmail, token.expose(), now).await?;
    let identity = identity.ok_or(CredentialError::LinkInvalid)?;
    store::set_email_verified(&mut tx, identity, now).await?;
    Ok(tx.commit().await?)
}

/// Gives the link's person another password and ends all their sessions. Gives their address. A password that is refused
/// does not use the link up.
#[instrument(skip_all)]
pub async fn reset_password(
    origin: &Origin,
    iam: &Iam,
    token: &Secret,
    password: Secret,
) -> Result<String, CredentialError> {
    let mut tx = iam.db.control().await?;
    let identity = links::find(&mut tx, Purpose::ResetPassword, token.expose(), iam.clock.now()).await?;
    let identity = identity.ok_or(CredentialError::LinkInvalid)?;
    let found = store::find_password(&mut tx, identity).await?;
    tx.commit().await?;
    let (email, _) = found.ok_or(CredentialError::LinkInvalid)?;
    let hash = hash(iam, "/password", password, &email).await?;
    let now = iam.clock.now();
    let mut tx = iam.db.control().await?;
    let redeemed = links::redeem(&mut tx, Purpose::ResetPassword, token.expose(), now).await?;
    redeemed.ok_or(CredentialError::LinkInvalid)?;
    store::set_email_verified(&mut tx, identity, now).await?;
    renew(origin, iam, &mut tx, identity, &hash, None).await?;
    tx.commit().await?;
    iam.forget_identity(identity);
    tracing::info!(identity.id = %identity, "a password was reset by mail");
    Ok(email)
}

/// Gives the caller another password and ends all their other sessions.
#[instrument(skip_all)]
pub async fn change_password(
    origin: &Origin,
    iam: &Iam,
    caller: &Person,
    present: Secret,
    new: Secret,
) -> Result<(), CredentialError> {
    let identity = caller.identity;
    let mut tx = iam.db.control().await?;
    let found = store::find_password(&mut tx, identity).await?;
    tx.commit().await?;
    let (email, stored) = found.ok_or(CredentialError::WrongPassword)?;
    let is_short_enough = present.expose().chars().nth(passwords::MAX_CHARS).is_none();
    let checked = stored.clone().filter(|_| is_short_enough);
    if !iam.passwords.is_right(present, checked).await? {
        return Err(CredentialError::WrongPassword);
    }
    let hash = hash(iam, "/new_password", new, &email).await?;
    let mut tx = iam.db.control().await?;
    if !store::lock_password(&mut tx, identity, stored.as_deref()).await? {
        return Err(CredentialError::WrongPassword);
    }
    renew(origin, iam, &mut tx, identity, &hash, Some(caller.session)).await?;
    tx.commit().await?;
    iam.forget_identity(identity);
    tracing::info!(identity.id = %identity, "a password was changed");
    Ok(())
}

async fn hash(iam: &Iam, pointer: &str, password: Secret, email: &str) -> Result<String, CredentialError> {
    match passwords::objection(password.expose(), email) {
        Some(objection) => Err(CredentialError::Refused(Violation::new(pointer, objection))),
        None => Ok(iam.passwords.hash(password).await?),
    }
}

/// The new password, and the end of what the old one opened.
async fn renew(
    origin: &Origin,
    iam: &Iam,
    tx: &mut ControlTx,
    identity: IdentityId,
    hash: &str,
    but: Option<SessionId>,
) -> Result<(), DbError> {
    store::set_password(tx, identity, hash, iam.clock.now()).await?;
    sessions::service::end_all(iam, tx, identity, but).await?;
    links::revoke(tx, identity, Purpose::ResetPassword).await?;
    let notice = SendMail {
        to: identity,
        template: Template::PasswordChanged,
    };
    bulkhead_jobs::enqueue_for(origin, tx, Owner::Platform, &notice).await?;
    Ok(())
}
