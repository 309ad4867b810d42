//! Rows of `api_keys`.

mod authority;

use bulkhead_kernel::{
    ids::{ApiKeyId, IdentityId},
    page::Page,
};
use bulkhead_tenancy::{DbError, OwnerTx, TenantTx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use authority::KEY_SQL;
pub(super) use authority::find_authority;

use super::{ApiKey, KeyFilter, Network, Owner, network::MalformedNetwork, text::SecretHash};
use crate::{
    permissions::{Permission, PermissionSet},
    search::Search,
};

/// A row as the service sees it.
struct Row {
    id: Uuid,
    owner_kind: String,
    owner_id: Option<Uuid>,
    name: String,
    hint: String,
    scopes: Vec<String>,
    allowed_addresses: Vec<String>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    previous_until: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    revoked_reason: Option<String>,
    created_by: Uuid,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i64,
}

impl TryFrom<Row> for ApiKey {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.id.into(),
            owner: Owner::new(&row.owner_kind, row.owner_id.map(IdentityId::from)),
            name: row.name,
            hint: row.hint,
            scopes: PermissionSet::from_ids(row.scopes.iter().map(String::as_str)),
            allowed: networks(row.allowed_addresses.iter().map(String::as_str))?,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            previous_until: row.previous_until,
            revoked_at: row.revoked_at,
            revoked_reason: row.revoked_reason,
            created_by: row.created_by.into(),
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        })
    }
}

fn scope_ids(key: &ApiKey) -> Vec<String> {
    key.scopes.iter().map(Permission::as_str).map(str::to_owned).collect()
}

fn network_texts(key: &ApiKey) -> Vec<String> {
    key.allowed.iter().map(ToString::to_string).collect()
}

pub(super) async fn insert(tx: &mut TenantTx, key: &ApiKey, hash: &SecretHash) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO api_keys (id, owner_kind, owner_id, name, hint, secret_hash, scopes, allowed_addresses, expires_at,
                              created_by, created_at, updated_at, version)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12)
        "#,
        key.id.uuid(),
        key.owner.kind(),
        key.owner.member().map(IdentityId::uuid),
        key.name,
        key.hint,
        hash.as_slice(),
        &scope_ids(key),
        &network_texts(key),
        key.expires_at,
        key.created_by.uuid(),
        key.created_at,
        key.version,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn find(tx: &mut TenantTx, id: ApiKeyId) -> Result<Option<ApiKey>, DbError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, owner_kind, owner_id, name, hint, scopes, allowed_addresses, expires_at, last_used_at, previous_until,
               revoked_at, revoked_reason, created_by, created_at, updated_at, version
        FROM api_keys
        WHERE id = $1
        "#,
        id.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    row.map(ApiKey::try_from).transpose()
}

/// Keeps others from changing it until the transaction ends.
pub(super) async fn lock(tx: &mut TenantTx, id: ApiKeyId) -> Result<Option<ApiKey>, DbError> {
    sqlx::query_scalar!("SELECT id FROM api_keys WHERE id = $1 FOR UPDATE", id.uuid())
        .fetch_optional(tx.conn())
        .await?;
    find(tx, id).await
}

/// What opens the key: its hash, and the one before it.
pub(super) async fn find_hashes(
    tx: &mut TenantTx,
    id: ApiKeyId,
) -> Result<Option<(Vec<u8>, Option<Vec<u8>>)>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT secret_hash, previous_hash
        FROM api_keys
        WHERE id = $1
        "#,
        id.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| (row.secret_hash, row.previous_hash)))
}

