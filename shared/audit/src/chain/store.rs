//! Sealing in the database: rows of `audit_events` in the tenant's schema, and `control.audit_outbox` and
//! `control.audit_heads` beside it.

use bulkhead_kernel::ids::{AuditEventId, TenantId};
use bulkhead_tenancy::{ControlTx, DbError, OwnerTx, TenantTx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Anchor, Head, Row, SealedRow};

pub(super) async fn list_waiting(
    tx: &mut ControlTx,
    after: Option<TenantId>,
    limit: i64,
) -> Result<Vec<TenantId>, DbError> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT t.id
        FROM control.tenants AS t
        WHERE t.id IN (SELECT o.tenant_id FROM control.audit_outbox AS o)
          -- While a tenant is built its tables may still be filled from an archive, with a chain that goes on.
          AND t.status <> 'pending'
          AND t.purge_started_at IS NULL
          AND t.frozen_by IS NULL
          AND NOT EXISTS (SELECT FROM control.placements AS p WHERE p.tenant_id = t.id AND p.cluster <> 'home')
          AND ($1::uuid IS NULL OR t.id > $1)
        ORDER BY t.id
        LIMIT $2
        "#,
        after.map(TenantId::uuid),
        limit,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(ids.into_iter().map(TenantId::from).collect())
}

/// `false` when it is there. It is looked for first: to find that out an insertion would wait for whoever seals just now.
pub(super) async fn insert_head(tx: &mut OwnerTx, tenant: TenantId) -> Result<bool, DbError> {
    let inserted = sqlx::query!(
        r#"
        INSERT INTO control.audit_heads (tenant_id)
        SELECT $1
        WHERE NOT EXISTS (SELECT FROM control.audit_heads AS h WHERE h.tenant_id = $1)
          AND NOT EXISTS (SELECT FROM control.tenants AS t WHERE t.id = $1 AND t.frozen_by IS NOT NULL)
        ON CONFLICT (tenant_id) DO NOTHING
        "#,
        tenant.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Nothing while somebody else has it, and while the tenant is frozen: looking at its row tells the move that we are here.
pub(super) async fn lock_head(tx: &mut OwnerTx, tenant: TenantId) -> Result<Option<Head>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT seq, hash, base_seq, base_hash, oldest_at
        FROM control.audit_heads
        WHERE tenant_id = $1
          AND NOT EXISTS (SELECT FROM control.tenants AS t WHERE t.id = $1 AND t.frozen_by IS NOT NULL)
            FOR NO KEY UPDATE SKIP LOCKED
        "#,
        tenant.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Head {
        end: anchor(row.seq, row.hash),
        base: anchor(row.base_seq, row.base_hash),
        oldest_at: row.oldest_at,
    }))
}

pub(super) async fn find_head(tx: &mut ControlTx, tenant: TenantId) -> Result<Option<Head>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT seq, hash, base_seq, base_hash, oldest_at
        FROM control.audit_heads
        WHERE tenant_id = $1
        "#,
        tenant.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Head {
        end: anchor(row.seq, row.hash),
        base: anchor(row.base_seq, row.base_hash),
        oldest_at: row.oldest_at,
    }))
}

const fn anchor(seq: i64, hash: Vec<u8>) -> Anchor {
    Anchor { seq, hash }
}

pub(super) async fn set_head(tx: &mut OwnerTx, tenant: TenantId, head: &Head) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.audit_heads
        SET seq = $2, hash = $3, base_seq = $4, base_hash = $5, oldest_at = $6
        WHERE tenant_id = $1
        "#,
        tenant.uuid(),
        head.end.seq,
        head.end.hash,
        head.base.seq,
        head.base.hash,
        head.oldest_at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Takes everything that waits for the tenant, and puts the events among it into the tenant's log. What is not seen yet
/// stays, together with the word that it waits.
pub(super) async fn move_waiting(tx: &mut OwnerTx, tenant: TenantId) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        WITH moved AS (
            DELETE FROM control.audit_outbox WHERE tenant_id = $1 RETURNING id, event
        )
        INSERT INTO audit_events (id, occurred_at, action, outcome, actor_kind, actor_id, targets, changes, request_id,
                                  address, agent)
        SELECT moved.id, e.occurred_at, e.action, e.outcome, e.actor_kind, e.actor_id, e.targets, e.changes, e.request_id,
               e.address, e.agent
        FROM moved
                 CROSS JOIN LATERAL jsonb_to_record(moved.event) AS e (occurred_at timestamptz, action text, outcome text,
                                                                       actor_kind text, actor_id text, targets jsonb,
                                                                       changes jsonb, request_id text, address text,
                                                                       agent text)
        WHERE moved.event IS NOT NULL
        -- One that was carried here twice is recorded once.
        ON CONFLICT (id) DO NOTHING
        "#,
        tenant.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Rows without a number, in the order in which they are to get one.
