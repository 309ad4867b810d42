//! Who gets a job next.

use std::time::Duration;

use bulkhead_kernel::{
    ids::{JobId, TenantId},
    origin::Origin,
};
use bulkhead_tenancy::DbError;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{attempt, count, millis};
use crate::outcome::Attempt;

/// A claimed job: everything an attempt needs to know.
#[derive(Debug)]
pub(crate) struct JobRow {
    pub(crate) id: JobId,
    pub(crate) kind: String,
    pub(crate) queue: String,
    pub(crate) wait_ms: f64,
    /// Until its deadline.
    pub(crate) left: Option<Duration>,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) is_tenant_known: bool,
    pub(crate) is_visible: bool,
    pub(crate) payload: Value,
    pub(crate) lost_leases: u16,
    pub(crate) attempt: Attempt,
    pub(crate) origin: Origin,
}

/// Whose turn it was last in the circle of tenants, and how many jobs they got of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    lane: Uuid,
    n_taken: i32,
}

impl Turn {
    /// The turn after these were claimed, in this order.
    #[must_use]
    pub(crate) fn after(self, claimed: &[JobRow]) -> Self {
        let mut turn = self;
        for row in claimed {
            // The platform's own jobs stand after those of all tenants.
            let lane = row.tenant.map_or(Uuid::max(), TenantId::uuid);
            let n_before = if lane == turn.lane { turn.n_taken } else { 0 };
            turn = Self {
                lane,
                n_taken: n_before.saturating_add(1),
            };
        }
        turn
    }
}

/// Leases at most `limit` due jobs of these kinds, each under a fresh token, a tenant after the other in a circle that
/// goes on where `turn` left off.
pub(crate) async fn claim(
    conn: &mut PgConnection,
    kinds: &[String],
    worker: &str,
    lease: Duration,
    turn: Turn,
    limit: i32,
) -> Result<Vec<JobRow>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT
            j.id AS "id!",
            j.kind AS "kind!",
            j.queue AS "queue!",
            j.wait_ms AS "wait_ms!",
            j.left_ms,
            j.tenant_id,
            j.is_tenant_known AS "is_tenant_known!",
            j.payload AS "payload!",
            j.attempt AS "attempt!",
            j.max_attempts AS "max_attempts!",
            j.lost_leases AS "lost_leases!",
            j.lease_token AS "lease_token!",
            j.is_visible AS "is_visible!",
            j.principal AS "principal!",
            j.request_id AS "request_id!",
            j.traceparent
        FROM control.claim_jobs($1, $2, $3, $4, $5, $6) AS j
        "#,
        kinds,
        worker,
        millis(lease),
        turn.lane,
        turn.n_taken,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let claimed = rows.into_iter().map(|row| JobRow {
        id: row.id.into(),
        kind: row.kind,
        queue: row.queue,
        wait_ms: row.wait_ms,
        left: row
            .left_ms
            .map(|ms| Duration::from_secs_f64(ms.clamp(0.0, 1e12) / 1000.0)),
        tenant: row.tenant_id.map(TenantId::from),
        is_tenant_known: row.is_tenant_known,
        is_visible: row.is_visible,
        payload: row.payload,
        lost_leases: count(row.lost_leases),
        attempt: attempt(row.attempt, row.max_attempts, row.lease_token.into()),
        origin: Origin {
            principal: row.principal,
            request_id: row.request_id,
            traceparent: row.traceparent,
            address: None,
            agent: None,
        },
    });
    Ok(claimed.collect())
}

#[cfg(test)]
mod tests {
    use bulkhead_kernel::ids::LeaseToken;

    use super::*;

    fn claimed(tenant: Option<TenantId>) -> JobRow {
        JobRow {
            id: JobId::new(),
            kind: "test.ping".into(),
            queue: "default".into(),
            wait_ms: 0.0,
            left: None,
            tenant,
            is_tenant_known: true,
            is_visible: false,
            payload: Value::Null,
            lost_leases: 0,
            attempt: attempt(1, 4, LeaseToken::new()),
            origin: Origin {
                principal: String::new(),
                request_id: String::new(),
                traceparent: None,
                address: None,
                agent: None,
            },
        }
    }

    #[test]
    fn a_turn_counts_what_the_last_tenant_got_in_a_row() {
        let (one, other) = (TenantId::new(), TenantId::new());
        let turn = Turn::default().after(&[claimed(Some(one)), claimed(Some(other))]);
        assert_eq!(
            turn,
            Turn {
                lane: other.uuid(),
                n_taken: 1
            }
        );
        let turn = turn.after(&[claimed(Some(other))]);
        assert_eq!(
            turn,
            Turn {
                lane: other.uuid(),
                n_taken: 2
            }
        );
        assert_eq!(turn.after(&[]), turn);
        let turn = turn.after(&[claimed(None)]);
        assert_eq!(
            turn,
            Turn {
                lane: Uuid::max(),
                n_taken: 1
            }
        );
    }
}
