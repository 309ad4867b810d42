//! Adding members and giving them roles under an `Idempotency-Key`: the answer is stored in the transaction of the change,
//! so that a repeated request meets either both or neither.

use bulkhead_kernel::ids::IdentityId;
use bulkhead_tenancy::TenantTx;
use serde::{Deserialize, Serialize};

use super::{Member, MemberError};
use crate::{Scope, grants::Turn, idempotency::Keyed, permissions::Permission};

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
    ) -> Result<Self, MemberError> {
        let request = Keyed::new(&scope.origin.principal, route, key, body)?;
        Ok(Self { scope, request })
    }

    /// Takes the turn of who has `permission` and the key, for this transaction, or gives the answer it once led to.
    pub(super) async fn claim(
        &self,
        tx: &mut TenantTx,
        permission: Permission,
        status: i16,
    ) -> Result<Option<Member>, MemberError> {
        Turn::take_to(self.scope, tx, permission).await?;
        let earlier = self.request.claim::<Answer>(tx, status, self.scope.clock.now()).await?;
        Ok(earlier.map(Member::from))
    }

    /// Stores what the key led to.
    pub(super) async fn keep(&self, tx: &mut TenantTx, member: &Member) -> Result<(), MemberError> {
        let location = format!("/api/v1/users/{}", member.id);
        Ok(self.request.keep(tx, &location, &Answer::from(member)).await?)
    }
}

/// A member as they were answered.
#[derive(Serialize, Deserialize)]
struct Answer {
    id: IdentityId,
    email: String,
    first_name: String,
    last_name: String,
    is_active: bool,
    roles: Vec<String>,
    version: i64,
}

impl From<&Member> for Answer {
    fn from(member: &Member) -> Self {
        let member = member.clone();
        Self {
            id: member.id,
            email: member.email,
            first_name: member.first_name,
            last_name: member.last_name,
            is_active: member.is_active,
            roles: member.roles,
            version: member.version,
        }
    }
}

impl From<Answer> for Member {
    fn from(answer: Answer) -> Self {
        Self {
            id: answer.id,
            email: answer.email,
            first_name: answer.first_name,
            last_name: answer.last_name,
            is_active: answer.is_active,
            roles: answer.roles,
            version: answer.version,
        }
    }
}
