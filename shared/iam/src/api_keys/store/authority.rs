//! The hot message: what a key's authority is joined from.

use bulkhead_kernel::ids::{ApiKeyId, IdentityId, TenantId};
use bulkhead_tenancy::{Db, DbError, Message, from_epoch};
use chrono::{DateTime, Utc};
use sqlx::{Row as _, postgres::PgRow};
use uuid::Uuid;

use super::networks;
use crate::{
    api_keys::{KeyAuthority, Owner},
    permissions::PermissionSet,
};

/// What a key allows, in one statement for one message; the key's id comes last. As with the authority of people there
/// are no joins in it, and lists are joined by characters that their items cannot have.
pub const KEY_SQL: &str = "SELECT k.name, k.owner_kind, k.owner_id, array_to_string(k.scopes, ' ') AS scopes, \
     array_to_string(k.allowed_addresses, ' ') AS allowed, k.secret_hash, k.previous_hash, \
     date_part('epoch', k.previous_until) AS previous_until, date_part('epoch', k.expires_at) AS expires_at, \
     date_part('epoch', k.last_used_at) AS last_used_at, k.revoked_at IS NOT NULL AS is_revoked, \
     EXISTS (SELECT FROM members AS m WHERE m.identity_id = k.owner_id AND m.status = 'active') AS is_owner_active, \
     control.is_account_on(k.owner_id) AS is_account_on, \
     (SELECT string_agg(p.permission, ' ') FROM role_permissions AS p \
      WHERE p.role_id = ANY (ARRAY(SELECT g.role_id FROM member_roles AS g WHERE g.identity_id = k.owner_id))) \
     AS permissions \
     FROM api_keys AS k WHERE k.id = ";

/// What the key allows and what opens it.
pub(in super::super) async fn find_authority(
    db: &Db,
    tenant: TenantId,
    id: ApiKeyId,
) -> Result<Option<KeyAuthority>, DbError> {
    let message = Message::new().sql(KEY_SQL).uuid(id.uuid());
    let results = db.read(tenant, &message).await?;
    let row = results.first().and_then(|rows| rows.first());
    Ok(row.map(|row| authority(id, row)).transpose()?)
}

fn authority(id: ApiKeyId, row: &PgRow) -> Result<KeyAuthority, sqlx::Error> {
    let (kind, member): (String, Option<Uuid>) = (row.try_get(1)?, row.try_get(2)?);
    let (scopes, allowed): (String, String) = (row.try_get(3)?, row.try_get(4)?);
    let (former, until): (Option<Vec<u8>>, _) = (row.try_get(6)?, time(row, 7)?);
    let permissions: Option<String> = row.try_get(13)?;
    let owner = Owner::new(&kind, member.map(IdentityId::from));
    let (is_owner_active, is_account_on): (bool, bool) = (row.try_get(11)?, row.try_get(12)?);
    Ok(KeyAuthority {
        id,
        name: row.try_get(0)?,
        owner,
        scopes: PermissionSet::from_ids(scopes.split(' ')),
        owner_permissions: PermissionSet::from_ids(permissions.iter().flat_map(|ids| ids.split(' '))),
        is_owner_active: is_owner_active || owner == Owner::Tenant,
        is_account_on: is_account_on || owner == Owner::Tenant,
        secret_hash: row.try_get(5)?,
        previous: former.zip(until),
        allowed: networks(allowed.split(' ').filter(|text| !text.is_empty()))?,
        expires_at: time(row, 8)?,
        last_used_at: time(row, 9)?,
        is_revoked: row.try_get(10)?,
    })
}

fn time(row: &PgRow, index: usize) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    match row.try_get::<Option<f64>, _>(index)? {
        Some(_) => from_epoch(row, index).map(Some),
        None => Ok(None),
    }
}
