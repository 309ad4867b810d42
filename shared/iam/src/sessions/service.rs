//! Signing in, carrying on, signing out.

use bulkhead_kernel::{
    email::Email,
    ids::{IdentityId, RefreshTokenId, SessionId, TenantId},
    secret::Secret,
    telemetry::metrics,
};
use bulkhead_tenancy::{ControlTx, DbError, TenantSelector};
use chrono::{DateTime, Utc};
use tracing::instrument;

use super::{
    SessionError, SignIn, TokenPair,
    model::{Session, StoredToken, Verdict, delta, device_name, judge},
    refresh::{self, RefreshToken},
    store,
};
use crate::{
    Iam, Person,
    identities::{self, Credentials},
    memberships, passwords,
    tokens::{Claims, Grant},
};

/// Signs somebody in by password. The tenant is looked at only once the password is right.
#[instrument(skip_all)]
pub async fn sign_in(iam: &Iam, attempt: SignIn) -> Result<TokenPair, SessionError> {
    let credentials = check_password(iam, &attempt.email, attempt.password).await?;
    if iam.settings.require_verified_email && !credentials.is_email_verified {
        return Err(SessionError::EmailUnverified);
    }
    let mut tx = iam.db.control().await?;
    let identity = credentials.identity;
    let tenant = match &attempt.tenant {
        Some(wanted) => Some(enter(&mut tx, identity, wanted).await?),
        None => memberships::service::find_only(&mut tx, identity).await?,
    };
    let now = iam.clock.now();
    let session = Session {
        id: SessionId::new(),
        identity,
        methods: vec!["pwd".into()],
        signed_in_at: now,
        expires_at: now + delta(iam.settings.refresh_absolute),
        is_open: true,
    };
    store::insert(&mut tx, &session, &device_name(&attempt.device)).await?;
    let token = RefreshToken::random();
    let stored = stored(iam, &session, &token, None, tenant, now);
    store::insert_token(&mut tx, session.id, None, &stored, now).await?;
    let pair = pair(iam, session, &token, tenant)?;
    tx.commit().await?;
    Ok(pair)
}

/// Who it is, if the password is right and the account on. An address that is unknown, or none, costs one check too.
async fn check_password(iam: &Iam, email: &str, password: Secret) -> Result<Credentials, SessionError> {
    let known = match email.parse::<Email>() {
        Ok(email) => {
            let mut tx = iam.db.control().await?;
            let known = identities::service::find_credentials(&mut tx, &email).await?;
            tx.commit().await?;
            known
        }
        Err(_) => None,
    };
    let is_short_enough = password.expose().chars().nth(passwords::MAX_CHARS).is_none();
    let stored = known.as_ref().and_then(|known| known.password_hash.clone());
    let is_right = iam
        .passwords
        .is_right(password, stored.filter(|_| is_short_enough))
        .await?;
    known
        .filter(|known| is_right && known.is_active)
        .ok_or(SessionError::CredentialsInvalid)
}

/// The wanted tenant, hidden from everybody but its members.
async fn enter(tx: &mut ControlTx, identity: IdentityId, wanted: &TenantSelector) -> Result<TenantId, SessionError> {
    let membership = memberships::service::find(tx, identity, wanted).await?;
    let membership = membership.ok_or(SessionError::TenantNotFound)?;
    if membership.is_open {
        Ok(membership.tenant)
    } else {
        Err(SessionError::TenantNotActive)
    }
}

/// Exchanges a refresh token for a new pair, in another tenant if wanted. A tenant that is refused uses nothing up; a
/// token that was used before ends its session.
#[instrument(skip_all)]
pub async fn refresh(iam: &Iam, text: &str, tenant: Option<TenantSelector>) -> Result<TokenPair, SessionError> {
    let presented: RefreshToken = text.parse()?;
    let mut tx = iam.db.control().await?;
    let session = store::lock_by_token(&mut tx, presented.id).await?;
    let session = session.ok_or(SessionError::RefreshTokenInvalid)?;
    let mut rows = store::list_with_successor(&mut tx, presented.id).await?.into_iter();
    let (current, successor) = (rows.next(), rows.next());
    let current = current.filter(|row| presented.has_hash(&row.secret_hash));
    let current = current.ok_or(SessionError::RefreshTokenInvalid)?;
    let now = iam.clock.now();
    let verdict = judge(&session, &current, successor.as_ref(), now, iam.settings.refresh_leeway);
    let next = match (verdict, successor) {
        (Verdict::Rotate, _) => {
            let tenant = choose_tenant(&mut tx, &session, tenant.as_ref(), current.tenant).await?;
            rotate(iam, &mut tx, &session, &presented, tenant, now).await?
        }
        (Verdict::Repeat, Some(successor)) => {
            let tenant = choose_tenant(&mut tx, &session, tenant.as_ref(), successor.tenant).await?;
            let nonce = successor.nonce.unwrap_or_default();
            (presented.successor(successor.id, &nonce), tenant)
        }
        (Verdict::Reused, _) => return Err(end_reused(iam, tx, session.id, now).await),
        (Verdict::Repeat | Verdict::Over, _) => return Err(SessionError::RefreshTokenInvalid),
    };
    let pair = pair(iam, session, &next.0, next.1)?;
    tx.commit().await?;
    Ok(pair)
}

