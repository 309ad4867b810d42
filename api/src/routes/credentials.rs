//! `/auth/verify-email` and `/auth/password`: what proves that somebody is who they say, and how it is renewed.

use axum::{extract::State, http::StatusCode};
use bulkhead_iam::credentials::{CredentialError, service};
use bulkhead_kernel::{
    email::Email,
    fault::{Code, Violation},
    secret::Secret,
};
use bulkhead_traffic::Outcome;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    extract::{ClientAddress, Json, Requested, SignedIn},
    openapi::{PUBLIC, SIGNED_IN, codes},
    problem::Problem,
    state::AppState,
};

/// An address that a mail is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"email": "ada@example.com"}))]
pub struct MailRequest {
    /// Whether or not it is known.
    email: String,
}

/// The secret of the link in the mail to a new account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"token": "hTz0jdYfGqUN5rW1m3k9bXaVc8oPeLs7Ry2Mt4Qw6Ei"}))]
pub struct VerifyEmail {
    /// What stands behind `#token=` in the link.
    #[schema(value_type = String)]
    token: Secret,
}

/// The secret of the link in the mail, and the password to have from now on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"token": "hTz0jdYfGqUN5rW1m3k9bXaVc8oPeLs7Ry2Mt4Qw6Ei",
    "password": "correct horse battery"}))]
pub struct ResetPassword {
    /// What stands behind `#token=` in the link.
    #[schema(value_type = String)]
    token: Secret,
    /// 8 to 128 characters, none of the common ones.
    #[schema(value_type = String, format = Password)]
    password: Secret,
}

/// The present password, and the one to have from now on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"current_password": "correct horse battery", "new_password": "staple of another horse"}))]
pub struct ChangePassword {
    #[schema(value_type = String, format = Password)]
    current_password: Secret,
    /// 8 to 128 characters, none of the common ones.
    #[schema(value_type = String, format = Password)]
    new_password: Secret,
}

/// Verify an e-mail address
#[utoipa::path(post, path = "/auth/verify-email", operation_id = "verify_email", tag = "auth",
    responses((status = 204)),
    extensions(("x-permission" = json!(PUBLIC)),
        ("x-problem-codes" = json!(codes(&[Code::LinkInvalid, Code::DatabaseUnavailable])))))]
pub async fn verify_email(
    State(state): State<AppState>,
    Json(request): Json<VerifyEmail>,
) -> Result<StatusCode, Problem> {
    service::verify_email(state.iam(), &request.token).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ask for another mail that verifies an address
///
/// The answer does not tell whether there is such an account, or whether its address is verified already.
#[utoipa::path(post, path = "/auth/verify-email/resend", operation_id = "resend_verification", tag = "auth",
    responses((status = 202)),
    extensions(("x-permission" = json!(PUBLIC)), ("x-problem-codes" = json!(mail_codes()))))]
pub async fn resend_verification(
    State(state): State<AppState>,
    Requested(origin): Requested,
    client: ClientAddress,
    Json(request): Json<MailRequest>,
) -> Result<StatusCode, Problem> {
    let email = admit_mail(&state, client, &request.email).await?;
    service::ask_verification(&origin, state.iam(), &email).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Ask for a mail with a link to another password
///
/// The answer does not tell whether there is such an account.
#[utoipa::path(post, path = "/auth/password/forgot", operation_id = "forget_password", tag = "auth",
    responses((status = 202)),
    extensions(("x-permission" = json!(PUBLIC)), ("x-problem-codes" = json!(mail_codes()))))]
pub async fn forgot(
    State(state): State<AppState>,
    Requested(origin): Requested,
    client: ClientAddress,
    Json(request): Json<MailRequest>,
) -> Result<StatusCode, Problem> {
    let email = admit_mail(&state, client, &request.email).await?;
    service::ask_reset(&origin, state.iam(), &email).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Choose another password with the link from the mail
///
/// Ends all sessions. A password that is refused leaves the link as it is.
#[utoipa::path(post, path = "/auth/password/reset", operation_id = "reset_password", tag = "auth",
    responses((status = 204)),
    extensions(("x-permission" = json!(PUBLIC)),
        ("x-problem-codes" = json!(codes(&[Code::LinkInvalid, Code::Overloaded, Code::DatabaseUnavailable])))))]
pub async fn reset(
    State(state): State<AppState>,
    Requested(origin): Requested,
    client: ClientAddress,
    Json(request): Json<ResetPassword>,
) -> Result<StatusCode, Problem> {
    let email = service::reset_password(&origin, state.iam(), &request.token, request.password).await?;
    state.throttles().sign_in.trust(&email, client.0).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Choose another password
///
/// Ends all sessions but this one.
#[utoipa::path(post, path = "/auth/password/change", operation_id = "change_password", tag = "auth",
    responses((status = 204)),
    extensions(("x-permission" = json!(SIGNED_IN)),
        ("x-problem-codes" = json!(codes(&[Code::RateLimited, Code::Overloaded])))))]
pub async fn change(
    State(state): State<AppState>,
    client: ClientAddress,
    caller: SignedIn,
    Json(request): Json<ChangePassword>,
) -> Result<StatusCode, Problem> {
    let (present, new) = (request.current_password, request.new_password);
    let throttle = &state.throttles().sign_in;
    let allowed = throttle.check(&caller.principal.email, client.0).await?;
    let changed = service::change_password(&caller.origin, state.iam(), &caller.principal, present, new).await;
    let outcome = match &changed {
        Ok(()) | Err(CredentialError::Refused(_)) => Outcome::Succeeded,
        Err(CredentialError::WrongPassword) => Outcome::Failed,
        Err(_) => Outcome::Undecided,
    };
    throttle.record(allowed, outcome).await;
    changed?;
    Ok(StatusCode::NO_CONTENT)
}

/// An address, if mail may still be asked for it and from here. Known and unknown ones are counted alike.
async fn admit_mail(state: &AppState, client: ClientAddress, email: &str) -> Result<Email, Problem> {
    let invalid = |_| Problem::invalid(vec![Violation::new("/email", "is not an e-mail address")]);
    let email: Email = email.parse().map_err(invalid)?;
    state.throttles().mails.spend(email.as_str(), client.0).await?;
    Ok(email)
}

fn mail_codes() -> Vec<&'static str> {
    codes(&[Code::RateLimited, Code::DatabaseUnavailable])
}
