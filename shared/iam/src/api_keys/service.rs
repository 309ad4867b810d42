//! What can be done with keys by those who manage them.

use bulkhead_kernel::{fault::Violation, ids::ApiKeyId, page::Page};
use bulkhead_tenancy::{DbError, OwnerTx, TenantTx};
use chrono::{DateTime, TimeDelta, Utc};
use tracing::instrument;

use super::{
    ApiKey, ApiKeyError, Changes, End, KeyFilter, KeyText, MAX_OVERLAP_SECS, Minted, NewKey, Owner,
    idempotency::Key,
    store,
    text::{self, Seed},
    wanted::Valid,
};
use crate::{
    Iam, Scope, ScopeError,
    permissions::{Permission, PermissionSet},
    search::Search,
};

/// Makes a key for the person who asks, or for the tenant. Under an idempotency key the same request is answered the same
/// way without a second key.
#[instrument(name = "api_keys.create", skip_all)]
pub async fn create(scope: &Scope, iam: &Iam, new: &NewKey, key: Option<&str>) -> Result<Minted, ApiKeyError> {
    scope.require(Permission::ApiKeyCreate)?;
    let now = scope.clock.now();
    let valid = new.validate(now).map_err(ApiKeyError::Invalid)?;
    require_all(scope, valid.scopes.unwrap_or_default())?;
    let body = (
        &new.owner,
        &new.name,
        &new.scopes,
        &new.allowed_addresses,
        new.expires_at,
    );
    let key = key
        .map(|key| Key::new(scope, "POST /api-keys", key, &body))
        .transpose()?;
    let mut tx = iam.db.tenant(scope.tenant.id).await?;
    if let Some(key) = &key
        && let Some(earlier) = key.claim(iam, &mut tx, now).await?
    {
        return Ok(earlier);
    }
    let mut made = wanted(scope, &new.owner, valid, now)?;
    let seed = key.as_ref().map_or_else(text::seed, |key| key.seed(iam, made.id));
    let text = arm(scope, iam, &mut made, &seed);
    store::insert(&mut tx, &made, &text.hash()).await?;
    let event = scope.event("api_key.create").on("api_key", made.id);
    let event = event
        .change("name", (), made.name.as_str())
        .change("owner", (), made.owner.kind());
    let event = event
        .change("scopes", (), ids(made.scopes))
        .change("allowed_addresses", (), networks(&made));
    let event = event.change("expires_at", (), moment(made.expires_at));
    bulkhead_audit::record(&mut tx, event).await?;
    if let Some(key) = &key {
        key.keep(&mut tx, &made, &text).await?;
    }
    tx.commit().await?;
    Ok(minted(iam, made, &text))
}

fn wanted(scope: &Scope, owner: &str, valid: Valid, now: DateTime<Utc>) -> Result<ApiKey, ScopeError> {
    let maker = scope.person()?.identity;
    Ok(ApiKey {
        id: ApiKeyId::new(),
        owner: Owner::new(owner, Some(maker)),
        name: valid.name.unwrap_or_default(),
        hint: String::new(),
        scopes: valid.scopes.unwrap_or_default(),
        allowed: valid.allowed.unwrap_or_default(),
        expires_at: valid.expires_at.and_then(|End(end)| end),
        last_used_at: None,
        previous_until: None,
        revoked_at: None,
        revoked_reason: None,
        created_by: maker,
        created_at: now,
        updated_at: now,
        version: 1,
    })
}

/// Gives the key the text that follows from the seed.
fn arm(scope: &Scope, iam: &Iam, key: &mut ApiKey, seed: &Seed) -> KeyText {
    let text = KeyText::new(scope.tenant.id, key.id, seed);
    key.hint = text::hint(&text.to_text(&iam.settings.key_environment));
    text
}

fn minted(iam: &Iam, key: ApiKey, text: &KeyText) -> Minted {
    Minted {
        key,
        text: text.to_text(&iam.settings.key_environment),
    }
}