pub(super) async fn list_unsealed(
    tx: &mut OwnerTx,
    after: Option<(DateTime<Utc>, AuditEventId)>,
    limit: i64,
) -> Result<Vec<Row>, DbError> {
    let (at, id) = after.unzip();
    let rows = sqlx::query!(
        r#"
        SELECT id, occurred_at, action, outcome, actor_kind, actor_id, targets::text AS "targets!",
               changes::text AS "changes!", request_id, address, agent
        FROM audit_events
        WHERE seq IS NULL
          AND ($1::timestamptz IS NULL OR (occurred_at, id) > ($1, $2))
        ORDER BY occurred_at, id
        LIMIT $3
        "#,
        at,
        id.map(AuditEventId::uuid),
        limit,
    )
    .fetch_all(tx.conn())
    .await?;
    let rows = rows.into_iter().map(|row| Row {
        id: row.id.into(),
        at: row.occurred_at,
        action: row.action,
        outcome: row.outcome,
        actor_kind: row.actor_kind,
        actor_id: row.actor_id,
        targets: row.targets,
        changes: row.changes,
        request_id: row.request_id,
        address: row.address,
        agent: row.agent,
    });
    Ok(rows.collect())
}

pub(super) async fn set_sealed(tx: &mut OwnerTx, rows: &[SealedRow]) -> Result<(), DbError> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.row.id.uuid()).collect();
    let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
    let prev_hashes: Vec<Vec<u8>> = rows.iter().map(|row| row.prev_hash.clone()).collect();
    let hashes: Vec<Vec<u8>> = rows.iter().map(|row| row.hash.clone()).collect();
    sqlx::query!(
        r#"
        UPDATE audit_events AS e
        SET seq = seal.seq, prev_hash = seal.prev_hash, hash = seal.hash
        FROM unnest($1::uuid[], $2::bigint[], $3::bytea[], $4::bytea[]) AS seal (id, seq, prev_hash, hash)
        WHERE e.id = seal.id
        "#,
        &ids,
        &seqs,
        &prev_hashes,
        &hashes,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

struct Sealed {
    id: Uuid,
    occurred_at: DateTime<Utc>,
    action: String,
    outcome: String,
    actor_kind: String,
    actor_id: String,
    targets: String,
    changes: String,
    request_id: String,
    address: Option<String>,
    agent: Option<String>,
    seq: i64,
    prev_hash: Vec<u8>,
    hash: Vec<u8>,
}

impl From<Sealed> for SealedRow {
    fn from(row: Sealed) -> Self {
        Self {
            row: Row {
                id: row.id.into(),
                at: row.occurred_at,
                action: row.action,
                outcome: row.outcome,
                actor_kind: row.actor_kind,
                actor_id: row.actor_id,
                targets: row.targets,
                changes: row.changes,
                request_id: row.request_id,
                address: row.address,
                agent: row.agent,
            },
            seq: row.seq,
            prev_hash: row.prev_hash,
            hash: row.hash,
        }
    }
}

/// The oldest sealed row and the end, of a tenant whose rows were sealed elsewhere.
pub(super) async fn find_ends(tx: &mut OwnerTx) -> Result<Option<(SealedRow, Anchor)>, DbError> {
    let first = sqlx::query_as!(
        Sealed,
        r#"
        SELECT id, occurred_at, action, outcome, actor_kind, actor_id, targets::text AS "targets!",
               changes::text AS "changes!", request_id, address, agent, seq AS "seq!", prev_hash AS "prev_hash!",
               hash AS "hash!"
        FROM audit_events
        WHERE seq IS NOT NULL
        ORDER BY seq
        LIMIT 1
        "#,
    )
    .fetch_optional(tx.conn())
    .await?;
    let last = sqlx::query!(
        r#"
        SELECT seq AS "seq!", hash AS "hash!"
        FROM audit_events
        WHERE seq IS NOT NULL
        ORDER BY seq DESC
        LIMIT 1
        "#,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(first
        .zip(last)
        .map(|(first, last)| (first.into(), anchor(last.seq, last.hash))))
}

pub(super) async fn list_sealed(tx: &mut TenantTx, after: i64, limit: i64) -> Result<Vec<SealedRow>, DbError> {
    let rows = sqlx::query_as!(
        Sealed,
        r#"
        SELECT id, occurred_at, action, outcome, actor_kind, actor_id, targets::text AS "targets!",
               changes::text AS "changes!", request_id, address, agent, seq AS "seq!", prev_hash AS "prev_hash!",
               hash AS "hash!"
        FROM audit_events
        WHERE seq > $1
        ORDER BY seq
        LIMIT $2
        "#,
        after,
        limit,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(SealedRow::from).collect())
}

pub(super) async fn list_unattested(
    tx: &mut ControlTx,
    before: DateTime<Utc>,
    after: Option<TenantId>,
    limit: i64,
) -> Result<Vec<TenantId>, DbError> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT tenant_id
        FROM control.audit_heads
        WHERE checkpoint_seq < seq
          AND (checkpointed_at IS NULL OR checkpointed_at <= $1)
          AND ($2::uuid IS NULL OR tenant_id > $2)
        ORDER BY tenant_id
        LIMIT $3
        "#,
        before,
        after.map(TenantId::uuid),
        limit,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(ids.into_iter().map(TenantId::from).collect())
}

