//! Rows of `control.sessions` and `control.refresh_tokens`.

use bulkhead_kernel::{
    ids::{IdentityId, RefreshTokenId, SessionId, TenantId},
    page::{Page, PageRequest},
};
use bulkhead_tenancy::{ControlTx, DbError};
use chrono::{DateTime, Utc};

use super::model::{Device, Session, StoredToken};

pub(super) async fn insert(tx: &mut ControlTx, session: &Session, device: &str) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.sessions (id, identity_id, device, methods, signed_in_at, last_used_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $5, $6)
        "#,
        session.id.uuid(),
        session.identity.uuid(),
        device,
        &session.methods,
        session.signed_in_at,
        session.expires_at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The session of a refresh token, kept from everybody else until the transaction ends.
pub(super) async fn lock_by_token(tx: &mut ControlTx, token: RefreshTokenId) -> Result<Option<Session>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT s.id,
               s.identity_id,
               s.methods,
               s.signed_in_at,
               s.expires_at,
               s.revoked_at IS NULL AND i.status = 'active' AS "is_open!"
        FROM control.sessions AS s
                 JOIN control.identities AS i ON i.id = s.identity_id
        WHERE s.id = (SELECT t.session_id FROM control.refresh_tokens AS t WHERE t.id = $1)
            FOR UPDATE OF s
        "#,
        token.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Session {
        id: row.id.into(),
        identity: row.identity_id.into(),
        methods: row.methods,
        signed_in_at: row.signed_in_at,
        expires_at: row.expires_at,
        is_open: row.is_open,
    }))
}

/// The token and its successor, where it has one. To be asked under the session's lock.
pub(super) async fn list_with_successor(
    tx: &mut ControlTx,
    token: RefreshTokenId,
) -> Result<Vec<StoredToken>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT id, nonce, secret_hash, tenant_id, expires_at, used_at
        FROM control.refresh_tokens
        WHERE id = $1
           OR parent_id = $1
        ORDER BY parent_id IS NOT DISTINCT FROM $1
        "#,
        token.uuid(),
    )
    .fetch_all(tx.conn())
    .await?;
    let tokens = rows.into_iter().map(|row| StoredToken {
        id: row.id.into(),
        nonce: row.nonce,
        secret_hash: row.secret_hash,
        tenant: row.tenant_id.map(TenantId::from),
        expires_at: row.expires_at,
        used_at: row.used_at,
    });
    Ok(tokens.collect())
}

