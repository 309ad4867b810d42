//! What can be done with operators, by operators.

use bulkhead_audit::{Actor, Event};
use bulkhead_jobs::Owner;
use bulkhead_kernel::{
    clock::Clock,
    ids::IdentityId,
    origin::Origin,
    page::{Page, PageRequest},
    secret::Secret,
};
use bulkhead_mail::{Template, jobs::SendMail};
use bulkhead_tenancy::{ControlTx, Db};
use serde_json::Value;
use tracing::instrument;

use super::{Made, NewOperator, Operator, OperatorError, store};
use crate::{Iam, identities, passwords::Passwords, support_access};

/// One page of operators by address, those included who are not active any more.
#[instrument(skip_all)]
pub async fn list(iam: &Iam, page: PageRequest) -> Result<Page<Operator>, OperatorError> {
    let mut tx = iam.db.control().await?;
    let found = store::list(&mut tx, page).await?;
    tx.commit().await?;
    Ok(found)
}

/// One operator.
#[instrument(skip_all)]
pub async fn get(iam: &Iam, id: IdentityId) -> Result<Operator, OperatorError> {
    let mut tx = iam.db.control().await?;
    let found = find(&mut tx, id).await?;
    tx.commit().await?;
    Ok(found)
}

/// Makes the person with this address an operator, and an identity without a password where they are none. They get a mail
/// with a link to choose one.
#[instrument(skip_all)]
pub async fn create(origin: &Origin, iam: &Iam, by: IdentityId, new: &NewOperator) -> Result<Operator, OperatorError> {
    let mut tx = iam.db.control().await?;
    take_turn(&mut tx, by).await?;
    let names = [&new.first_name, &new.last_name];
    let claimed = identities::service::claim_within(&mut tx, iam, &new.email, names).await?;
    let id = claimed.identity;
    if !store::insert(&mut tx, id, &by.to_string(), iam.clock.now()).await? {
        return Err(OperatorError::Exists);
    }
    let mail = SendMail {
        to: id,
        template: Template::OperatorMade,
    };
    bulkhead_jobs::enqueue_for(origin, &mut tx, Owner::Platform, &mail).await?;
    record(origin, &mut tx, "operator.create", id, None, true).await?;
    let operator = find(&mut tx, id).await?;
    tx.commit().await?;
    Ok(operator)
}

/// Takes everything from an operator but their name; the next request of theirs is refused, and what they had of tenants is
/// over. Nobody does so to themselves. Done before: nothing.
#[instrument(skip_all)]
pub async fn deactivate(origin: &Origin, iam: &Iam, by: IdentityId, id: IdentityId) -> Result<Operator, OperatorError> {
    if by == id {
        return Err(OperatorError::Oneself);
    }
    set_active(origin, iam, by, id, false).await
}

/// Lets a deactivated operator act again. Support access that was ended stays so. Done before: nothing.
#[instrument(skip_all)]
pub async fn reactivate(origin: &Origin, iam: &Iam, by: IdentityId, id: IdentityId) -> Result<Operator, OperatorError> {
    set_active(origin, iam, by, id, true).await
}

async fn set_active(
    origin: &Origin,
    iam: &Iam,
    by: IdentityId,
    id: IdentityId,
    is_active: bool,
) -> Result<Operator, OperatorError> {
    let mut tx = iam.db.control().await?;
    take_turn(&mut tx, by).await?;
    let before = find(&mut tx, id).await?;
    if before.is_active == is_active {
        return Ok(before);
    }
    let now = iam.clock.now();
    store::set_active(&mut tx, id, is_active, now).await?;
    let action = if is_active {
        "operator.reactivate"
    } else {
        support_access::service::end_all(origin, &mut tx, id, now).await?;
        "operator.deactivate"
    };
    record(origin, &mut tx, action, id, Some(before.is_active), is_active).await?;
    let after = find(&mut tx, id).await?;
    tx.commit().await?;
    Ok(after)
}

/// Makes an active operator with a verified address, for the command line. Somebody known becomes one and keeps everything
/// else, the password too.
#[instrument(skip_all)]
pub async fn create_by_hand(
    db: &Db,
    passwords: &Passwords,
    clock: &Clock,
    email: &str,
    password: Secret,
) -> Result<Made, OperatorError> {
    let (origin, now) = (Origin::system("terminal"), clock.now());
    let mut tx = db.control().await?;
    let claimed = identities::service::claim_verified(&mut tx, passwords, email, password, now).await?;
    let id = claimed.identity;
    if store::insert(&mut tx, id, &origin.principal, now).await? {
        record(&origin, &mut tx, "operator.create", id, None, true).await?;
    } else if !find(&mut tx, id).await?.is_active {
        store::set_active(&mut tx, id, true, now).await?;
        record(&origin, &mut tx, "operator.reactivate", id, Some(false), true).await?;
    }
    tx.commit().await?;
    Ok(if claimed.is_new {
        Made::Created(id)
    } else {
        Made::Known(id)
    })
}

/// Waits for all others who change operators; refused to whom one of them has deactivated.
async fn take_turn(tx: &mut ControlTx, by: IdentityId) -> Result<(), OperatorError> {
    let active = store::lock_active(tx).await?;
    if active.contains(&by) {
        Ok(())
    } else {
        Err(OperatorError::Forbidden)
    }
}

async fn find(tx: &mut ControlTx, id: IdentityId) -> Result<Operator, OperatorError> {
    store::find(tx, id).await?.ok_or(OperatorError::NotFound)
}

async fn record(
    origin: &Origin,
    tx: &mut ControlTx,
    action: &'static str,
    id: IdentityId,
    was_active: Option<bool>,
    is_active: bool,
) -> Result<(), OperatorError> {
    let event = Event::now(action, Actor::operator(origin), origin)
        .on("operator", id)
        .change("is_active", was_active.map_or(Value::Null, Value::from), is_active);
    Ok(bulkhead_audit::record_of_platform(tx, event).await?)
}
