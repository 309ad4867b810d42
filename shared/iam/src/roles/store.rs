//! Rows of `roles` and `role_permissions`.

use bulkhead_kernel::ids::RoleId;
use bulkhead_tenancy::{DbError, OwnerTx, TenantTx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Held, NewRole, Role};
use crate::permissions::{Permission, PermissionSet, SystemRole};

struct Row {
    id: Uuid,
    name: String,
    description: String,
    is_system: bool,
    version: i64,
    n_users: i64,
    permissions: Vec<String>,
}

impl From<Row> for Role {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            name: row.name,
            description: row.description,
            is_system: row.is_system,
            version: row.version,
            n_users: row.n_users,
            permissions: Held::of_ids(row.permissions),
        }
    }
}

/// The roles of these ids, or all: those of the system first, the rest by name.
pub(super) async fn list(tx: &mut TenantTx, only: Option<&[RoleId]>) -> Result<Vec<Role>, DbError> {
    let only: Option<Vec<Uuid>> = only.map(|ids| ids.iter().map(|id| id.uuid()).collect());
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT r.id,
               r.name,
               r.description,
               r.is_system,
               r.version,
               (SELECT count(*) FROM member_roles AS g WHERE g.role_id = r.id)                AS "n_users!",
               ARRAY(SELECT p.permission FROM role_permissions AS p WHERE p.role_id = r.id)   AS "permissions!"
        FROM roles AS r
        WHERE $1::uuid[] IS NULL
           OR r.id = ANY ($1)
        ORDER BY r.is_system DESC, CASE WHEN r.is_system THEN r.id END, lower(r.name)
        "#,
        only.as_deref(),
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(Role::from).collect())
}

pub(super) async fn insert(tx: &mut TenantTx, id: RoleId, new: &NewRole, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO roles (id, name, description, is_system, created_at, updated_at)
        VALUES ($1, $2, $3, false, $4, $4)
        "#,
        id.uuid(),
        new.name,
        new.description,
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Writes name, description and a new version of a role that is not the system's.
pub(super) async fn set(tx: &mut TenantTx, role: &Role, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE roles
        SET name = $2, description = $3, version = $4, updated_at = $5
        WHERE id = $1
          AND NOT is_system
        "#,
        role.id.uuid(),
        role.name,
        role.description,
        role.version,
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn set_permissions(tx: &mut TenantTx, role: RoleId, set: PermissionSet) -> Result<(), DbError> {
    let permissions: Vec<String> = set.iter().map(Permission::as_str).map(str::to_owned).collect();
    sqlx::query!(
        r#"
        WITH gone AS (
            DELETE FROM role_permissions WHERE role_id = $1 AND permission <> ALL ($2::text[])
        )
        INSERT INTO role_permissions (role_id, permission)
        SELECT $1, wanted.permission
        FROM unnest($2::text[]) AS wanted (permission)
        ON CONFLICT (role_id, permission) DO NOTHING
        "#,
        role.uuid(),
        &permissions,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut TenantTx, role: RoleId) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        DELETE
        FROM roles
        WHERE id = $1
          AND NOT is_system
        "#,
        role.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn upsert_system_roles(tx: &mut OwnerTx) -> Result<(), DbError> {
    let ids: Vec<Uuid> = SystemRole::ALL.iter().map(|_| RoleId::new().uuid()).collect();
    let names = SystemRole::ALL.map(|role| role.as_str().to_owned());
    let descriptions = SystemRole::ALL.map(|role| role.description().to_owned());
    sqlx::query!(
        r#"
        INSERT INTO roles AS r (id, name, description, is_system)
        SELECT role.id, role.name, role.description, true
        FROM unnest($1::uuid[], $2::text[], $3::text[]) AS role (id, name, description)
        ON CONFLICT (lower(name)) DO UPDATE SET description = EXCLUDED.description
                                     WHERE r.is_system
        "#,
        &ids,
        &names,
        &descriptions,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn insert_system_permissions(tx: &mut OwnerTx) -> Result<(), DbError> {
    let (roles, permissions) = system_permissions();
    sqlx::query!(
        r#"
        INSERT INTO role_permissions (role_id, permission)
        SELECT r.id, wanted.permission
        FROM unnest($1::text[], $2::text[]) AS wanted (role, permission)
                 JOIN roles AS r ON r.name = wanted.role AND r.is_system
        ON CONFLICT DO NOTHING
        "#,
        &roles,
        &permissions,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete_retired_permissions(tx: &mut OwnerTx) -> Result<(), DbError> {
    let (roles, permissions) = system_permissions();
    sqlx::query!(
        r#"
        DELETE
        FROM role_permissions AS p
            USING roles AS r
        WHERE r.id = p.role_id
          AND r.is_system
          AND NOT EXISTS (SELECT
                          FROM unnest($1::text[], $2::text[]) AS wanted (role, permission)
                          WHERE wanted.role = r.name
                            AND wanted.permission = p.permission)
        "#,
        &roles,
        &permissions,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What the system roles allow, as two columns.
fn system_permissions() -> (Vec<String>, Vec<String>) {
    let pairs = SystemRole::ALL
        .into_iter()
        .flat_map(|role| role.permissions().iter().map(move |permission| (role, permission)));
    pairs
        .map(|(role, permission)| (role.as_str().to_owned(), permission.as_str().to_owned()))
        .unzip()
}