pub(super) async fn insert_token(
    tx: &mut ControlTx,
    session: SessionId,
    parent: Option<RefreshTokenId>,
    token: &StoredToken,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.refresh_tokens (id, session_id, parent_id, nonce, secret_hash, tenant_id, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        "#,
        token.id.uuid(),
        session.uuid(),
        parent.map(RefreshTokenId::uuid),
        token.nonce.as_deref(),
        &token.secret_hash,
        token.tenant.map(TenantId::uuid),
        now,
        token.expires_at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Marks the token as used and its session as alive.
pub(super) async fn set_used(
    tx: &mut ControlTx,
    session: SessionId,
    token: RefreshTokenId,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        WITH used AS (
            UPDATE control.refresh_tokens
            SET used_at = $3
            WHERE id = $2
        )
        UPDATE control.sessions
        SET last_used_at = $3
        WHERE id = $1
        "#,
        session.uuid(),
        token.uuid(),
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Ends the session, unless it has ended before.
pub(super) async fn set_revoked(
    tx: &mut ControlTx,
    session: SessionId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.sessions
        SET revoked_at = $3, revoked_reason = $2
        WHERE id = $1
          AND revoked_at IS NULL
        "#,
        session.uuid(),
        reason,
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Ends all sessions of the person, but for this one.
pub(super) async fn set_all_revoked(
    tx: &mut ControlTx,
    identity: IdentityId,
    but: Option<SessionId>,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.sessions
        SET revoked_at = $3, revoked_reason = $2
        WHERE identity_id = $1
          AND id IS DISTINCT FROM $4
          AND revoked_at IS NULL
        "#,
        identity.uuid(),
        reason,
        now,
        but.map(SessionId::uuid),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// One page of the person's sessions that can still be carried on, the one used last first.
pub(super) async fn list(
    tx: &mut ControlTx,
    identity: IdentityId,
    current: SessionId,
    now: DateTime<Utc>,
    page: PageRequest,
) -> Result<Page<Device>, DbError> {
    let total = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "total!"
        FROM control.sessions AS s
        WHERE s.identity_id = $1
          AND s.revoked_at IS NULL
          AND s.expires_at > $2
          AND EXISTS (SELECT
                      FROM control.refresh_tokens AS t
                      WHERE t.session_id = s.id
                        AND t.used_at IS NULL
                        AND t.expires_at > $2)
        "#,
        identity.uuid(),
        now,
    )
    .fetch_one(tx.conn())
    .await?;
    let rows = sqlx::query!(
        r#"
        SELECT s.id, s.device, s.signed_in_at, s.last_used_at, s.expires_at
        FROM control.sessions AS s
        WHERE s.identity_id = $1
          AND s.revoked_at IS NULL
          AND s.expires_at > $2
          AND EXISTS (SELECT
                      FROM control.refresh_tokens AS t
                      WHERE t.session_id = s.id
                        AND t.used_at IS NULL
                        AND t.expires_at > $2)
        ORDER BY s.last_used_at DESC, s.id DESC
        LIMIT $3 OFFSET $4
        "#,
        identity.uuid(),
        now,
        i64::from(page.limit()),
        page.offset(),
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(Page {
        total,
        items: rows
            .into_iter()
            .map(|row| Device {
                session: row.id.into(),
                name: row.device,
                signed_in_at: row.signed_in_at,
                last_used_at: row.last_used_at,
                expires_at: row.expires_at,
                is_current: row.id == current.uuid(),
            })
            .collect(),
        request: page,
    })
}

/// Ends the session if it is this person's and open, and tells whether it was.
pub(super) async fn set_own_revoked(
    tx: &mut ControlTx,
    identity: IdentityId,
    session: SessionId,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        r#"
        UPDATE control.sessions
        SET revoked_at = $3, revoked_reason = 'ended'
        WHERE id = $2
          AND identity_id = $1
          AND revoked_at IS NULL
          AND expires_at > $3
        "#,
        identity.uuid(),
        session.uuid(),
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The sessions that somebody has ended since.
pub(super) async fn list_revoked(tx: &mut ControlTx, since: DateTime<Utc>) -> Result<Vec<SessionId>, DbError> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT id
        FROM control.sessions
        WHERE revoked_at >= $1
        "#,
        since,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(ids.into_iter().map(SessionId::from).collect())
}

/// Those of these people whose account is off.
pub(super) async fn list_disabled(tx: &mut ControlTx, people: &[IdentityId]) -> Result<Vec<IdentityId>, DbError> {
    let people: Vec<_> = people.iter().map(|person| person.uuid()).collect();
    let ids = sqlx::query_scalar!(
        r#"
        SELECT id
        FROM control.identities
        WHERE status <> 'active'
          AND id = ANY ($1)
        "#,
        &people,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(ids.into_iter().map(IdentityId::from).collect())
}

/// Removes at most `limit` sessions that ended before this time, the oldest first, and gives how many.
pub(super) async fn delete_ended(tx: &mut ControlTx, before: DateTime<Utc>, limit: i64) -> Result<u64, DbError> {
    let done = sqlx::query!(
        r#"
        DELETE FROM control.sessions
        WHERE id IN (SELECT id
                     FROM control.sessions
                     WHERE least(expires_at, revoked_at) < $1
                     ORDER BY id
                     LIMIT $2 FOR UPDATE SKIP LOCKED)
        "#,
        before,
        limit,
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}
