//! Inviting and resending under an `Idempotency-Key`: the answer is stored in the transaction of the change, so that a
//! repeated request meets either both or neither, and sends one mail.

use bulkhead_kernel::ids::{IdentityId, InvitationId, RoleId};
use bulkhead_tenancy::TenantTx;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Invitation, InvitationError, InvitedRole, Status};
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
    ) -> Result<Self, InvitationError> {
        let request = Keyed::new(&scope.origin.principal, route, key, body)?;
        Ok(Self { scope, request })
    }

    /// Takes the key for this transaction, or gives the answer it once led to.
    pub(super) async fn claim(&self, tx: &mut TenantTx, status: i16) -> Result<Option<Invitation>, InvitationError> {
        let earlier = self.request.claim::<Answer>(tx, status, self.scope.clock.now()).await?;
        Ok(earlier.map(Invitation::from))
    }

    /// Stores what the key led to.
    pub(super) async fn keep(&self, tx: &mut TenantTx, invitation: &Invitation) -> Result<(), InvitationError> {
        let location = format!("/api/v1/invitations/{}", invitation.id);
        Ok(self.request.keep(tx, &location, &Answer::from(invitation)).await?)
    }
}

/// An invitation as it was answered. It waited then: it was made or sent again.
#[derive(Serialize, Deserialize)]
struct Answer {
    id: InvitationId,
    email: String,
    roles: Vec<(RoleId, Option<String>)>,
    version: i64,
    invited_by: IdentityId,
    granted_by: IdentityId,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

impl From<&Invitation> for Answer {
    fn from(invitation: &Invitation) -> Self {
        let invitation = invitation.clone();
        Self {
            id: invitation.id,
            email: invitation.email,
            roles: invitation.roles.into_iter().map(|role| (role.id, role.name)).collect(),
            version: invitation.version,
            invited_by: invitation.invited_by,
            granted_by: invitation.granted_by,
            created_at: invitation.created_at,
            expires_at: invitation.expires_at,
        }
    }
}

impl From<Answer> for Invitation {
    fn from(answer: Answer) -> Self {
        let roles = answer.roles.into_iter();
        Self {
            id: answer.id,
            email: answer.email,
            roles: roles.map(|(id, name)| InvitedRole { id, name }).collect(),
            status: Status::Pending,
            version: answer.version,
            invited_by: answer.invited_by,
            granted_by: answer.granted_by,
            created_at: answer.created_at,
            expires_at: answer.expires_at,
            closed_at: None,
        }
    }
}
