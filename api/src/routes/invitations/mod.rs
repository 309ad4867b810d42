//! `/invitations`: inviting people, and accepting by the link of a mail.

mod body;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bulkhead_iam::{
    invitations::{Invitation, Lifetime, NewInvitation, acceptance, service},
    permissions::Permission,
};
use bulkhead_kernel::{
    fault::{Code, Violation},
    ids::InvitationId,
};
use bulkhead_traffic::Outcome;

pub use body::{
    AcceptInvitation, AcceptedBody, CreateInvitation, InvitationBody, InvitationQuery, InvitedRoleBody,
    LookupInvitation, OfferBody, ResendInvitation, UpdateInvitation,
};

use super::page::PageBody;
use crate::{
    extract::{
        ClientAddress, FreshlyScoped, IdempotencyHeader, IfMatch, Json, OptionalJson, PageQuery, Paging, PathId, Query,
        Requested, Scoped, SignedIn, etag,
    },
    openapi::{PUBLIC, codes},
    problem::Problem,
    state::AppState,
};

fn shown(invitation: Invitation) -> Response {
    let tag = [(header::ETAG, etag(invitation.version))];
    (tag, Json(InvitationBody::from(invitation))).into_response()
}

/// Invite somebody
///
/// They get a mail with a link that makes them a member. Whether the address has an account is not told.
/// Under an `Idempotency-Key` the same request invites once, however often it is sent.
#[utoipa::path(post, path = "/invitations", operation_id = "create_invitation", tag = "invitations",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    responses((status = 201, body = InvitationBody, headers(("Location"), ("ETag")))),
    extensions(("x-permission" = json!(Permission::InvitationCreate.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::TenantReadOnly, Code::QuotaExceeded, Code::AlreadyMember,
            Code::AlreadyInvited, Code::IdempotencyKeyReused])))))]
pub async fn create(
    State(state): State<AppState>,
    FreshlyScoped(scope): FreshlyScoped,
    IdempotencyHeader(key): IdempotencyHeader,
    Json(wanted): Json<CreateInvitation>,
) -> Result<Response, Problem> {
    let new = NewInvitation::parse(&wanted.email, &wanted.role_ids, wanted.expires_in_days);
    let new = new.map_err(Problem::invalid)?;
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let max_pending = state.tenants().max_pending_invitations;
    let invitation = service::invite(&scope, &mut tx, &new, max_pending, key.as_deref()).await?;
    tx.commit().await?;
    #[cfg(bulkhead_mutant = "enqueue_after_commit")]
    service::send_after_commit(&scope, state.db(), invitation.id).await?;
    let location = [(header::LOCATION, format!("/api/v1/invitations/{}", invitation.id))];
    Ok((StatusCode::CREATED, location, shown(invitation)).into_response())
}

/// List the invitations
///
/// The newest first.
#[utoipa::path(get, path = "/invitations", operation_id = "list_invitations", tag = "invitations",
    params(PageQuery, InvitationQuery), responses((status = 200, body = PageBody<InvitationBody>)),
    extensions(("x-permission" = json!(Permission::InvitationRead.as_str()))))]
pub async fn list(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    Paging(page): Paging,
    Query(query): Query<InvitationQuery>,
) -> Result<Json<PageBody<InvitationBody>>, Problem> {
    let status = query.status.as_deref().map(str::parse).transpose();
    let status = status.map_err(|violation: Violation| Problem::invalid(vec![violation]))?;
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let invitations = service::list(&scope, &mut tx, status, query.search.as_deref(), page).await?;
    tx.commit().await?;
    Ok(Json(PageBody::of(invitations, InvitationBody::from)))
}

/// Show an invitation
#[utoipa::path(get, path = "/invitations/{id}", operation_id = "get_invitation", tag = "invitations",
    params(("id" = String, Path, description = "The invitation")),
    responses((status = 200, body = InvitationBody, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::InvitationRead.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn get(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<InvitationId>,
) -> Result<Response, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let invitation = service::get(&scope, &mut tx, id).await?;
    tx.commit().await?;
    Ok(shown(invitation))
}

/// Change the roles of a pending invitation
///
/// The link in the mail stays good. The caller answers for the roles from now on.
#[utoipa::path(patch, path = "/invitations/{id}", operation_id = "update_invitation", tag = "invitations",
    params(("id" = String, Path, description = "The invitation"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` last seen")),
    responses((status = 200, body = InvitationBody, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::InvitationUpdate.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::TenantReadOnly, Code::InvitationClosed,
            Code::PreconditionFailed])))))]
pub async fn update(
    State(state): State<AppState>,
    FreshlyScoped(scope): FreshlyScoped,
    PathId(id): PathId<InvitationId>,
    IfMatch(seen): IfMatch,
    Json(wanted): Json<UpdateInvitation>,
) -> Result<Response, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let invitation = service::update(&scope, &mut tx, id, seen.as_deref(), &wanted.role_ids).await?;
    tx.commit().await?;
    Ok(shown(invitation))
}

/// Revoke an invitation
///
/// Its link is worth nothing from now on. Asking again changes nothing.
#[utoipa::path(delete, path = "/invitations/{id}", operation_id = "delete_invitation", tag = "invitations",
    params(("id" = String, Path, description = "The invitation"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` last seen")),
    responses((status = 204)),
    extensions(("x-permission" = json!(Permission::InvitationDelete.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::TenantReadOnly, Code::InvitationClosed,
            Code::PreconditionFailed])))))]