/// The tenant of the new pair: the wanted one, or the one so far while it can still be entered.
async fn choose_tenant(
    tx: &mut ControlTx,
    session: &Session,
    wanted: Option<&TenantSelector>,
    so_far: Option<TenantId>,
) -> Result<Option<TenantId>, SessionError> {
    match (wanted, so_far) {
        (Some(wanted), _) => enter(tx, session.identity, wanted).await.map(Some),
        (None, Some(so_far)) => {
            let membership = memberships::service::find(tx, session.identity, &TenantSelector::Id(so_far)).await?;
            Ok(membership.filter(|membership| membership.is_open).map(|_| so_far))
        }
        (None, None) => Ok(None),
    }
}

async fn rotate(
    iam: &Iam,
    tx: &mut ControlTx,
    session: &Session,
    presented: &RefreshToken,
    tenant: Option<TenantId>,
    now: DateTime<Utc>,
) -> Result<(RefreshToken, Option<TenantId>), SessionError> {
    let nonce = refresh::nonce();
    let next = presented.successor(RefreshTokenId::new(), &nonce);
    let stored = stored(iam, session, &next, Some(nonce), tenant, now);
    store::insert_token(tx, session.id, Some(presented.id), &stored, now).await?;
    store::set_used(tx, session.id, presented.id, now).await?;
    Ok((next, tenant))
}

/// Somebody holds a copy, and nobody can tell who is the owner: both have to sign in again.
async fn end_reused(iam: &Iam, mut tx: ControlTx, session: SessionId, now: DateTime<Utc>) -> SessionError {
    metrics::auth_refusals("reuse").increment(1);
    tracing::warn!("session.id" = %session, "a refresh token was used twice; its session ends");
    let ended = store::set_revoked(&mut tx, session, "reuse", now).await;
    let committed = match ended {
        Ok(()) => tx.commit().await,
        Err(error) => Err(error),
    };
    iam.forget_session(session);
    committed.map_or_else(SessionError::from, |()| SessionError::RefreshTokenInvalid)
}

/// What is kept of a new token. It rests no longer than its session lasts.
fn stored(
    iam: &Iam,
    session: &Session,
    token: &RefreshToken,
    nonce: Option<refresh::Nonce>,
    tenant: Option<TenantId>,
    now: DateTime<Utc>,
) -> StoredToken {
    StoredToken {
        id: token.id,
        nonce: nonce.map(Vec::from),
        secret_hash: token.hash().into(),
        tenant,
        expires_at: session.expires_at.min(now + delta(iam.settings.refresh_idle)),
        used_at: None,
    }
}

fn pair(
    iam: &Iam,
    session: Session,
    token: &RefreshToken,
    tenant: Option<TenantId>,
) -> Result<TokenPair, SessionError> {
    let access_token = iam.tokens.issue(Grant {
        identity: session.identity,
        session: session.id,
        tenant,
        methods: session.methods,
        signed_in_at: session.signed_in_at,
    })?;
    Ok(TokenPair {
        access_token,
        expires_in: iam.tokens.lifetime(),
        refresh_token: token.to_text(),
        identity: session.identity,
        session: session.id,
        tenant,
    })
}

/// The person of an access token, for calls outside any tenant. Refused as soon as the session or the account ends.
#[instrument(skip_all)]
pub async fn principal(iam: &Iam, claims: &Claims) -> Result<Person, SessionError> {
    let found = identities::service::find_principal(iam, claims.identity, claims.session).await?;
    found.ok_or(SessionError::Ended)
}

/// Ends this session; it may have ended before.
#[instrument(skip_all)]
pub async fn sign_out(iam: &Iam, session: SessionId) -> Result<(), SessionError> {
    let mut tx = iam.db.control().await?;
    store::set_revoked(&mut tx, session, "logout", iam.clock.now()).await?;
    tx.commit().await?;
    iam.forget_session(session);
    Ok(())
}

/// Ends all sessions of the person, on all devices.
#[instrument(skip_all)]
pub async fn sign_out_all(iam: &Iam, identity: IdentityId) -> Result<(), SessionError> {
    let mut tx = iam.db.control().await?;
    store::set_all_revoked(&mut tx, identity, None, "logout_all", iam.clock.now()).await?;
    tx.commit().await?;
    iam.forget_identity(identity);
    Ok(())
}

/// A new password ends what the old one opened, but for the session it was chosen in. To be forgotten after the commit.
pub(crate) async fn end_all(
    iam: &Iam,
    tx: &mut ControlTx,
    identity: IdentityId,
    but: Option<SessionId>,
) -> Result<(), DbError> {
    store::set_all_revoked(tx, identity, but, "password", iam.clock.now()).await
}
