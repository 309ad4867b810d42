//! Letting a key in. On the hot path this is one hash and one look into memory.

use std::{net::IpAddr, sync::Arc, time::Instant};

use bulkhead_kernel::{
    ids::{ApiKeyId, TenantId},
    origin::Origin,
    telemetry::fields,
};
use bulkhead_tenancy::{Db, DbError, TenantSelector};
use chrono::{DateTime, Utc};
use tracing::instrument;

use super::{ApiKeyError, KeyAuthority, KeyText, Owner, Refusal, store, text::SecretHash};
use crate::{
    Iam,
    identities::{self, IdentityError},
    permissions::PermissionSet,
    standing,
};

/// What the key allows when it comes from this address, at most a second old.
#[instrument(skip_all)]
pub async fn authority(iam: &Iam, key: &KeyText, from: IpAddr) -> Result<Arc<KeyAuthority>, ApiKeyError> {
    let (at, hash) = ((key.tenant, key.id), key.hash());
    let ticket = match iam.keys.get(&at, Instant::now()) {
        Ok(known) if known.is_opened_by(&hash, iam.clock.now()) => return admit(iam, key, &hash, known, from),
        // Another process may have rotated it since.
        Ok(_) => None,
        Err(ticket) => Some(ticket),
    };
    let found = Arc::new(look(iam, key, &hash).await?);
    if let Some(ticket) = ticket.filter(|_| found.is_opened_by(&hash, iam.clock.now())) {
        iam.keys.put(ticket, at, &found);
    }
    admit(iam, key, &hash, found, from)
}

/// The same in this very moment.
#[instrument(skip_all)]
pub async fn authority_now(iam: &Iam, key: &KeyText, from: IpAddr) -> Result<Arc<KeyAuthority>, ApiKeyError> {
    let hash = key.hash();
    let found = Arc::new(look(iam, key, &hash).await?);
    admit(iam, key, &hash, found, from)
}

fn admit(
    iam: &Iam,
    key: &KeyText,
    hash: &SecretHash,
    found: Arc<KeyAuthority>,
    from: IpAddr,
) -> Result<Arc<KeyAuthority>, ApiKeyError> {
    let now = iam.clock.now();
    found.judge(hash, from, now).map_err(ApiKeyError::Refused)?;
    iam.key_log.used(key, found.last_used_at, now);
    Ok(found)
}

/// A tenant that is not there, or that this key does not open, is not told from a key that is not there.
async fn look(iam: &Iam, key: &KeyText, hash: &SecretHash) -> Result<KeyAuthority, ApiKeyError> {
    match store::find_authority(&iam.db, key.tenant, key.id).await {
        Ok(Some(mut found)) => {
            found.is_account_on |= is_on_at_home(iam, key, &found).await?;
            Ok(found)
        }
        Ok(None) | Err(DbError::TenantNotFound) => Err(ApiKeyError::Refused(Refusal::Unknown)),
        Err(DbError::TenantNotActive) => Err(closed(iam, key, hash).await?),
        Err(error) => Err(error.into()),
    }
}

/// What a key allows that was let in earlier, secret and address aside; `None` for one that opens nothing any more.
pub(crate) async fn permissions_now(
    db: &Db,
    tenant: TenantId,
    id: ApiKeyId,
    now: DateTime<Utc>,
) -> Result<Option<PermissionSet>, DbError> {
    let Some(mut found) = store::find_authority(db, tenant, id).await? else {
        return Ok(None);
    };
    if let (Owner::Member(owner), false) = (found.owner, found.is_account_on) {
        found.is_account_on = standing::is_account_on(db, owner).await?;
    }
    Ok(found.is_live(now).then(|| found.permissions()))
}

/// People are kept at home: the cluster of a tenant that lives elsewhere knows of none, so home is asked.
async fn is_on_at_home(iam: &Iam, key: &KeyText, found: &KeyAuthority) -> Result<bool, DbError> {
    let Owner::Member(owner) = found.owner else {
        return Ok(false);
    };
    let tenant = TenantSelector::Id(key.tenant);
    if !found.is_owner_active || !iam.db.has_clusters() || iam.db.resolve(&tenant).await?.cluster.is_none() {
        return Ok(false);
    }
    let is_on = match identities::service::me(iam, owner).await {
        Ok(person) => Ok(person.is_active),
        Err(IdentityError::Database(error)) => Err(error),
        Err(_) => Ok(false),
    };
    iam.as_seen((owner, None), is_on)
}

/// Only who holds the secret may know that a tenant is there but closed.
async fn closed(iam: &Iam, key: &KeyText, hash: &SecretHash) -> Result<ApiKeyError, DbError> {
    let unknown = ApiKeyError::Refused(Refusal::Unknown);
    let mut tx = match iam.db.tenant_for_platform(key.tenant).await {
        Err(DbError::TenantNotFound | DbError::TenantNotActive) => return Ok(unknown),
        entered => entered?,
    };
    let hashes = store::find_hashes(&mut tx, key.id).await?;
    tx.commit().await?;
    let is_right = hashes.is_some_and(|(current, _)| KeyText::is_same_hash(hash, &current));
    Ok(if is_right {
        DbError::TenantNotActive.into()
    } else {
        unknown
    })
}

/// Tells the log why a key was refused, and the tenant's audit log where its secret was right. Without a key there was
/// only a text that is none.
pub fn note_refusal(iam: &Iam, key: Option<&KeyText>, refusal: Refusal, origin: &Origin) {
    tracing::info!(
        { fields::TENANT_ID } = key.map(|key| tracing::field::display(key.tenant)),
        { fields::REQUEST_ID } = origin.request_id,
        api_key.id = key.map(|key| tracing::field::display(key.id)),
        reason = refusal.as_str(),
        "api_key.refused"
    );
    if let Some(key) = key.filter(|_| refusal.is_genuine()) {
        iam.key_log.refused(key, refusal, origin, iam.clock.now());
    }
}
