//! Rows of `roles` and `role_permissions`.

use bulkhead_kernel::ids::RoleId;
use bulkhead_tenancy::{DbError, OwnerTx};
use uuid::Uuid;

use crate::permissions::SystemRole;

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
