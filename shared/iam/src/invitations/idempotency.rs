//! Inviting and resending under an `Idempotency-Key`: the answer is stored in the transaction of the change, so that a
//! repeated request meets either both or neither, and sends one mail.

use bulkhead_kernel::ids::{IdentityId, InvitationId, RoleId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Invitation, InvitedRole, Status};
use crate::idempotency::Repeatable;

impl Repeatable for Invitation {
    type Answer = Answer;

    fn location(&self) -> String {
        format!("/api/v1/invitations/{}", self.id)
    }
}

/// An invitation as it was answered. It waited then: it was made or sent again.
#[derive(Serialize, Deserialize)]
pub(crate) struct Answer {
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