/// One page of the tenant's keys, the newest first.
#[instrument(name = "api_keys.list", skip_all)]
pub async fn list(scope: &Scope, tx: &mut TenantTx, filter: &KeyFilter) -> Result<Page<ApiKey>, ApiKeyError> {
    scope.require(Permission::ApiKeyRead)?;
    let search = filter.search.as_deref().map(Search::parse).transpose();
    let search = search.map_err(|violation| ApiKeyError::Invalid(vec![violation]))?;
    Ok(store::list(tx, filter, search.as_ref()).await?)
}

/// A key, whatever has become of it.
#[instrument(name = "api_keys.get", skip_all)]
pub async fn get(scope: &Scope, tx: &mut TenantTx, id: ApiKeyId) -> Result<ApiKey, ApiKeyError> {
    scope.require(Permission::ApiKeyRead)?;
    store::find(tx, id).await?.ok_or(ApiKeyError::NotFound)
}

/// Changes what is said about a key; with `seen` only if it still has one of these versions. It bites within a second
/// everywhere, here at once.
#[instrument(name = "api_keys.update", skip_all)]
pub async fn update(
    scope: &Scope,
    iam: &Iam,
    id: ApiKeyId,
    seen: Option<&[i64]>,
    changes: &Changes,
) -> Result<ApiKey, ApiKeyError> {
    scope.require(Permission::ApiKeyUpdate)?;
    let now = scope.clock.now();
    let valid = changes.validate(now).map_err(ApiKeyError::Invalid)?;
    let mut tx = iam.db.tenant(scope.tenant.id).await?;
    let before = lock(scope, &mut tx, id).await?;
    require_seen(&before, seen)?;
    require_all(scope, valid.scopes.unwrap_or_default())?;
    let after = changed(&before, valid, now);
    store::set(&mut tx, &after).await?;
    let event = scope.event("api_key.update").on("api_key", id);
    let event = event.change("name", before.name.as_str(), after.name.as_str());
    let event = event.change("scopes", ids(before.scopes), ids(after.scopes));
    let event = event.change("allowed_addresses", networks(&before), networks(&after));
    let event = event.change("expires_at", moment(before.expires_at), moment(after.expires_at));
    bulkhead_audit::record(&mut tx, event).await?;
    tx.commit().await?;
    forget(scope, iam, id);
    Ok(after)
}

fn changed(before: &ApiKey, valid: Valid, now: DateTime<Utc>) -> ApiKey {
    let before = before.clone();
    ApiKey {
        name: valid.name.unwrap_or(before.name),
        scopes: valid.scopes.unwrap_or(before.scopes),
        allowed: valid.allowed.unwrap_or(before.allowed),
        expires_at: valid.expires_at.map_or(before.expires_at, |End(end)| end),
        updated_at: now,
        version: before.version + 1,
        ..before
    }
}

/// Gives a key another secret and leaves the rest of it. The one so far works for `overlap_secs` more; 0 ends it now.
#[instrument(name = "api_keys.rotate", skip_all)]
pub async fn rotate(
    scope: &Scope,
    iam: &Iam,
    id: ApiKeyId,
    overlap_secs: u32,
    key: Option<&str>,
) -> Result<Minted, ApiKeyError> {
    scope.require(Permission::ApiKeyUpdate)?;
    check_overlap(overlap_secs)?;
    let now = scope.clock.now();
    let body = (id, overlap_secs);
    let key = key
        .map(|key| Key::new(scope, "POST /api-keys/{id}/rotate", key, &body))
        .transpose()?;
    let mut tx = iam.db.tenant(scope.tenant.id).await?;
    let before = lock(scope, &mut tx, id).await?;
    if let Some(key) = &key
        && let Some(earlier) = key.claim(iam, &mut tx, now).await?
    {
        return Ok(earlier);
    }
    let mut after = ApiKey {
        previous_until: (overlap_secs > 0).then(|| now + TimeDelta::seconds(overlap_secs.into())),
        updated_at: now,
        version: before.version + 1,
        ..before.clone()
    };
    let seed = key.as_ref().map_or_else(text::seed, |key| key.seed(iam, id));
    let text = arm(scope, iam, &mut after, &seed);
    store::set_secret(&mut tx, &after, &text.hash()).await?;
    let event = scope.event("api_key.rotate").on("api_key", id);
    let event = event.change(
        "previous_until",
        moment(before.previous_until),
        moment(after.previous_until),
    );
    bulkhead_audit::record(&mut tx, event).await?;
    if let Some(key) = &key {
        key.keep(&mut tx, &after, &text).await?;
    }
    tx.commit().await?;
    forget(scope, iam, id);
    Ok(minted(iam, after, &text))
}

