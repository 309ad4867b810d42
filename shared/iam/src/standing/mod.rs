//! What somebody who asked for something earlier may do by now: the check that follows a principal into the background,
//! and along a stream that stays open.
//!
//! - It is read in the moment it is asked for and kept nowhere.
//! - Somebody who is gone, turned out, or whose account, key or access is over stands for nothing.
//!
//! Absent: a secret. Who asked was let in when they asked.

mod store;

use bulkhead_kernel::ids::{ApiKeyId, IdentityId, SupportAccessId};
use bulkhead_tenancy::{Db, DbError, TenantTx};
use chrono::{DateTime, Utc};

use crate::{
    Scope, ScopeError, api_keys,
    identities::{self, IdentityError},
    permissions::{Permission, PermissionSet, SUPPORT_READ, SUPPORT_WRITE, SystemRole},
    support_access,
};

/// What a principal may do in a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The permissions together.
    pub permissions: PermissionSet,
    /// Whether it is one of the tenant's owners.
    pub is_owner: bool,
}

impl Standing {
    /// Nobody's.
    pub const NONE: Self = Self {
        permissions: PermissionSet::EMPTY,
        is_owner: false,
    };

    /// That of a request.
    #[must_use]
    pub fn of(scope: &Scope) -> Self {
        let owner = SystemRole::Owner.as_str();
        Self {
            permissions: scope.permissions,
            is_owner: scope.roles.iter().any(|role| role == owner),
        }
    }

    /// Refuses unless `permission` is held.
    pub const fn require(&self, permission: Permission) -> Result<(), ScopeError> {
        self.permissions.require(permission)
    }

    /// Refuses everybody but owners.
    pub const fn require_owner(&self) -> Result<(), ScopeError> {
        if self.is_owner {
            Ok(())
        } else {
            Err(ScopeError::NotAnOwner)
        }
    }
}

/// What the principal, as an origin names it, may do in the tenant of `tx` at this moment.
pub async fn find(db: &Db, tx: &mut TenantTx, principal: &str, now: DateTime<Utc>) -> Result<Standing, DbError> {
    if let Ok(member) = principal.parse::<IdentityId>() {
        return of_member(db, tx, member).await;
    }
    let permissions = if let Ok(key) = principal.parse::<ApiKeyId>() {
        api_keys::permissions_now(db, tx.tenant(), key, now).await?
    } else if let Ok(access) = principal.parse::<SupportAccessId>() {
        let can_write = support_access::service::find_can_write(db, tx.tenant(), access, now).await?;
        can_write.map(|can_write| if can_write { SUPPORT_WRITE } else { SUPPORT_READ })
    } else {
        None
    };
    Ok(Standing {
        permissions: permissions.unwrap_or_default(),
        is_owner: false,
    })
}

async fn of_member(db: &Db, tx: &mut TenantTx, member: IdentityId) -> Result<Standing, DbError> {
    let Some((held, is_owner)) = store::find_held(tx, member).await? else {
        return Ok(Standing::NONE);
    };
    if is_account_on(db, member).await? {
        Ok(Standing {
            permissions: held,
            is_owner,
        })
    } else {
        Ok(Standing::NONE)
    }
}

/// People are kept at home.
pub(crate) async fn is_account_on(db: &Db, identity: IdentityId) -> Result<bool, DbError> {
    match identities::service::find(&db.home(), identity).await {
        Ok(person) => Ok(person.is_active),
        Err(IdentityError::Database(error)) => Err(error),
        Err(_) => Ok(false),
    }
}
