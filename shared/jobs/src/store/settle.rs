//! How attempts end.

use std::{collections::HashMap, time::Duration};

use bulkhead_kernel::ids::{JobId, LeaseToken};
use bulkhead_tenancy::DbError;
use sqlx::PgConnection;
use uuid::Uuid;

use super::millis;
use crate::outcome::{Fate, State};

/// What is to become of the job of one attempt.
#[derive(Debug, Clone)]
pub(crate) struct Settlement {
    pub(crate) job: JobId,
    pub(crate) token: LeaseToken,
    pub(crate) fate: Fate,
    /// Its worker was not heard of any more.
    pub(crate) is_lease_lost: bool,
}

/// Ends the attempts that hold these tokens and gives the states of their jobs. A token that is missing there holds its
/// job no longer, and nothing was changed; or, where `waits` is false, somebody has the row locked.
///
/// A job that somebody cancelled while it ran is cancelled whatever its attempt came to, unless it is done.
pub(crate) async fn settle(
    conn: &mut PgConnection,
    settlements: &[Settlement],
    waits: bool,
) -> Result<HashMap<LeaseToken, State>, DbError> {
    let mut rows = Columns::default();
    for settlement in settlements {
        rows.push(settlement);
    }
    if waits {
        rows.lock(conn).await?;
    }
    rows.settle(conn).await
}

/// The settlements as PostgreSQL takes them.
#[derive(Default)]
struct Columns {
    jobs: Vec<Uuid>,
    tokens: Vec<Uuid>,
    states: Vec<&'static str>,
    refunds: Vec<bool>,
    losses: Vec<bool>,
    delays: Vec<i64>,
    errors: Vec<Option<String>>,
}

impl Columns {
    fn push(&mut self, settlement: &Settlement) {
        let (delay, is_refunded) = match &settlement.fate {
            Fate::Queued { delay, is_refunded, .. } => (*delay, *is_refunded),
            _ => (Duration::ZERO, false),
        };
        self.jobs.push(settlement.job.uuid());
        self.tokens.push(settlement.token.uuid());
        self.states.push(settlement.fate.state().as_str());
        self.refunds.push(is_refunded);
        self.losses.push(settlement.is_lease_lost);
        self.delays.push(millis(delay));
        self.errors.push(settlement.fate.error().map(str::to_owned));
    }

    async fn lock(&self, conn: &mut PgConnection) -> Result<(), DbError> {
        sqlx::query!(
            r#"
            SELECT count(*) AS "n!"
            FROM (SELECT id FROM control.jobs WHERE id = ANY ($1) ORDER BY id FOR UPDATE) AS locked
            "#,
            &self.jobs,
        )
        .fetch_one(conn)
        .await?;
        Ok(())
    }

    async fn settle(&self, conn: &mut PgConnection) -> Result<HashMap<LeaseToken, State>, DbError> {
        let rows = sqlx::query!(
            r#"
            WITH mine AS MATERIALIZED (
                SELECT
                    w.id, w.lease_token, m.is_refunded, m.is_lease_lost, m.delay_ms, m.error,
                    CASE WHEN m.state <> 'done' AND w.cancel_requested_at IS NOT NULL THEN 'cancelled' ELSE m.state END AS state
                FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::boolean[], $5::boolean[], $6::bigint[], $7::text[])
                         AS m (id, lease_token, state, is_refunded, is_lease_lost, delay_ms, error)
                         JOIN control.jobs AS w ON w.id = m.id AND w.lease_token = m.lease_token
                FOR UPDATE OF w SKIP LOCKED
            )
            UPDATE control.jobs AS j
            SET state       = m.state,
                attempt     = j.attempt - m.is_refunded::int,
                lost_leases = j.lost_leases + m.is_lease_lost::int,
                run_at      = CASE WHEN m.state = 'queued' THEN now() + m.delay_ms * interval '1 millisecond' ELSE j.run_at END,
                is_due      = m.state <> 'queued' OR m.delay_ms = 0,
                last_error  = coalesce(m.error, j.last_error),
                finished_at = CASE WHEN m.state <> 'queued' THEN now() END,
                lease_token = NULL,
                lease_until = NULL
            FROM mine AS m
            WHERE j.id = m.id
              AND j.lease_token = m.lease_token
            RETURNING m.lease_token AS "token!", j.state
            "#,
            &self.jobs,
            &self.tokens,
            &self.states as &[&str],
            &self.refunds,
            &self.losses,
            &self.delays,
            &self.errors as &[Option<String>],
        )
        .fetch_all(conn)
        .await?;
        let settled = rows
            .into_iter()
            .filter_map(|row| Some((row.token.into(), State::parse(&row.state)?)));
        Ok(settled.collect())
    }
}
