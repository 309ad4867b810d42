//! Rows of `control.membership_outbox`, and what is written of them at home.

use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::{ControlTx, DbError};
use uuid::Uuid;

/// What has to be written about a member.
pub(in super::super) struct Word {
    tenant: Uuid,
    identity: Uuid,
    role: String,
    status: String,
    epoch: i64,
    seq: i64,
}

fn column<T>(words: &[Word], of: impl Fn(&Word) -> T) -> Vec<T> {
    words.iter().map(of).collect()
}

/// Words that wait, of one tenant where it is given, in one order for all carriers.
pub(in super::super) async fn list(
    tx: &mut ControlTx,
    tenant: Option<TenantId>,
    limit: i64,
) -> Result<Vec<Word>, DbError> {
    let words = sqlx::query_as!(
        Word,
        r#"
        SELECT o.tenant_id AS tenant, o.identity_id AS identity, o.role, o.status, o.epoch, o.seq
        FROM control.membership_outbox AS o
                 JOIN control.tenants AS t ON t.id = o.tenant_id
        WHERE t.frozen_by IS NULL
          AND ($1::uuid IS NULL OR o.tenant_id = $1)
        ORDER BY o.tenant_id, o.identity_id
        LIMIT $2
        "#,
        tenant.map(TenantId::uuid),
        limit,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(words)
}

/// Writes them at home. Those about people or tenants that are gone, and those that come too late, change nothing.
pub(in super::super) async fn apply(home: &mut ControlTx, words: &[Word]) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        SELECT control.apply_membership(w.tenant, w.identity, w.role, w.status, w.epoch, w.seq) AS is_somebody
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])
                 AS w (tenant, identity, role, status, epoch, seq)
        "#,
        &column(words, |word| word.tenant),
        &column(words, |word| word.identity),
        &column(words, |word| word.role.clone()),
        &column(words, |word| word.status.clone()),
        &column(words, |word| word.epoch),
        &column(words, |word| word.seq),
    )
    .fetch_all(home.conn())
    .await?;
    Ok(())
}

/// Removes those that nobody has said anything newer about since. A tenant that is frozen by now keeps all; the lock on its
/// row keeps a move from beginning before we are through.
pub(in super::super) async fn delete(tx: &mut ControlTx, words: &[Word]) -> Result<u64, DbError> {
    let gone = sqlx::query!(
        r#"
        WITH thawed AS (
            SELECT id
            FROM control.tenants
            WHERE id = ANY ($1)
              AND frozen_by IS NULL
                FOR SHARE
        )
        DELETE
        FROM control.membership_outbox AS o
            USING thawed, unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[]) AS w (tenant, identity, epoch, seq)
        WHERE o.tenant_id = thawed.id
          AND o.tenant_id = w.tenant
          AND o.identity_id = w.identity
          AND o.epoch = w.epoch
          AND o.seq = w.seq
        "#,
        &column(words, |word| word.tenant),
        &column(words, |word| word.identity),
        &column(words, |word| word.epoch),
        &column(words, |word| word.seq),
    )
    .execute(tx.conn())
    .await?;
    Ok(gone.rows_affected())
}
