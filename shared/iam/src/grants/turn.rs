//! The turn to change who may do what in a tenant.

use bulkhead_kernel::ids::IdentityId;
use bulkhead_tenancy::TenantTx;

use super::store;
use crate::{
    Scope,
    permissions::{Permission, SystemRole},
    roles::{Held, RoleError},
};

/// Held until the transaction ends; whoever else wants to change rights in this tenant waits for it. One lock, taken
/// before all others: rights are changed rarely, and nothing can be done in a wrong order.
#[derive(Debug)]
pub(crate) struct Turn {
    held: Held,
}

impl Turn {
    /// Waits for the turn, then reads what the principal holds. Taking it again costs a look.
    pub(crate) async fn take(scope: &Scope, tx: &mut TenantTx) -> Result<Self, RoleError> {
        let Self { held } = Self::take_for(tx, scope.person()?.identity).await?;
        Ok(Self {
            held: held.within(scope.permissions),
        })
    }

    /// The same for a principal that has `permission`, before the turn and in it.
    pub(crate) async fn take_to(scope: &Scope, tx: &mut TenantTx, permission: Permission) -> Result<Self, RoleError> {
        scope.require(permission)?;
        let turn = Self::take(scope, tx).await?;
        turn.require(permission)?;
        Ok(turn)
    }

    /// The same for somebody who gave something earlier.
    pub(crate) async fn take_for(tx: &mut TenantTx, granter: IdentityId) -> Result<Self, RoleError> {
        store::lock_rights(tx, SystemRole::Owner).await?;
        let held = store::find_held(tx, granter).await?;
        held.map(|held| Self { held }).ok_or(RoleError::GranterGone)
    }

    /// Refuses unless the holder has `permission`.
    pub(crate) fn require(&self, permission: Permission) -> Result<(), RoleError> {
        Ok(self.held.known().require(permission)?)
    }

    /// Refuses what reaches beyond what the holder has.
    pub(crate) fn require_covers(&self, wanted: &Held) -> Result<(), RoleError> {
        match self.held.lacks(wanted) {
            Some(missing) => Err(RoleError::Exceeds(missing.to_owned())),
            None => Ok(()),
        }
    }

    /// Refuses to touch any of these members who holds more than the holder of the turn, active or not.
    pub(crate) async fn require_above(&self, tx: &mut TenantTx, members: &[IdentityId]) -> Result<(), RoleError> {
        let together = store::find_held_together(tx, members).await?;
        self.require_covers(&together)
    }

    /// Ends what was done to these members: an active owner must be left, their versions rise, and the index of
    /// memberships follows.
    pub(crate) async fn finish(self, tx: &mut TenantTx, members: &[IdentityId]) -> Result<(), RoleError> {
        if !store::has_active(tx, SystemRole::Owner).await? {
            return Err(RoleError::LastOwner);
        }
        if store::set_memberships(tx, members).await? {
            Ok(())
        } else {
            Err(RoleError::Unlinked)
        }
    }
}
