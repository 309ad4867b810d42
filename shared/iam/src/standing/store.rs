//! What a member holds, read from the tenant's rows.

use bulkhead_kernel::ids::IdentityId;
use bulkhead_tenancy::{DbError, TenantTx};

use crate::permissions::{PermissionSet, SystemRole};

/// The permissions of an active member, and whether it is an owner.
pub(super) async fn find_held(tx: &mut TenantTx, member: IdentityId) -> Result<Option<(PermissionSet, bool)>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT ARRAY(SELECT p.permission
                     FROM member_roles AS g
                              JOIN role_permissions AS p ON p.role_id = g.role_id
                     WHERE g.identity_id = m.identity_id) AS "permissions!",
               EXISTS (SELECT
                       FROM member_roles AS g
                                JOIN roles AS r ON r.id = g.role_id
                       WHERE g.identity_id = m.identity_id
                         AND r.is_system
                         AND lower(r.name) = $2) AS "is_owner!"
        FROM members AS m
        WHERE m.identity_id = $1
          AND m.status = 'active'
        "#,
        member.uuid(),
        SystemRole::Owner.as_str(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| {
        let held = PermissionSet::from_ids(row.permissions.iter().map(String::as_str));
        (held, row.is_owner)
    }))
}
