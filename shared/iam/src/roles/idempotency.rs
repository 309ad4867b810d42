//! Making and widening roles under an `Idempotency-Key`: the answer is stored in the transaction of the change, so that a
//! repeated request meets either both or neither.

use bulkhead_kernel::ids::RoleId;
use bulkhead_tenancy::TenantTx;
use serde::{Deserialize, Serialize};

use super::{Held, Role, RoleError};
use crate::{Scope, idempotency::Keyed};

/// A caller's key, and what it was sent with.
pub(super) struct Key<'a> {
    scope: &'a Scope,
    request: Keyed<'a>,
}

impl<'a> Key<'a> {
    pub(super) fn new(
        scope: &'a Scope,
        route: &'static str,
        key: &str,
        body: &impl Serialize,
    ) -> Result<Self, RoleError> {
        let request = Keyed::new(&scope.origin.principal, route, key, body)?;
        Ok(Self { scope, request })
    }

    /// Takes the key for this transaction, or gives the answer it once led to.
    pub(super) async fn claim(&self, tx: &mut TenantTx, status: i16) -> Result<Option<Role>, RoleError> {
        let earlier = self.request.claim::<Answer>(tx, status, self.scope.clock.now()).await?;
        Ok(earlier.map(Role::from))
    }

    /// Stores what the key led to.
    pub(super) async fn keep(&self, tx: &mut TenantTx, role: &Role) -> Result<(), RoleError> {
        let location = format!("/api/v1/roles/{}", role.id);
        Ok(self.request.keep(tx, &location, &Answer::from(role)).await?)
    }
}

/// A role as it was answered.
#[derive(Serialize, Deserialize)]
struct Answer {
    id: RoleId,
    name: String,
    description: String,
    is_system: bool,
    version: i64,
    n_users: i64,
    permissions: Vec<String>,
}

impl From<&Role> for Answer {
    fn from(role: &Role) -> Self {
        Self {
            id: role.id,
            name: role.name.clone(),
            description: role.description.clone(),
            is_system: role.is_system,
            version: role.version,
            n_users: role.n_users,
            permissions: role.permissions.ids().map(str::to_owned).collect(),
        }
    }
}

impl From<Answer> for Role {
    fn from(answer: Answer) -> Self {
        Self {
            id: answer.id,
            name: answer.name,
            description: answer.description,
            is_system: answer.is_system,
            version: answer.version,
            n_users: answer.n_users,
            permissions: Held::of_ids(answer.permissions),
        }
    }
}