fn check_overlap(overlap_secs: u32) -> Result<(), ApiKeyError> {
    if overlap_secs <= MAX_OVERLAP_SECS {
        return Ok(());
    }
    let detail = format!("must be 0 to {MAX_OVERLAP_SECS}");
    Err(ApiKeyError::Invalid(vec![Violation::new("/overlap_secs", detail)]))
}

/// Ends a key for good; with `seen` only if it still has one of these versions. Done before: nothing.
#[instrument(name = "api_keys.revoke", skip_all)]
pub async fn revoke(scope: &Scope, iam: &Iam, id: ApiKeyId, seen: Option<&[i64]>) -> Result<(), ApiKeyError> {
    scope.require(Permission::ApiKeyDelete)?;
    let mut tx = iam.db.tenant(scope.tenant.id).await?;
    let key = store::lock(&mut tx, id).await?.ok_or(ApiKeyError::NotFound)?;
    if key.revoked_at.is_some() {
        return Ok(());
    }
    require_seen(&key, seen)?;
    store::set_revoked(&mut tx, id, "revoked", scope.clock.now()).await?;
    let event = scope.event("api_key.revoke").on("api_key", id);
    bulkhead_audit::record(&mut tx, event.change("revoked_reason", (), "revoked")).await?;
    tx.commit().await?;
    forget(scope, iam, id);
    Ok(())
}

/// Ends the keys that came with an archive: they name the tenant it was made of.
pub(crate) async fn close_imported(tx: &mut OwnerTx) -> Result<(), DbError> {
    store::set_all_revoked(tx).await
}

/// A key that still works and that the principal may get at: a member's is that member's alone, and the tenant's must not
/// do what the principal may not, as whoever rotates it holds its secret.
async fn lock(scope: &Scope, tx: &mut TenantTx, id: ApiKeyId) -> Result<ApiKey, ApiKeyError> {
    let key = store::lock(tx, id).await?.ok_or(ApiKeyError::NotFound)?;
    if key.revoked_at.is_some() {
        return Err(ApiKeyError::Revoked);
    }
    match key.owner {
        Owner::Tenant => require_all(scope, key.scopes)?,
        Owner::Member(owner) if owner == scope.person()?.identity => {}
        Owner::Member(_) | Owner::FormerMember => return Err(ApiKeyError::NotOwner),
    }
    Ok(key)
}

fn require_seen(key: &ApiKey, seen: Option<&[i64]>) -> Result<(), ApiKeyError> {
    if seen.is_none_or(|versions| versions.contains(&key.version)) {
        Ok(())
    } else {
        Err(ApiKeyError::Changed)
    }
}

/// Nobody gives what they do not hold.
fn require_all(scope: &Scope, scopes: PermissionSet) -> Result<(), ApiKeyError> {
    if scope.permissions.covers(scopes) {
        Ok(())
    } else {
        Err(ApiKeyError::Exceeds(scopes.without(scope.permissions)))
    }
}

fn forget(scope: &Scope, iam: &Iam, id: ApiKeyId) {
    iam.keys.forget(|place| *place == (scope.tenant.id, id));
}

fn ids(permissions: PermissionSet) -> Vec<&'static str> {
    permissions.iter().map(Permission::as_str).collect()
}

fn networks(key: &ApiKey) -> Vec<String> {
    key.allowed.iter().map(ToString::to_string).collect()
}

fn moment(at: Option<DateTime<Utc>>) -> Option<String> {
    at.map(|at| at.to_rfc3339())
}