pub async fn delete(
    State(state): State<AppState>,
    FreshlyScoped(scope): FreshlyScoped,
    PathId(id): PathId<InvitationId>,
    IfMatch(seen): IfMatch,
) -> Result<StatusCode, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    service::revoke(&scope, &mut tx, id, seen.as_deref()).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Send an invitation again
///
/// With a new link; those before it are worth nothing from now on. One that has expired waits again. The caller answers for
/// its roles from now on. Under an `Idempotency-Key` the same request sends one mail, however often it is sent.
/// Only so many mails go out for one invitation in an hour.
#[utoipa::path(post, path = "/invitations/{id}/resend", operation_id = "resend_invitation", tag = "invitations",
    params(("id" = String, Path, description = "The invitation"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    request_body = ResendInvitation,
    responses((status = 200, body = InvitationBody, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::InvitationUpdate.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::TenantReadOnly, Code::InvitationClosed,
            Code::InvitationRoleGone, Code::IdempotencyKeyReused, Code::RateLimited])))))]
pub async fn resend(
    State(state): State<AppState>,
    FreshlyScoped(scope): FreshlyScoped,
    ClientAddress(from): ClientAddress,
    PathId(id): PathId<InvitationId>,
    IdempotencyHeader(key): IdempotencyHeader,
    OptionalJson(wanted): OptionalJson<ResendInvitation>,
) -> Result<Response, Problem> {
    let lifetime = Lifetime::parse(wanted.expires_in_days);
    let lifetime = lifetime.map_err(|violation| Problem::invalid(vec![violation]))?;
    let throttle = &state.throttles().resends;
    // Who names an invitation of another tenant takes nothing from its budget.
    let allowed = throttle.check(&format!("{} {id}", scope.tenant.id), from).await?;
    let resent = async {
        let mut tx = state.db().tenant(scope.tenant.id).await?;
        let invitation = service::resend(&scope, &mut tx, id, lifetime, key.as_deref()).await?;
        tx.commit().await?;
        Ok(shown(invitation))
    };
    let resent = resent.await;
    // What was refused sends no mail.
    let outcome = if resent.is_ok() {
        Outcome::Failed
    } else {
        Outcome::Undecided
    };
    throttle.record(allowed, outcome).await;
    resent
}

/// See what a link offers
///
/// For the page that the link in the mail opens. A token that is not genuine is told to be no invitation, whatever it names.
#[utoipa::path(post, path = "/invitations/lookup", operation_id = "lookup_invitation", tag = "invitations",
    responses((status = 200, body = OfferBody)),
    extensions(("x-permission" = json!(PUBLIC)), ("x-problem-codes" = json!(token_codes(&[])))))]
pub async fn lookup(
    State(state): State<AppState>,
    ClientAddress(from): ClientAddress,
    Json(wanted): Json<LookupInvitation>,
) -> Result<Json<OfferBody>, Problem> {
    state.throttles().links.spend(wanted.token.expose(), from).await?;
    let offer = acceptance::lookup(state.iam(), wanted.token.expose()).await?;
    Ok(Json(offer.into()))
}

/// Accept an invitation
///
/// With an access token of the account that has the invited address, or without one and with a password and names for a new
/// account, whose address is verified by the link. Sign in to the tenant afterwards.
#[utoipa::path(post, path = "/invitations/accept", operation_id = "accept_invitation", tag = "invitations",
    responses((status = 200, body = AcceptedBody)),
    extensions(("x-permission" = json!(PUBLIC)), ("x-problem-codes" = json!(token_codes(&[Code::TokenInvalid,
        Code::TokenExpired, Code::SessionEnded, Code::Unauthenticated, Code::InvitationEmailMismatch,
        Code::EmailUnverified, Code::TenantReadOnly, Code::AlreadyMember, Code::InvitationRoleGone,
        Code::InvitationNotBacked, Code::AccountExists, Code::Overloaded])))))]
pub async fn accept(
    State(state): State<AppState>,
    signed_in: Option<SignedIn>,
    Requested(origin): Requested,
    ClientAddress(from): ClientAddress,
    Json(wanted): Json<AcceptInvitation>,
) -> Result<Json<AcceptedBody>, Problem> {
    state.throttles().links.spend(wanted.token.expose(), from).await?;
    let (iam, token) = (state.iam(), wanted.token.clone());
    let Some(caller) = signed_in else {
        let accepted = acceptance::accept_as_new(iam, &origin, token.expose(), wanted.person()).await?;
        return Ok(Json(accepted.into()));
    };
    let surplus = wanted.of_new_account();
    if !surplus.is_empty() {
        let violation = |place| Violation::new(place, "is for a new account, and you are signed in to one");
        return Err(Problem::invalid(surplus.into_iter().map(violation).collect()));
    }
    let accepted = acceptance::accept(iam, &caller.origin, token.expose(), &caller.principal).await?;
    Ok(Json(accepted.into()))
}

/// What a link may be refused with, and more.
fn token_codes(more: &[Code]) -> Vec<&'static str> {
    let of_links = [
        Code::InvitationInvalid,
        Code::InvitationExpired,
        Code::InvitationRevoked,
        Code::InvitationUsed,
        Code::RateLimited,
        Code::DatabaseUnavailable,
        Code::TenantVersionNotServed,
    ];
    codes(&[&of_links, more].concat())
}
