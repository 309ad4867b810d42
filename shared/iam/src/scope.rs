//! Who acts, where, and what that allows: the first parameter of every use case inside a tenant.

use std::borrow::Cow;

use bulkhead_audit::{Actor, Event};
use bulkhead_kernel::{
    clock::Clock,
    fault::{Code, Fault},
    ids::{ApiKeyId, IdentityId, SessionId, SupportAccessId},
    origin::Origin,
};
use bulkhead_tenancy::TenantRef;

use crate::{
    api_keys::KeyAuthority,
    members::Authority,
    permissions::{Permission, PermissionSet, SUPPORT_READ, SUPPORT_WRITE},
    support_access::LiveAccess,
};

/// Whoever acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A person who is signed in.
    Member(Person),
    /// A program with a key.
    ApiKey(KeyHolder),
    /// An operator who is let in for support.
    Supporter(Supporter),
}

/// A person who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
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

/// A program with an API key. Limits per key count by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHolder {
    /// The key.
    pub id: ApiKeyId,
    /// What the key is called.
    pub name: String,
}

/// An operator who is let in for support. Not a member: what is done counts as done through the access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supporter {
    /// What lets them in.
    pub access: SupportAccessId,
    /// The person.
    pub operator: IdentityId,
    /// The operator's address.
    pub email: String,
    /// The given name.
    pub first_name: String,
    /// The family name.
    pub last_name: String,
}

impl Principal {
    /// What kind of principal it is, as in the audit log.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Member(_) => "member",
            Self::ApiKey(_) => "api_key",
            Self::Supporter(_) => "operator",
        }
    }

    /// The id as the API shows it.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Member(person) => person.identity.to_string(),
            Self::ApiKey(key) => key.id.to_string(),
            Self::Supporter(supporter) => supporter.access.to_string(),
        }
    }
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
            principal: Principal::Member(Person {
                identity,
                session,
                email: authority.email.clone(),
                first_name: authority.first_name.clone(),
                last_name: authority.last_name.clone(),
            }),
            tenant,
            permissions: authority.permissions,
            roles: authority.roles.clone(),
            origin,
            clock,
        }
    }

    /// The scope of a program with this key. It has no roles, only permissions.
    #[must_use]
    pub fn of_key(key: &KeyAuthority, tenant: TenantRef, origin: Origin, clock: Clock) -> Self {
        Self {
            principal: Principal::ApiKey(KeyHolder {
                id: key.id,
                name: key.name.clone(),
            }),
            tenant,
            permissions: key.permissions(),
            roles: Vec::new(),
            origin,
            clock,
        }
    }

    /// The scope of an operator with this support access. They have no roles, only permissions.
    #[must_use]
    pub fn of_support(access: LiveAccess, tenant: TenantRef, origin: Origin, clock: Clock) -> Self {
        Self {
            permissions: if access.can_write { SUPPORT_WRITE } else { SUPPORT_READ },
            principal: Principal::Supporter(Supporter {
                access: access.id,
                operator: access.operator,
                email: access.email,
                first_name: access.first_name,
                last_name: access.last_name,
            }),
            tenant,
            roles: Vec::new(),
            origin,
            clock,
        }
    }

    /// The member who acts; keys and operators are refused.
    pub const fn person(&self) -> Result<&Person, ScopeError> {
        match &self.principal {
            Principal::Member(person) => Ok(person),
            Principal::ApiKey(_) => Err(ScopeError::NotAPerson),
            Principal::Supporter(_) => Err(ScopeError::NotAMember),
        }
    }

    /// Something the principal does now, to be given targets and changes and to be recorded in the same transaction.
    #[must_use]
    pub fn event(&self, action: &'static str) -> Event {
        let actor = Actor {
            kind: self.principal.kind(),
            id: self.principal.id(),
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
    /// Only people who are signed in may.
    #[error("the principal is not a person")]
    NotAPerson,
    /// Only members may.
    #[error("the principal is not a member")]
    NotAMember,
    /// Only owners may.
    #[error("the principal is not an owner")]
    NotAnOwner,
}

impl Fault for ScopeError {
    fn code(&self) -> Code {
        match self {
            Self::Lacks(_) | Self::LacksAll(_) | Self::NotAMember | Self::NotAnOwner => Code::Forbidden,
            Self::NotAPerson => Code::ApiKeyNotAllowed,
        }
    }

    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Lacks(permission) => format!("You lack the permission {permission}.").into(),
            Self::LacksAll(permissions) => {
                let names: Vec<_> = permissions.iter().map(Permission::as_str).collect();
                format!("You need one of the permissions {}.", names.join(", ")).into()
            }
            Self::NotAPerson => self.code().title().into(),
            Self::NotAnOwner => "This is for owners of the organisation.".into(),
            Self::NotAMember => "This is for members; support access does not reach it.".into(),
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
