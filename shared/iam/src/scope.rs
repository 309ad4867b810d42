//! Who acts, where, and what that allows: the first parameter of every use case inside a tenant.

use std::borrow::Cow;

use bulkhead_audit::{Actor, Event};
use bulkhead_kernel::{
    clock::Clock,
    fault::{Code, Fault},
    ids::{IdentityId, SessionId},
    origin::Origin,
};
use bulkhead_tenancy::TenantRef;

use crate::{
    members::Authority,
    permissions::{Permission, PermissionSet},
};

/// A person who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The person.
    pub identity: IdentityId,
    /// The sign-in.
    pub session: SessionId,
    /// The person's address.
    pub email: String,
    /// The given name.
    pub first_name: String,
    /// The family name.
    pub last_name: String,
}

/// A principal inside a tenant.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Who acts.
    pub principal: Principal,
    /// Where.
    pub tenant: TenantRef,
    /// What the principal may do there.
    pub permissions: PermissionSet,
    /// The names of the principal's roles there.
    pub roles: Vec<String>,
    /// Where the request came from.
    pub origin: Origin,
    /// The time.
    pub clock: Clock,
}

impl Scope {
    /// The scope of somebody with this authority.
    #[must_use]
    pub fn new(
        identity: IdentityId,
        session: SessionId,
        authority: &Authority,
        tenant: TenantRef,
        origin: Origin,
        clock: Clock,
    ) -> Self {
        Self {
            principal: Principal {
                identity,
                session,
                email: authority.email.clone(),
                first_name: authority.first_name.clone(),
                last_name: authority.last_name.clone(),
            },
            tenant,
            permissions: authority.permissions,
            roles: authority.roles.clone(),
            origin,
            clock,
        }
    }

    /// Something the principal does now, to be given targets and changes and to be recorded in the same transaction.
    #[must_use]
    pub fn event(&self, action: &'static str) -> Event {
        let actor = Actor {
            kind: "member",
            id: self.principal.identity.to_string(),
        };
        Event::new(action, actor, &self.origin, self.clock.now())
    }

    /// Refuses unless the principal holds `permission` here.
    pub const fn require(&self, permission: Permission) -> Result<(), ScopeError> {
        self.permissions.require(permission)
    }

    /// Refuses unless the principal holds one of `permissions` here.
    pub const fn require_any(&self, permissions: &[Permission]) -> Result<(), ScopeError> {
        self.permissions.require_any(permissions)
    }

    /// Refuses unless the principal holds all of `permissions` here.
    pub const fn require_all(&self, permissions: &[Permission]) -> Result<(), ScopeError> {
        self.permissions.require_all(permissions)
    }
}

impl PermissionSet {
    /// Refuses unless `permission` is in it. This and the two below are the one place where a permission is asked for.
    pub const fn require(self, permission: Permission) -> Result<(), ScopeError> {
        self.require_all(&[permission])
    }

    /// Refuses unless one of `permissions` is in it; of none nothing is.
    pub const fn require_any(self, permissions: &[Permission]) -> Result<(), ScopeError> {
        let wanted = Self::of(permissions);
        if self.shares(wanted) {
            Ok(())
        } else {
            Err(ScopeError::LacksAll(wanted))
        }
    }

    /// Refuses unless all of `permissions` are in it, and names the first that is not.
    pub const fn require_all(self, permissions: &[Permission]) -> Result<(), ScopeError> {
        let mut index = 0;
        while index < permissions.len() {
            if !self.contains(permissions[index]) {
                return Err(ScopeError::Lacks(permissions[index]));
            }
            index += 1;
        }
        Ok(())
    }
}

/// The principal may not do this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// The permission that is missing.
    #[error("the principal lacks {0}")]
    Lacks(Permission),
    /// Permissions one of which would do.
    #[error("the principal lacks all of {0:?}")]
    LacksAll(PermissionSet),
}

impl Fault for ScopeError {
    fn code(&self) -> Code {
        Code::Forbidden
    }

    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Lacks(permission) => format!("You lack the permission {permission}.").into(),
            Self::LacksAll(permissions) => {
                let names: Vec<_> = permissions.iter().map(Permission::as_str).collect();
                format!("You need one of the permissions {}.", names.join(", ")).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: PermissionSet = PermissionSet::of(&[Permission::VmRead, Permission::VmCreate]);

    #[test]
    fn one_any_and_all_are_what_they_say() {
        use Permission::{VmConsole, VmCreate, VmDelete, VmRead};
        assert_eq!(HELD.require(VmRead), Ok(()));
        assert_eq!(HELD.require(VmDelete), Err(ScopeError::Lacks(VmDelete)));
        assert_eq!(HELD.require_any(&[VmDelete, VmCreate]), Ok(()));
        let wanted = PermissionSet::of(&[VmDelete, VmConsole]);
        assert_eq!(
            HELD.require_any(&[VmDelete, VmConsole]),
            Err(ScopeError::LacksAll(wanted))
        );
        assert_eq!(HELD.require_any(&[]), Err(ScopeError::LacksAll(PermissionSet::EMPTY)));
        assert_eq!(HELD.require_all(&[VmRead, VmCreate]), Ok(()));
        assert_eq!(HELD.require_all(&[]), Ok(()));
        assert_eq!(
            HELD.require_all(&[VmRead, VmConsole, VmDelete]),
            Err(ScopeError::Lacks(VmConsole))
        );
    }

    #[test]
    fn a_refusal_names_what_is_missing() {
        let refused = HELD
            .require_any(&[Permission::VmDelete, Permission::VmConsole])
            .unwrap_err();
        assert_eq!(
            refused.detail(),
            "You need one of the permissions vm:delete, vm:console."
        );
        assert_eq!(refused.code(), Code::Forbidden);
    }
}
