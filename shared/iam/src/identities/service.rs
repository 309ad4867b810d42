//! What can be done with identities.

use bulkhead_jobs::Owner;
use bulkhead_kernel::{
    email::Email,
    fault::Violation,
    ids::{IdentityId, SessionId},
    origin::Origin,
    secret::Secret,
};
use bulkhead_mail::{Template, jobs::SendMail};
use bulkhead_tenancy::{ControlTx, Db, DbError};
use chrono::{DateTime, Utc};
use tracing::instrument;

use super::{
    Credentials, Identity, IdentityError, PersonName, Registered, Registration, Rename, model::Claimed, store,
};
use crate::{
    Iam, Person,
    members::jobs::CopyNames,
    memberships,
    passwords::{self, Passwords},
};

/// Makes somebody an identity. For a known address nothing changes but that its owner gets a mail; the answer is the
/// same, and so is the work: one hash, one write, one job.
#[instrument(skip_all)]
pub async fn register(origin: &Origin, iam: &Iam, new: Registration) -> Result<Registered, IdentityError> {
    let hash = iam.passwords.hash(new.password).await?;
    let names = [&new.first_name, &new.last_name];
    let mut tx = iam.db.control().await?;
    let inserted = store::insert_unless_known(&mut tx, &new.email, &hash, names, iam.clock.now()).await;
    let claimed = inserted.map_err(email_refused)?;
    let mail = SendMail {
        to: claimed.identity,
        template: if claimed.is_new {
            Template::AccountCreated
        } else {
            Template::RegistrationAttempted
        },
    };
    bulkhead_jobs::enqueue_for(origin, &mut tx, Owner::Platform, &mail).await?;
    tx.commit().await?;
    Ok(Registered {
        email: new.email.as_str().to_owned(),
        first_name: new.first_name.as_str().to_owned(),
        last_name: new.last_name.as_str().to_owned(),
        status: if iam.settings.require_verified_email {
            "unverified"
        } else {
            "active"
        },
    })
}

/// The identity of this address, made without a password where there is none, and whether it is new. For those who add
/// people: the names are of use only for somebody new, and the work is the same in both cases.
pub(crate) async fn claim(
    iam: &Iam,
    email: &Email,
    names: [&PersonName; 2],
) -> Result<(IdentityId, bool), IdentityError> {
    let mut tx = iam.db.control().await?;
    let claimed = claim_within(&mut tx, iam, email, names).await?;
    tx.commit().await?;
    Ok((claimed.identity, claimed.is_new))
}

/// [`claim`] in a transaction that makes more of the person.
pub(crate) async fn claim_within(
    tx: &mut ControlTx,
    iam: &Iam,
    email: &Email,
    names: [&PersonName; 2],
) -> Result<Claimed, IdentityError> {
    let forgets_unproved = iam.settings.require_verified_email;
    let claimed = store::insert_without_password(tx, email, names, forgets_unproved, iam.clock.now()).await;
    claimed.map_err(email_refused)
}

/// The hash and the names of somebody whom another transaction makes an identity.
pub(crate) async fn prepare(iam: &Iam, new: Registration) -> Result<(String, [PersonName; 2]), IdentityError> {
    let hash = iam.passwords.hash(new.password).await?;
    Ok((hash, [new.first_name, new.last_name]))
}

/// Our idea of lower case and the database's differ in a few letters of few scripts.
fn email_refused(error: DbError) -> IdentityError {
    if error.constraint() == Some("identities_email_check") {
        IdentityError::Invalid(vec![Violation::new("/email", "is not an e-mail address")])
    } else {
        error.into()
    }
}

/// The identity of this address for the command line, made with this password and a verified address where there is none.
pub(crate) async fn claim_verified(
    tx: &mut ControlTx,
    passwords: &Passwords,
    email: &str,
    password: Secret,
    now: DateTime<Utc>,
) -> Result<Claimed, IdentityError> {
    let refuse = |pointer, objection| IdentityError::Invalid(vec![Violation::new(pointer, objection)]);
    let email: Email = email
        .parse()
        .map_err(|_| refuse("/email", "is not an e-mail address"))?;
    if let Some(objection) = passwords::objection(password.expose(), email.as_str()) {
        return Err(refuse("/password", objection));
    }
    let hash = passwords.hash(password).await?;
    let claimed = store::insert_verified(tx, &email, &hash, now).await;
    claimed.map_err(email_refused)
}

/// The person as they see themselves.
#[instrument(skip_all)]
pub async fn me(iam: &Iam, identity: IdentityId) -> Result<Identity, IdentityError> {
    find(&iam.db, identity).await
}

/// One person; `home` is where people are.
pub(crate) async fn find(home: &Db, identity: IdentityId) -> Result<Identity, IdentityError> {
    let mut tx = home.control().await?;
    let found = store::find(&mut tx, identity).await?;
    tx.commit().await?;
    found.ok_or(IdentityError::NotFound)
}

/// Gives the person other names. Their copies in the tenants follow by a job each.
#[instrument(skip_all)]
pub async fn rename(
    origin: &Origin,
    iam: &Iam,
    identity: IdentityId,
    names: &Rename,
) -> Result<Identity, IdentityError> {
    let mut tx = iam.db.control().await?;
    store::set_names(&mut tx, identity, names, iam.clock.now()).await?;
    for tenant in memberships::service::list_all(&mut tx, identity).await? {
        bulkhead_jobs::enqueue_for(origin, &mut tx, Owner::Tenant(tenant), &CopyNames { identity }).await?;
    }
    let found = store::find(&mut tx, identity).await?;
    tx.commit().await?;
    found.ok_or(IdentityError::NotFound)
}

/// Refuses whoever does not run the platform.
#[instrument(skip_all)]
pub async fn require_operator(iam: &Iam, identity: IdentityId) -> Result<(), IdentityError> {
    match me(iam, identity).await {
        Ok(person) if person.is_operator && person.is_active => Ok(()),
        Ok(_) | Err(IdentityError::NotFound) => Err(IdentityError::NotAnOperator),
        Err(error) => Err(error),
    }
}

pub(crate) async fn find_credentials(tx: &mut ControlTx, email: &Email) -> Result<Option<Credentials>, DbError> {
    store::find_credentials(tx, email).await
}

pub(crate) async fn find_principal(
    iam: &Iam,
    identity: IdentityId,
    session: SessionId,
) -> Result<Option<Person>, DbError> {
    let mut tx = iam.db.control().await?;
    let found = store::find_principal(&mut tx, identity, session, iam.clock.now()).await?;
    tx.commit().await?;
    Ok(found)
}