pub(super) async fn set_attested(
    tx: &mut OwnerTx,
    tenant: TenantId,
    seq: i64,
    at: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.audit_heads
        SET checkpoint_seq = $2, checkpointed_at = $3
        WHERE tenant_id = $1
        "#,
        tenant.uuid(),
        seq,
        at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Tenants with rows older than they are kept, with the moment before which rows go.
pub(super) async fn list_overdue(
    tx: &mut ControlTx,
    now: DateTime<Utc>,
    usual_days: i32,
    after: Option<TenantId>,
    limit: i64,
) -> Result<Vec<(TenantId, DateTime<Utc>)>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT h.tenant_id, kept.since AS "since!"
        FROM control.audit_heads AS h
                 JOIN control.tenants AS t ON t.id = h.tenant_id
                 CROSS JOIN LATERAL (SELECT $1::timestamptz - make_interval(days => CASE
                     WHEN t.settings ->> 'audit_retention_days' ~ '^[0-9]{1,4}$'
                         THEN (t.settings ->> 'audit_retention_days')::integer
                     ELSE $2 END) AS since) AS kept
        WHERE h.oldest_at < kept.since
          AND h.base_seq < h.seq
          AND t.purge_started_at IS NULL
          AND ($3::uuid IS NULL OR h.tenant_id > $3)
        ORDER BY h.tenant_id
        LIMIT $4
        "#,
        now,
        usual_days,
        after.map(TenantId::uuid),
        limit,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| (row.tenant_id.into(), row.since)).collect())
}

/// Rows go in the order of the chain: one that is young enough keeps those after it.
pub(super) async fn find_trim(tx: &mut OwnerTx, cutoff: DateTime<Utc>, limit: i64) -> Result<Option<Anchor>, DbError> {
    let row = sqlx::query!(
        r#"
        WITH oldest AS (
            SELECT seq, hash, occurred_at
            FROM audit_events
            WHERE seq IS NOT NULL
            ORDER BY seq
            LIMIT $2
        )
        SELECT seq AS "seq!", hash AS "hash!"
        FROM oldest AS o
        WHERE NOT EXISTS (SELECT FROM oldest AS earlier WHERE earlier.seq <= o.seq AND earlier.occurred_at >= $1)
        ORDER BY seq DESC
        LIMIT 1
        "#,
        cutoff,
        limit,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| anchor(row.seq, row.hash)))
}

pub(super) async fn delete_front(tx: &mut OwnerTx, up_to: i64) -> Result<u64, DbError> {
    let gone = sqlx::query!(
        r#"
        DELETE
        FROM audit_events
        WHERE seq <= $1
        "#,
        up_to,
    )
    .execute(tx.conn())
    .await?;
    Ok(gone.rows_affected())
}

pub(super) async fn find_oldest(tx: &mut OwnerTx) -> Result<Option<DateTime<Utc>>, DbError> {
    let oldest = sqlx::query_scalar!(
        r#"
        SELECT min(occurred_at)
        FROM audit_events
        WHERE seq IS NOT NULL
        "#,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(oldest)
}
