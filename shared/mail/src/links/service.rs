//! What can be done with links.

use std::time::Duration;

use bulkhead_kernel::ids::IdentityId;
use bulkhead_tenancy::{ControlTx, DbError};
use chrono::{DateTime, TimeDelta, Utc};

use super::{Purpose, Token, store};

/// Makes a link's secret. Takes those away that are over, whoever's they were.
pub(crate) async fn issue(
    tx: &mut ControlTx,
    identity: IdentityId,
    purpose: Purpose,
    now: DateTime<Utc>,
    lifetime: Duration,
) -> Result<Token, DbError> {
    store::delete_expired(tx, now).await?;
    let token = Token::random();
    let lifetime = TimeDelta::from_std(lifetime).unwrap_or(TimeDelta::MAX);
    store::insert(tx, &token.hash(), identity, purpose, now, now + lifetime).await?;
    Ok(token)
}

/// Whose link this is, while it works; it stays as it is.
pub async fn find(
    tx: &mut ControlTx,
    purpose: Purpose,
    text: &str,
    now: DateTime<Utc>,
) -> Result<Option<IdentityId>, DbError> {
    match Token::parse(text) {
        Some(token) => store::find(tx, &token.hash(), purpose, now).await,
        None => Ok(None),
    }
}

/// Uses the link up, and all others of this purpose that the person has. Of several who do so at once, one gets the person.
pub async fn redeem(
    tx: &mut ControlTx,
    purpose: Purpose,
    text: &str,
    now: DateTime<Utc>,
) -> Result<Option<IdentityId>, DbError> {
    let Some(token) = Token::parse(text) else {
        return Ok(None);
    };
    let identity = store::delete(tx, &token.hash(), purpose, now).await?;
    if let Some(identity) = identity {
        store::delete_all(tx, identity, purpose).await?;
    }
    Ok(identity)
}

/// Takes all links of this purpose from the person.
pub async fn revoke(tx: &mut ControlTx, identity: IdentityId, purpose: Purpose) -> Result<(), DbError> {
    store::delete_all(tx, identity, purpose).await
}
