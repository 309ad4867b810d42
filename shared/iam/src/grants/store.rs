//! Rows of `member_roles`, and what follows from them.

use bulkhead_kernel::ids::{IdentityId, RoleId};
use bulkhead_tenancy::{DbError, TenantTx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{permissions::SystemRole, roles::Held};

fn uuids(members: &[IdentityId]) -> Vec<Uuid> {
    members.iter().map(|member| member.uuid()).collect()
}

/// Waits for whoever changes rights. The row of a system role is never deleted, and grants of it do not wait for it.
pub(super) async fn lock_rights(tx: &mut TenantTx, role: SystemRole) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        SELECT id
        FROM roles
        WHERE is_system
          AND lower(name) = $1
            FOR NO KEY UPDATE
        "#,
        role.as_str(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(())
}

/// What an active member holds.
pub(crate) async fn find_held(tx: &mut TenantTx, member: IdentityId) -> Result<Option<Held>, DbError> {
    let permissions = sqlx::query_scalar!(
        r#"
        SELECT ARRAY(SELECT p.permission
                     FROM member_roles AS g
                              JOIN role_permissions AS p ON p.role_id = g.role_id
                     WHERE g.identity_id = m.identity_id) AS "permissions!"
        FROM members AS m
        WHERE m.identity_id = $1
          AND m.status = 'active'
        "#,
        member.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(permissions.map(Held::of_ids))
}

/// What these members hold together, also those who are not active.
pub(super) async fn find_held_together(tx: &mut TenantTx, members: &[IdentityId]) -> Result<Held, DbError> {
    let permissions = sqlx::query_scalar!(
        r#"
        SELECT DISTINCT p.permission
        FROM member_roles AS g
                 JOIN role_permissions AS p ON p.role_id = g.role_id
        WHERE g.identity_id = ANY ($1)
        "#,
        &uuids(members),
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(Held::of_ids(permissions))
}

/// Whether an active member has the system role.
pub(super) async fn has_active(tx: &mut TenantTx, role: SystemRole) -> Result<bool, DbError> {
    let is_there = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (SELECT
                       FROM member_roles AS g
                                JOIN roles AS r ON r.id = g.role_id
                                JOIN members AS m ON m.identity_id = g.identity_id
                       WHERE r.is_system
                         AND lower(r.name) = $1
                         AND m.status = 'active') AS "is_there!"
        "#,
        role.as_str(),
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(is_there)
}

/// Raises the versions of these members, and writes them into the index of memberships: whether they are active, and their
/// mightiest system role; `custom` for who has roles of the tenant's own alone, `none` for who has none. False where an
/// active one is nobody here.
/// Away from home it is on its way there from the commit on, and who is nobody is nobody's business.
pub(super) async fn set_memberships(tx: &mut TenantTx, members: &[IdentityId]) -> Result<bool, DbError> {
    let is_at_home = tx.is_at_home();
    let mightiest_first = SystemRole::ALL.map(|role| role.as_str().to_owned());
    let rows = sqlx::query!(
        r#"
        WITH raised AS (
            UPDATE members SET version = version + 1 WHERE identity_id = ANY ($1) RETURNING identity_id, status
        )
        SELECT CASE
                   WHEN $3 THEN control.set_membership(m.identity_id, shown.role, m.status)
                   ELSE control.await_membership(m.identity_id, shown.role, m.status) END AS "is_somebody!",
               m.status = 'active' AS "is_active!"
        FROM raised AS m
                 CROSS JOIN LATERAL (SELECT coalesce(
                     (SELECT lower(r.name)
                      FROM member_roles AS g
                               JOIN roles AS r ON r.id = g.role_id
                      WHERE g.identity_id = m.identity_id
                        AND r.is_system
                      ORDER BY array_position($2::text[], lower(r.name))
                      LIMIT 1),
                     CASE WHEN EXISTS (SELECT FROM member_roles AS g WHERE g.identity_id = m.identity_id) THEN 'custom'
                          ELSE 'none' END) AS role) AS shown
        "#,
        &uuids(members),
        &mightiest_first,
        is_at_home,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.iter().all(|row| row.is_somebody || !row.is_active))
}

/// Who has the role, by id.
pub(super) async fn list_holders(tx: &mut TenantTx, role: RoleId) -> Result<Vec<IdentityId>, DbError> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT identity_id
        FROM member_roles
        WHERE role_id = $1
        ORDER BY identity_id
        "#,
        role.uuid(),
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(ids.into_iter().map(IdentityId::from).collect())
}

/// Those of these people who are members.
pub(super) async fn list_members(tx: &mut TenantTx, people: &[IdentityId]) -> Result<Vec<IdentityId>, DbError> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT identity_id
        FROM members
        WHERE identity_id = ANY ($1)
        "#,
        &uuids(people),
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(ids.into_iter().map(IdentityId::from).collect())
}

/// Gives the role to members; those who have it keep it.
pub(super) async fn insert(
    tx: &mut TenantTx,
    role: RoleId,
    members: &[IdentityId],
    by: IdentityId,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO member_roles (identity_id, role_id, granted_at, granted_by)
        SELECT m.id, $2, $3, $4
        FROM unnest($1::uuid[]) AS m (id)
        ON CONFLICT (identity_id, role_id) DO NOTHING
        "#,
        &uuids(members),
        role.uuid(),
        now,
        by.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Takes the role from members.
pub(super) async fn delete(tx: &mut TenantTx, role: RoleId, members: &[IdentityId]) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        DELETE
        FROM member_roles
        WHERE role_id = $1
          AND identity_id = ANY ($2)
        "#,
        role.uuid(),
        &uuids(members),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What is told of these members.
pub(super) async fn list_told(
    tx: &mut TenantTx,
    people: &[IdentityId],
) -> Result<Vec<bulkhead_events::Member>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT m.identity_id, m.status = 'active' AS "is_active!",
               ARRAY(SELECT r.name
                     FROM member_roles AS g
                              JOIN roles AS r ON r.id = g.role_id
                     WHERE g.identity_id = m.identity_id
                     ORDER BY r.name) AS "roles!"
        FROM members AS m
        WHERE m.identity_id = ANY ($1)
        ORDER BY m.identity_id
        "#,
        &uuids(people),
    )
    .fetch_all(tx.conn())
    .await?;
    let told = rows.into_iter().map(|row| bulkhead_events::Member {
        id: row.identity_id.into(),
        is_active: row.is_active,
        roles: row.roles,
    });
    Ok(told.collect())
}
