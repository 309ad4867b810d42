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
        if self.permissions.contains(permission) {
            Ok(())
        } else {
            Err(ScopeError::Lacks(permission))
        }
    }
}

/// The principal may not do this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// The permission that is missing.
    #[error("the principal lacks {0}")]
    Lacks(Permission),
}

impl Fault for ScopeError {
    fn code(&self) -> Code {
        Code::Forbidden
    }

    fn detail(&self) -> Cow<'static, str> {
        let Self::Lacks(permission) = self;
        format!("You lack the permission {permission}.").into()
    }
}
