//! `/auth`: becoming known, signing in, carrying on, signing out.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
};
use bulkhead_iam::{
    identities::{self, Registered, Registration},
    sessions::{self, SessionError, SignIn, TokenPair},
};
use bulkhead_kernel::{
    fault::{Code, Violation},
    secret::Secret,
};
use bulkhead_tenancy::TenantSelector;
use bulkhead_traffic::Outcome;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    extract::{ClientAddress, Json, JsonOrForm, OptionalJson, Requested, SignedIn, selector},
    openapi::{PUBLIC, SIGNED_IN, codes},
    problem::Problem,
    state::AppState,
};

/// A person who wants an account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"email": "ada@example.com", "password": "correct horse battery",
    "first_name": "Ada", "last_name": "Lovelace"}))]
pub struct Register {
    /// Where mail reaches them; compared without regard to case.
    email: String,
    /// 8 to 128 characters, none of the common ones.
    #[schema(value_type = String, format = Password)]
    password: Secret,
    /// 1 to 100 characters.
    first_name: String,
    /// 1 to 100 characters.
    last_name: String,
}

/// The same answer whether or not the address was known.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace",
    "status": "unverified"}))]
pub struct RegisteredBody {
    email: String,
    first_name: String,
    last_name: String,
    /// `unverified` until the address is verified, where that is asked for; else `active`.
    status: &'static str,
}

impl From<Registered> for RegisteredBody {
    fn from(registered: Registered) -> Self {
        Self {
            email: registered.email,
            first_name: registered.first_name,
            last_name: registered.last_name,
            status: registered.status,
        }
    }
}

/// Credentials as OAuth 2.0 clients send them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"username": "ada@example.com", "password": "correct horse battery"}))]
pub struct TokenRequest {
    /// The e-mail address.
    username: String,
    #[schema(value_type = String, format = Password)]
    password: Secret,
    /// `password`, where it is sent.
    grant_type: Option<String>,
    /// Ignored.
    #[expect(dead_code, reason = "form clients send it; rights come from roles")]
    scope: Option<String>,
    /// Ignored.
    #[expect(dead_code, reason = "form clients send it; there are no clients to tell apart here")]
    client_id: Option<String>,
    /// Ignored.
    #[expect(dead_code, reason = "form clients send it; there are no clients to tell apart here")]
    #[schema(value_type = Option<String>)]
    client_secret: Option<Secret>,
}

/// Credentials.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"email": "ada@example.com", "password": "correct horse battery", "org_id": "acme"}))]
pub struct Login {
    email: String,
    #[schema(value_type = String, format = Password)]
    password: Secret,
    /// The tenant to sign in to, by id or slug; without it the only one there is.
    org_id: Option<String>,
}

/// A refresh token to exchange.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"refresh_token": "rft_0190a1b2c3d4e5f60718293a4b5c6d7e_Zm42pF1gxT9o"}))]
pub struct Refresh {
    #[schema(value_type = String)]
    refresh_token: Secret,
    /// The tenant to switch to, by id or slug; without it the pair stays where it is.
    org_id: Option<String>,
}

/// Which sessions to end.
#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Logout {
    /// All of the person's, on all devices; otherwise this one.
    #[serde(default)]
    all: bool,
}

/// Tokens for the next requests and for the next pair.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"access_token": "eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "token_type": "bearer", "expires_in": 600,
    "refresh_token": "rft_0190a1b2c3d4e5f60718293a4b5c6d7e_Zm42pF1gxT9o",
    "org_id": "org_0190a1b2c3d4e5f60718293a4b5c6d7e"}))]
pub struct TokenBody {
    access_token: String,
    token_type: &'static str,
    /// Seconds the access token is good for.
    expires_in: u64,
    refresh_token: String,
    /// The tenant both are bound to; absent where each request names one in `X-Org-ID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    org_id: Option<String>,
}

impl From<TokenPair> for TokenBody {
    fn from(pair: TokenPair) -> Self {
        Self {
            access_token: pair.access_token,
            token_type: "bearer",
            expires_in: pair.expires_in.as_secs(),
            refresh_token: pair.refresh_token,
            org_id: pair.tenant.map(|tenant| tenant.to_string()),
        }
    }
}

/// Register an account
///
/// The answer does not tell whether the address was known; its owner gets a mail.
#[utoipa::path(post, path = "/auth/register", operation_id = "register_account", tag = "auth",
    responses((status = 201, body = RegisteredBody)),
    extensions(("x-permission" = json!(PUBLIC)),
        ("x-problem-codes" = json!(codes(&[Code::Overloaded, Code::DatabaseUnavailable])))))]
