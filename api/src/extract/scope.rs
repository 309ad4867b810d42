//! Who asks, and in which tenant. These extractors are the only way from a request to a [`Scope`].

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    http::{header, request::Parts},
};
use bulkhead_iam::{
    Person, Scope,
    api_keys::{self, ApiKeyError, KeyText},
    identities,
    members::{self, MemberError},
    sessions, support_access,
    tokens::Claims,
};
use bulkhead_kernel::{fault::Code, ids::TenantId, origin::Origin};
use bulkhead_tenancy::{DbError, TenantRef, TenantSelector};
use chrono::{DateTime, Utc};

use super::{ClientAddress, bearer, bearer::Credential, selector};
use crate::{middleware::RequestRecord, problem::Problem, state::AppState};

/// Somebody with an access token whose session lives; no tenant is entered. API keys are refused.
#[derive(Debug)]
pub struct SignedIn {
    /// Who asks.
    pub principal: Person,
    /// The tenant the token is bound to.
    pub bound: Option<TenantId>,
    /// When the token was made.
    pub issued_at: DateTime<Utc>,
    /// The tenant that the request names instead; whether the caller belongs to it is not checked here.
    pub named: Option<TenantSelector>,
    /// Where the request comes from.
    pub origin: Origin,
}

/// Somebody signed in who runs the platform, read in this very moment.
#[derive(Debug)]
pub struct Operator(pub SignedIn);

/// A member, an API key or an operator with support access in a tenant. What they may do was read at most a second ago.
#[derive(Debug)]
pub struct Scoped(pub Scope);

/// As [`Scoped`], with rights read in this very moment.
#[derive(Debug)]
pub struct FreshlyScoped(pub Scope);

impl FromRequestParts<AppState> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let (claims, record) = bearer::claims(parts, state)?;
        if let Some(bound) = claims.tenant {
            record.set_tenant(bound);
        }
        let named = selector::from_headers(&parts.headers)?;
        if let (Some(bound), Some(named)) = (claims.tenant, &named) {
            check_same(state, bound, named).await?;
        }
        Ok(Self {
            principal: sessions::service::principal(state.iam(), &claims).await?,
            bound: claims.tenant,
            issued_at: claims.issued_at,
            named: named.filter(|_| claims.tenant.is_none()),
            origin: record.origin(),
        })
    }
}

/// Nobody where nothing is said of who asks; what is said must be right.
impl OptionalFromRequestParts<AppState> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Option<Self>, Problem> {
        let is_said = |name: &str| parts.headers.contains_key(name);
        if is_said(header::AUTHORIZATION.as_str()) || is_said(bearer::X_API_KEY.as_str()) {
            let caller = <Self as FromRequestParts<AppState>>::from_request_parts(parts, state).await?;
            Ok(Some(caller))
        } else {
            Ok(None)
        }
    }
}

impl FromRequestParts<AppState> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let caller = <SignedIn as FromRequestParts<AppState>>::from_request_parts(parts, state).await?;
        identities::service::require_operator(state.iam(), caller.principal.identity).await?;
        Ok(Self(caller))
    }
}

impl FromRequestParts<AppState> for Scoped {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        scope(parts, state, Freshness::WithinASecond).await.map(Self)
    }
}

impl FromRequestParts<AppState> for FreshlyScoped {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        scope(parts, state, Freshness::Now).await.map(Self)
    }
}

/// How old the rights may be.
#[derive(Clone, Copy)]
enum Freshness {
    Now,
    WithinASecond,
}

async fn scope(parts: &mut Parts, state: &AppState, freshness: Freshness) -> Result<Scope, Problem> {
    let record = Arc::clone(RequestRecord::of(parts)?);
    let named = selector::from_headers(&parts.headers);
    match bearer::credential(&parts.headers)? {
        Credential::Token(token) => {
            let claims = bearer::verified(token, state, &record)?;
            of_member(state, &record, &claims, named?, freshness).await
        }
        Credential::Key(text) => {
            let key = bearer::parsed(text, state, &record)?;
            let ClientAddress(from) = ClientAddress::from_request_parts(parts, state).await?;
            of_key(state, &record, &key, from, named, freshness).await
        }
    }
}

