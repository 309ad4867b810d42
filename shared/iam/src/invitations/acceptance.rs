//! What the holder of a link can do.

use bulkhead_audit::{Actor, Event};
use bulkhead_kernel::{
    ids::{IdentityId, RoleId},
    origin::Origin,
};
use bulkhead_tenancy::{DbError, TenantRef, TenantSelector, TenantTx};
use tracing::instrument;

use super::{Accepted, Invitation, InvitationError, NewPerson, Offer, Status, store, token::Token};
use crate::{
    Iam, Person,
    grants::Turn,
    identities::{self, Registration},
    members::{self, Member, MemberError},
    memberships,
    permissions::Permission,
    roles::{self, Role, RoleError},
};

/// What a link offers. It stays as it is.
#[instrument(skip_all)]
pub async fn lookup(iam: &Iam, token: &str) -> Result<Offer, InvitationError> {
    let token: Token = token.parse()?;
    let (tenant, mut tx) = enter(iam, &token).await?;
    let invitation = open(iam, &mut tx, &token).await?;
    let inviter = members::service::find(&mut tx, invitation.granted_by).await.ok();
    tx.commit().await?;
    Ok(Offer {
        tenant,
        has_account: has_account(iam, &invitation.email).await?,
        roles: invitation.roles.into_iter().filter_map(|role| role.name).collect(),
        inviter: inviter.map(|member| format!("{} {}", member.first_name, member.last_name)),
        email: invitation.email,
        expires_at: invitation.expires_at,
    })
}

/// Makes somebody with an account a member. Their address must be the invited one, and verified.
#[instrument(skip_all)]
pub async fn accept(iam: &Iam, origin: &Origin, token: &str, principal: &Person) -> Result<Accepted, InvitationError> {
    let token: Token = token.parse()?;
    let person = identities::service::me(iam, principal.identity).await?;
    let (tenant, mut tx) = enter(iam, &token).await?;
    let invitation = open(iam, &mut tx, &token).await?;
    if person.email != invitation.email {
        return Err(InvitationError::EmailMismatch);
    }
    if !person.is_email_verified {
        return Err(InvitationError::EmailUnverified);
    }
    let (turn, invitation, roles) = judge(iam, &mut tx, &token, invitation.granted_by).await?;
    let names = [person.first_name, person.last_name];
    let letting_in = LettingIn {
        invitation,
        turn,
        roles,
    };
    letting_in.finish(iam, origin, tx, tenant, person.id, names).await
}

/// Makes somebody without an account an identity and a member: the mail that brought the link has shown that the address is
/// theirs. It is one transaction where the tenant lives at home. Elsewhere the identity comes first; should the rest fail, it
/// is somebody with an account, who has to accept by [`accept`] as everybody whose address has one.
#[instrument(skip_all)]
pub async fn accept_as_new(
    iam: &Iam,
    origin: &Origin,
    token: &str,
    person: NewPerson,
) -> Result<Accepted, InvitationError> {
    let token: Token = token.parse()?;
    let (_, mut tx) = enter(iam, &token).await?;
    let invitation = open(iam, &mut tx, &token).await?;
    tx.commit().await?;
    if has_account(iam, &invitation.email).await? {
        return Err(InvitationError::AccountExists);
    }
    let (first_name, last_name) = (&person.first_name, &person.last_name);
    let new = Registration::parse(&invitation.email, &person.password, first_name, last_name);
    let new = new.map_err(InvitationError::Invalid)?;
    let (hash, names) = identities::service::prepare(iam, new).await?;
    let (tenant, mut tx) = enter(iam, &token).await?;
    let mut judged = judge(iam, &mut tx, &token, invitation.granted_by).await?;
    let now = iam.clock.now();
    let full_name = [&names[0], &names[1]];
    let made = if tx.is_at_home() {
        store::insert_identity(tx.conn(), &invitation.email, &hash, full_name, now).await?
    } else {
        tx.commit().await?;
        let mut home = iam.db.control().await?;
        let made = store::insert_identity(home.conn(), &invitation.email, &hash, full_name, now).await?;
        home.commit().await?;
        (_, tx) = enter(iam, &token).await?;
        judged = judge(iam, &mut tx, &token, invitation.granted_by).await?;
        made
    };
    let (turn, invitation, roles) = judged;
    let identity = made.ok_or(InvitationError::AccountExists)?;
    let names = names.map(|name| name.as_str().to_owned());
    let letting_in = LettingIn {
        invitation,
        turn,
        roles,
    };
    letting_in.finish(iam, origin, tx, tenant, identity, names).await
}