/// The newest first.
pub(super) async fn list(
    tx: &mut TenantTx,
    filter: &KeyFilter,
    search: Option<&Search>,
) -> Result<Page<ApiKey>, DbError> {
    let KeyFilter { page, is_unused, .. } = *filter;
    let pattern = search.map(Search::pattern);
    let total = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "total!"
        FROM api_keys
        WHERE (NOT $1 OR (last_used_at IS NULL AND revoked_at IS NULL))
          AND ($2::text IS NULL OR name ILIKE $2 OR hint ILIKE $2)
        "#,
        is_unused,
        pattern,
    )
    .fetch_one(tx.conn())
    .await?;
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, owner_kind, owner_id, name, hint, scopes, allowed_addresses, expires_at, last_used_at, previous_until,
               revoked_at, revoked_reason, created_by, created_at, updated_at, version
        FROM api_keys
        WHERE (NOT $1 OR (last_used_at IS NULL AND revoked_at IS NULL))
          AND ($2::text IS NULL OR name ILIKE $2 OR hint ILIKE $2)
        ORDER BY created_at DESC, id DESC
        LIMIT $3 OFFSET $4
        "#,
        is_unused,
        pattern,
        i64::from(page.limit()),
        page.offset(),
    )
    .fetch_all(tx.conn())
    .await?;
    let items: Result<_, DbError> = rows.into_iter().map(ApiKey::try_from).collect();
    Ok(Page {
        items: items?,
        total,
        request: page,
    })
}

pub(super) async fn set(tx: &mut TenantTx, key: &ApiKey) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE api_keys
        SET name              = $2,
            scopes            = $3,
            allowed_addresses = $4,
            expires_at        = $5,
            updated_at        = $6,
            version           = $7
        WHERE id = $1
        "#,
        key.id.uuid(),
        key.name,
        &scope_ids(key),
        &network_texts(key),
        key.expires_at,
        key.updated_at,
        key.version,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Gives the key another secret; the one so far works until `previous_until`, where there is one.
pub(super) async fn set_secret(tx: &mut TenantTx, key: &ApiKey, hash: &SecretHash) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE api_keys
        SET secret_hash    = $2,
            hint           = $3,
            previous_hash  = CASE WHEN $4::timestamptz IS NULL THEN NULL ELSE secret_hash END,
            previous_until = $4,
            updated_at     = $5,
            version        = $6
        WHERE id = $1
        "#,
        key.id.uuid(),
        hash.as_slice(),
        key.hint,
        key.previous_until,
        key.updated_at,
        key.version,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Ends the key, and what it was rotated from with it.
pub(super) async fn set_revoked(
    tx: &mut TenantTx,
    id: ApiKeyId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE api_keys
        SET revoked_at     = $2,
            revoked_reason = $3,
            previous_hash  = NULL,
            previous_until = NULL,
            updated_at     = $2,
            version        = version + 1
        WHERE id = $1
        "#,
        id.uuid(),
        now,
        reason,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Ends the overlap of a rotation.
pub(super) async fn delete_previous(tx: &mut TenantTx, id: ApiKeyId, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE api_keys
        SET previous_hash  = NULL,
            previous_until = NULL,
            updated_at     = $2,
            version        = version + 1
        WHERE id = $1
        "#,
        id.uuid(),
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Writes down when keys were used, for each unless it says so already to the minute.
pub(super) async fn set_used(tx: &mut TenantTx, uses: &[(ApiKeyId, DateTime<Utc>)]) -> Result<(), DbError> {
    let ids: Vec<Uuid> = uses.iter().map(|(id, _)| id.uuid()).collect();
    let times: Vec<DateTime<Utc>> = uses.iter().map(|(_, at)| *at).collect();
    sqlx::query!(
        r#"
        UPDATE api_keys AS k
        SET last_used_at = u.at
        FROM unnest($1::uuid[], $2::timestamptz[]) AS u (id, at)
        WHERE k.id = u.id
          AND (k.last_used_at IS NULL OR k.last_used_at <= u.at - INTERVAL '1 minute')
        "#,
        &ids,
        &times,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Revokes all keys of the tenant whose schema the transaction has entered.
pub(super) async fn set_all_revoked(tx: &mut OwnerTx) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE api_keys
        SET revoked_at     = now(),
            revoked_reason = 'imported',
            previous_hash  = NULL,
            previous_until = NULL
        WHERE revoked_at IS NULL
        "#,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// One that cannot be read must not open the key to everybody.
fn networks<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<Network>, sqlx::Error> {
    let parsed = texts.map(|text| {
        text.parse()
            .map_err(|error: MalformedNetwork| sqlx::Error::Decode(error.into()))
    });
    parsed.collect()
}
