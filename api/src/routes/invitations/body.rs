//! Invitations as they go over the wire.

use bulkhead_iam::invitations::{Accepted, Invitation, InvitedRole, NewPerson, Offer};
use bulkhead_kernel::secret::Secret;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Somebody who is to become a member.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"email": "bob@example.com", "role_ids": ["rol_0190a1b2c3d4e5f60718293a4b5c6d7e"],
    "expires_in_days": 7}))]
pub struct CreateInvitation {
    /// Where the mail goes, and whose account may accept; compared without regard to case.
    pub(super) email: String,
    /// 1 to 20 roles, none beyond what the caller holds.
    pub(super) role_ids: Vec<String>,
    /// 1 to 30; 7 where nothing is said.
    pub(super) expires_in_days: Option<i64>,
}

/// What is to change of an invitation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"role_ids": ["rol_0190a1b2c3d4e5f60718293a4b5c6d7e"]}))]
pub struct UpdateInvitation {
    /// 1 to 20 roles in place of those before, none beyond what the caller holds.
    pub(super) role_ids: Vec<String>,
}

/// How another mail is meant.
#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"expires_in_days": 7}))]
pub struct ResendInvitation {
    /// From now on; 1 to 30, 7 where nothing is said.
    pub(super) expires_in_days: Option<i64>,
}

/// Which invitations.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct InvitationQuery {
    /// Part of the address, whatever its case.
    pub(super) search: Option<String>,
    /// `pending`, `accepted`, `revoked` or `expired`.
    pub(super) status: Option<String>,
}

/// An invitation. Its link is in the mail and nowhere else.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "inv_0190a1b2c3d4e5f60718293a4b5c6d7e", "email": "bob@example.com",
    "roles": [{"id": "rol_0190a1b2c3d4e5f60718293a4b5c6d7e", "name": "member"}], "status": "pending",
    "invited_by": "usr_0190a1b2c3d4e5f60718293a4b5c6d7e", "granted_by": "usr_0190a1b2c3d4e5f60718293a4b5c6d7e",
    "created_at": "2026-11-21T12:00:00Z", "expires_at": "2026-11-28T12:00:00Z"}))]
pub struct InvitationBody {
    id: String,
    email: String,
    roles: Vec<InvitedRoleBody>,
    /// `pending`, `accepted`, `revoked` or `expired`.
    status: &'static str,
    /// Who made it.
    invited_by: String,
    /// Who last made, changed or resent it. It can be accepted while they hold what its roles allow.
    granted_by: String,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    /// When it was accepted or revoked, or a newer one took its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<DateTime<Utc>>,
}

/// A role that an invitation gives.
#[derive(Serialize, ToSchema)]
pub struct InvitedRoleBody {
    id: String,
    /// Missing once the role was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

impl From<InvitedRole> for InvitedRoleBody {
    fn from(role: InvitedRole) -> Self {
        Self {
            id: role.id.to_string(),
            name: role.name,
        }
    }
}

impl From<Invitation> for InvitationBody {
    fn from(invitation: Invitation) -> Self {
        Self {
            id: invitation.id.to_string(),
            email: invitation.email,
            roles: invitation.roles.into_iter().map(InvitedRoleBody::from).collect(),
            status: invitation.status.as_str(),
            invited_by: invitation.invited_by.to_string(),
            granted_by: invitation.granted_by.to_string(),
            created_at: invitation.created_at,
            expires_at: invitation.expires_at,
            closed_at: invitation.closed_at,
        }
    }
}

/// The text behind the link of a mail.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"token": "inv_0190a1b2c3d4e5f60718293a4b5c6d7e_0190a1b2c3d4e5f60718293a4b5c6d7e_Zm42pF1gxT9oQ2hYb7KcVw"}))]
pub struct LookupInvitation {
    #[schema(value_type = String)]
    pub(super) token: Secret,
}

/// Somebody who accepts: signed in with the token alone, or new with a password and names.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"token": "inv_0190a1b2c3d4e5f60718293a4b5c6d7e_0190a1b2c3d4e5f60718293a4b5c6d7e_Zm42pF1gxT9oQ2hYb7KcVw",
    "password": "correct horse battery", "first_name": "Bob", "last_name": "Babbage"}))]
pub struct AcceptInvitation {
    #[schema(value_type = String)]
    pub(super) token: Secret,
    /// Of the new account: 8 to 128 characters, none of the common ones.
    #[schema(value_type = Option<String>, format = Password)]
    pub(super) password: Option<Secret>,
    /// Of the new account: 1 to 100 characters.
    pub(super) first_name: Option<String>,
    /// Of the new account: 1 to 100 characters.
    pub(super) last_name: Option<String>,
}

impl AcceptInvitation {
    /// The places of what only a new account needs.
    pub(super) fn of_new_account(&self) -> Vec<&'static str> {
        let places = [
            ("/password", self.password.is_some()),
            ("/first_name", self.first_name.is_some()),
            ("/last_name", self.last_name.is_some()),
        ];
        places
            .into_iter()
            .filter(|(_, is_there)| *is_there)
            .map(|(place, _)| place)
            .collect()
    }

    /// Whoever is new. What is missing is empty, which breaks its rule.
    pub(super) fn person(self) -> NewPerson {
        NewPerson {
            password: self.password.unwrap_or_else(|| Secret::new("")),
            first_name: self.first_name.unwrap_or_default(),
            last_name: self.last_name.unwrap_or_default(),
        }
    }
}

/// What the holder of a link is offered.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"org_id": "org_0190a1b2c3d4e5f60718293a4b5c6d7e", "org_name": "Acme Robotics",
    "org_slug": "acme-robotics", "email": "bob@example.com", "roles": ["member"], "inviter": "Ada Lovelace",
    "has_account": false, "expires_at": "2026-11-28T12:00:00Z"}))]
pub struct OfferBody {
    org_id: String,
    org_name: String,
    org_slug: String,
    email: String,
    /// By name.
    roles: Vec<String>,
    /// The name of who invited; missing where they have left.
    #[serde(skip_serializing_if = "Option::is_none")]
    inviter: Option<String>,
    /// Whether to sign in to accept, or to choose a password.
    has_account: bool,
    expires_at: DateTime<Utc>,
}

impl From<Offer> for OfferBody {
    fn from(offer: Offer) -> Self {
        Self {
            org_id: offer.tenant.id.to_string(),
            org_name: offer.tenant.name,
            org_slug: offer.tenant.slug.to_string(),
            email: offer.email,
            roles: offer.roles,
            inviter: offer.inviter,
            has_account: offer.has_account,
            expires_at: offer.expires_at,
        }
    }
}

/// What somebody has become.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"org_id": "org_0190a1b2c3d4e5f60718293a4b5c6d7e", "org_name": "Acme Robotics",
    "org_slug": "acme-robotics", "user_id": "usr_0190a1b2c3d4e5f60718293a4b5c6d7e", "email": "bob@example.com",
    "roles": ["member"]}))]
pub struct AcceptedBody {
    org_id: String,
    org_name: String,
    org_slug: String,
    user_id: String,
    email: String,
    /// All they have there, by name.
    roles: Vec<String>,
}

impl From<Accepted> for AcceptedBody {
    fn from(accepted: Accepted) -> Self {
        Self {
            org_id: accepted.tenant.id.to_string(),
            org_name: accepted.tenant.name,
            org_slug: accepted.tenant.slug.to_string(),
            user_id: accepted.identity.to_string(),
            email: accepted.email,
            roles: accepted.roles,
        }
    }
}