/// Enters the tenant that the text names. To who is no member, one that is closed does not exist.
async fn enter(iam: &Iam, token: &Token) -> Result<(TenantRef, TenantTx), InvitationError> {
    let entered = async {
        let tenant = iam.db.resolve(&TenantSelector::Id(token.tenant)).await?;
        Ok((tenant, iam.db.tenant(token.tenant).await?))
    };
    entered.await.map_err(|error| match error {
        DbError::TenantNotFound | DbError::TenantNotActive => InvitationError::TokenInvalid,
        error => error.into(),
    })
}

/// The invitation of a genuine secret, while it waits. Who has another secret learns nothing of it.
async fn open(iam: &Iam, tx: &mut TenantTx, token: &Token) -> Result<Invitation, InvitationError> {
    let hashes = store::find_secret_hashes(tx, token.invitation).await?;
    if !hashes.is_some_and(|hashes| token.is_one_of(&hashes)) {
        return Err(InvitationError::TokenInvalid);
    }
    let found = store::find(tx, token.invitation, iam.clock.now()).await?;
    let invitation = found.ok_or(InvitationError::TokenInvalid)?;
    match invitation.status {
        Status::Pending => Ok(invitation),
        status => Err(InvitationError::Over(status)),
    }
}

/// Takes the turn and looks at everything once more: the link, the roles, and whether who answers for them may still give
/// them and invite. What is seen stays so until the transaction ends.
async fn judge(
    iam: &Iam,
    tx: &mut TenantTx,
    token: &Token,
    granter: IdentityId,
) -> Result<(Turn, Invitation, Vec<Role>), InvitationError> {
    match Turn::take_for(tx, granter).await {
        // It is our turn either way, and somebody else may answer for the invitation by now.
        Ok(_) | Err(RoleError::GranterGone) => {}
        Err(error) => return Err(error.into()),
    }
    let invitation = open(iam, tx, token).await?;
    let role_ids: Vec<RoleId> = invitation.roles.iter().map(|role| role.id).collect();
    let judged = async {
        let turn = Turn::take_for(tx, invitation.granted_by).await?;
        turn.require(Permission::InvitationCreate)
            .or_else(|_| turn.require(Permission::InvitationUpdate))?;
        let roles = roles::service::grantable(&turn, tx, &role_ids).await?;
        Ok((turn, roles))
    };
    let (turn, roles) = judged.await.map_err(not_backed)?;
    Ok((turn, invitation, roles))
}

/// What stands against roles that were given earlier, told to who is to get them.
fn not_backed(error: RoleError) -> InvitationError {
    match error {
        RoleError::Unknown(_) => InvitationError::RoleGone,
        RoleError::Forbidden(_) | RoleError::Exceeds(_) | RoleError::GranterGone => InvitationError::NotBacked,
        error => error.into(),
    }
}

async fn has_account(iam: &Iam, email: &str) -> Result<bool, InvitationError> {
    let Ok(email) = email.parse() else { return Ok(false) };
    let mut tx = iam.db.control().await?;
    let known = identities::service::find_credentials(&mut tx, &email).await?;
    tx.commit().await?;
    Ok(known.is_some())
}

/// An invitation that nothing stands against.
struct LettingIn {
    invitation: Invitation,
    turn: Turn,
    roles: Vec<Role>,
}

impl LettingIn {
    async fn finish(
        self,
        iam: &Iam,
        origin: &Origin,
        mut tx: TenantTx,
        tenant: TenantRef,
        identity: IdentityId,
        [first_name, last_name]: [String; 2],
    ) -> Result<Accepted, InvitationError> {
        let (
            Invitation {
                id, email, granted_by, ..
            },
            now,
        ) = (self.invitation, iam.clock.now());
        if !store::set_closed(&mut tx, id, Status::Accepted, Some(identity), now).await? {
            return Err(InvitationError::Over(Status::Accepted));
        }
        if members::service::find(&mut tx, identity)
            .await
            .is_ok_and(|member| member.is_active)
        {
            return Err(InvitationError::AlreadyMember);
        }
        let person = Member {
            id: identity,
            email,
            first_name,
            last_name,
            is_active: true,
            roles: Vec::new(),
            version: 0,
        };
        let admitted = members::service::admit(&mut tx, self.turn, &person, granted_by, &self.roles, now).await;
        let member = admitted.map_err(|error| match error {
            MemberError::Role(error) => not_backed(error),
            error => error.into(),
        })?;
        let actor = Actor {
            kind: "member",
            id: identity.to_string(),
        };
        let event = Event::new("invitation.accept", actor, origin, now);
        let event = event.on("invitation", id).on("user", identity);
        bulkhead_audit::record(&mut tx, event.change("roles", None::<String>, member.roles.clone())).await?;
        let told = bulkhead_events::Event::MemberAdded((&member).into());
        bulkhead_events::emit(origin, &mut tx, now, &told).await?;
        tx.commit().await?;
        memberships::service::carry_soon(&iam.db, tenant.id).await;
        Ok(Accepted {
            tenant,
            identity,
            email: member.email,
            roles: member.roles,
        })
    }
}