/// A key is bound to its tenant as a bound token is. Whether the names agree is told to who holds the secret.
async fn of_key(
    state: &AppState,
    record: &RequestRecord,
    key: &KeyText,
    from: IpAddr,
    named: Result<Option<TenantSelector>, Problem>,
    freshness: Freshness,
) -> Result<Scope, Problem> {
    let iam = state.iam();
    let found = match freshness {
        Freshness::Now => api_keys::authority_now(iam, key, from).await,
        Freshness::WithinASecond => api_keys::authority(iam, key, from).await,
    };
    if let Err(ApiKeyError::Refused(refusal)) = &found {
        api_keys::note_refusal(iam, Some(key), *refusal, &record.origin());
    }
    let found = found?;
    record.set_tenant(key.tenant);
    record.set_principal(key.id);
    if let Some(named) = named? {
        check_same(state, key.tenant, &named).await?;
    }
    let tenant = state.db().resolve(&TenantSelector::Id(key.tenant)).await?;
    Ok(Scope::of_key(&found, tenant, record.origin(), iam.clock.clone()))
}

async fn of_member(
    state: &AppState,
    record: &RequestRecord,
    claims: &Claims,
    named: Option<TenantSelector>,
    freshness: Freshness,
) -> Result<Scope, Problem> {
    if let Some(bound) = claims.tenant {
        // Also where the request names another one and is refused.
        record.set_tenant(bound);
    }
    let tenant = tenant(state, claims, named).await?;
    record.set_tenant(tenant.id);
    let iam = state.iam();
    let (identity, session) = (claims.identity, claims.session);
    let authority = match freshness {
        Freshness::Now => members::service::authority_now(iam, tenant.id, identity, session)
            .await
            .map(Arc::new),
        Freshness::WithinASecond => members::service::authority(iam, tenant.id, identity, session).await,
    };
    match authority {
        Ok(authority) => {
            let (origin, clock) = (record.origin(), iam.clock.clone());
            Ok(Scope::new(identity, session, &authority, tenant, origin, clock))
        }
        Err(refused @ MemberError::TenantNotFound) => of_supporter(state, record, claims, tenant, refused).await,
        Err(error) => Err(error.into()),
    }
}

/// An operator with support access, read in this very moment. To everybody else the tenant does not exist.
async fn of_supporter(
    state: &AppState,
    record: &RequestRecord,
    claims: &Claims,
    tenant: TenantRef,
    refused: MemberError,
) -> Result<Scope, Problem> {
    let iam = state.iam();
    let found = support_access::service::find_live(iam, tenant.id, claims.identity, claims.session).await?;
    let access = found.ok_or(refused)?;
    record.set_support(access.id);
    Ok(Scope::of_support(access, tenant, record.origin(), iam.clock.clone()))
}

/// The tenant of the token, which binds; where it leaves that open, the one the request names. Whether the caller
/// belongs to it is seen when it is entered.
async fn tenant(state: &AppState, claims: &Claims, named: Option<TenantSelector>) -> Result<TenantRef, Problem> {
    let wanted = match (claims.tenant, named) {
        (Some(bound), Some(named)) => {
            check_same(state, bound, &named).await?;
            TenantSelector::Id(bound)
        }
        (Some(bound), None) => TenantSelector::Id(bound),
        (None, Some(named)) => named,
        (None, None) => return Err(Problem::new(Code::TenantRequired)),
    };
    Ok(state.db().resolve(&wanted).await?)
}

/// Refuses a name that is not the bound tenant's, whether or not there is a tenant of that name.
async fn check_same(state: &AppState, bound: TenantId, named: &TenantSelector) -> Result<(), Problem> {
    let named = match named {
        TenantSelector::Id(id) => Some(*id),
        TenantSelector::Slug(_) => match state.db().resolve(named).await {
            Ok(tenant) => Some(tenant.id),
            Err(DbError::TenantNotFound) => None,
            Err(error) => return Err(error.into()),
        },
    };
    if named == Some(bound) {
        Ok(())
    } else {
        Err(Problem::new(Code::TenantMismatch))
    }
}