pub async fn register(
    State(state): State<AppState>,
    Requested(origin): Requested,
    Json(new): Json<Register>,
) -> Result<(StatusCode, Json<RegisteredBody>), Problem> {
    let registration = Registration::parse(&new.email, &new.password, &new.first_name, &new.last_name);
    let registration = registration.map_err(Problem::invalid)?;
    let registered = identities::service::register(&origin, state.iam(), registration).await?;
    Ok((StatusCode::CREATED, Json(registered.into())))
}

/// Sign in (OAuth 2.0 password form, or JSON)
#[utoipa::path(post, path = "/auth/token", operation_id = "create_token", tag = "auth",
    request_body(content((TokenRequest = "application/json"), (TokenRequest = "application/x-www-form-urlencoded"))),
    responses((status = 200, body = TokenBody)),
    extensions(("x-permission" = json!(PUBLIC)), ("x-problem-codes" = json!(sign_in_codes()))))]
pub async fn token(
    State(state): State<AppState>,
    client: ClientAddress,
    headers: HeaderMap,
    JsonOrForm(request): JsonOrForm<TokenRequest>,
) -> Result<Json<TokenBody>, Problem> {
    if request.grant_type.is_some_and(|grant| grant != "password") {
        return Err(Problem::invalid(vec![Violation::new(
            "/grant_type",
            "must be password",
        )]));
    }
    sign_in(&state, client, &headers, request.username, request.password, None).await
}

/// Sign in
///
/// The pair is bound to the tenant that is given, or to the only one there is.
#[utoipa::path(post, path = "/auth/login", operation_id = "create_session", tag = "auth",
    responses((status = 200, body = TokenBody)),
    extensions(("x-permission" = json!(PUBLIC)), ("x-problem-codes" = json!(sign_in_codes()))))]
pub async fn login(
    State(state): State<AppState>,
    client: ClientAddress,
    headers: HeaderMap,
    Json(login): Json<Login>,
) -> Result<Json<TokenBody>, Problem> {
    let tenant = selector::from_field(login.org_id.as_deref())?;
    sign_in(&state, client, &headers, login.email, login.password, tenant).await
}

/// Exchange a refresh token
///
/// A refresh token works once; `org_id` switches the tenant.
#[utoipa::path(post, path = "/auth/refresh", operation_id = "refresh_session", tag = "auth",
    responses((status = 200, body = TokenBody)),
    extensions(("x-permission" = json!(PUBLIC)), ("x-problem-codes" = json!(codes(&[Code::RefreshTokenInvalid,
        Code::TenantNotFound, Code::TenantNotActive, Code::DatabaseUnavailable])))))]
pub async fn refresh(State(state): State<AppState>, Json(refresh): Json<Refresh>) -> Result<Json<TokenBody>, Problem> {
    let tenant = selector::from_field(refresh.org_id.as_deref())?;
    let pair = sessions::service::refresh(state.iam(), refresh.refresh_token.expose(), tenant).await?;
    Ok(Json(pair.into()))
}

/// Sign out
#[utoipa::path(post, path = "/auth/logout", operation_id = "delete_session", tag = "auth",
    request_body(content = Option<Logout>), responses((status = 204)),
    extensions(("x-permission" = json!(SIGNED_IN))))]
pub async fn logout(
    State(state): State<AppState>,
    signed_in: SignedIn,
    OptionalJson(which): OptionalJson<Logout>,
) -> Result<StatusCode, Problem> {
    let principal = signed_in.principal;
    if which.all {
        sessions::service::sign_out_all(state.iam(), principal.identity).await?;
    } else {
        sessions::service::sign_out(state.iam(), principal.session).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn sign_in(
    state: &AppState,
    client: ClientAddress,
    headers: &HeaderMap,
    email: String,
    password: Secret,
    tenant: Option<TenantSelector>,
) -> Result<Json<TokenBody>, Problem> {
    let allowed = state.throttles().sign_in.check(&email, client.0).await?;
    let device = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let attempt = SignIn {
        email,
        password,
        device: device.unwrap_or_default().to_owned(),
        tenant,
    };
    let signed_in = sessions::service::sign_in(state.iam(), attempt).await;
    state.throttles().sign_in.record(allowed, outcome(&signed_in)).await;
    Ok(Json(signed_in?.into()))
}

/// Whether the password was right, as far as the throttle is concerned.
fn outcome(signed_in: &Result<TokenPair, SessionError>) -> Outcome {
    match signed_in {
        Ok(_) | Err(SessionError::TenantNotFound | SessionError::TenantNotActive) => Outcome::Succeeded,
        Err(SessionError::CredentialsInvalid) => Outcome::Failed,
        Err(_) => Outcome::Undecided,
    }
}

fn sign_in_codes() -> Vec<&'static str> {
    codes(&[
        Code::CredentialsInvalid,
        Code::RateLimited,
        Code::EmailUnverified,
        Code::TenantNotFound,
        Code::TenantNotActive,
        Code::Overloaded,
        Code::DatabaseUnavailable,
    ])
}
