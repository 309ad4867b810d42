//! The loop that enqueues ticks. Every worker has one, for its cluster; the rows keep them apart.

use std::{error::Error, time::Duration};

use bulkhead_kernel::{
    origin::Origin,
    telemetry::{fields, metrics},
};
use bulkhead_tenancy::{ControlTx, Db, DbError};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    BadSchedule, Schedule,
    plan::{Plan, plan},
    store::{self, LockedRow},
    timing::Timing,
};

/// Between two tries while the database does not answer.
const RETRY: Duration = Duration::from_secs(1);

/// After which a row that cannot be read is looked at again; whoever brings the list in mends it.
const BROKEN: TimeDelta = TimeDelta::minutes(1);

/// Brings the list in and then enqueues ticks until `stop`. What changes in the table is seen within `poll`.
pub async fn run(db: Db, list: Vec<Schedule>, poll: Duration, stop: CancellationToken) {
    let (mut is_declared, mut is_failing) = (false, false);
    while !stop.is_cancelled() {
        let round = async {
            if !is_declared {
                declare(&db, &list).await?;
                is_declared = true;
            }
            pass(&db).await
        };
        let wait = match round.await {
            Ok(wait) => {
                is_failing = false;
                wait.unwrap_or(poll).min(poll)
            }
            Err(error) => {
                if !is_failing {
                    tracing::warn!(error = &error as &dyn Error, "some ticks cannot be enqueued");
                }
                is_failing = true;
                RETRY
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(wait) => {}
        }
    }
}

/// Makes the table say what the code says. A new schedule begins with its first tick from now on; one that the code does
/// not name any more is retired: never run, and not shown.
pub async fn declare(db: &Db, list: &[Schedule]) -> Result<(), DbError> {
    let mut sorted: Vec<&Schedule> = list.iter().collect();
    // In the same order everywhere, so that workers which start together do not wait in a circle.
    sorted.sort_by_key(|schedule| &schedule.name);
    let mut tx = db.control().await?;
    let now = store::now(&mut tx).await?;
    for schedule in &sorted {
        // Its first tick was found when the list was made.
        if let Some(next) = schedule.timing.next_after(now) {
            store::declare(&mut tx, schedule, next).await?;
        }
    }
    let names: Vec<String> = sorted.iter().map(|schedule| schedule.name.to_string()).collect();
    let n_retired = store::retire_others(&mut tx, &names, now).await?;
    tx.commit().await?;
    if n_retired > 0 {
        tracing::info!(n_retired, "schedules were retired");
    }
    Ok(())
}

/// Enqueues what has come, and gives how long it is until the next tick.
async fn pass(db: &Db) -> Result<Option<Duration>, DbError> {
    let mut tx = db.control().await?;
    let outlook = store::outlook(&mut tx).await?;
    tx.commit().await?;
    let cluster = db.cluster().to_string();
    metrics::schedules_paused(&cluster).set(f64::from(i32::try_from(outlook.n_paused).unwrap_or(i32::MAX)));
    metrics::schedules_overdue(&cluster).set(outlook.overdue.as_secs_f64());
    if outlook.wait.is_some_and(|wait| wait.is_zero()) {
        enqueue_due(db, outlook.now).await?;
    }
    Ok(outlook.wait)
}

/// Enqueues every tick that has come by `now` and that nobody has enqueued, and gives how many those were. A schedule whose
/// rows are refused keeps no other one waiting; the error is told at the end.
pub async fn enqueue_due(db: &Db, now: DateTime<Utc>) -> Result<usize, DbError> {
    let (mut n_ticks, mut refused, mut error) = (0, Vec::new(), None);
    loop {
        let mut tx = db.control().await?;
        let Some(row) = store::lock_due(&mut tx, now, &refused).await? else {
            tx.commit().await?;
            return error.map_or(Ok(n_ticks), Err);
        };
        match enqueue(tx, &row, now).await {
            Ok(n) => n_ticks += n,
            Err(failed @ DbError::Failed(_)) => {
                refused.push(row.name);
                error = Some(failed);
            }
            Err(lost) => return Err(lost),
        }
    }
}

/// The ticks of one schedule. Rows and jobs commit together.
async fn enqueue(mut tx: ControlTx, row: &LockedRow, now: DateTime<Utc>) -> Result<usize, DbError> {
    let planned = match planned(row, now) {
        Ok(planned) => planned,
        Err(error) => {
            tracing::error!(%error, "a schedule cannot be run");
            Plan {
                ticks: vec![],
                next: now + BROKEN,
            }
        }
    };
    let mut n_ticks = 0;
    for tick in &planned.ticks {
        if store::insert_tick(&mut tx, &row.name, *tick).await? {
            n_ticks += 1;
            let job = store::enqueue(&mut tx, &row.name, *tick, &Origin::system("schedule")).await?;
            tracing::info!(
                schedule = row.name,
                %tick,
                { fields::JOB_KIND } = row.kind,
                { fields::JOB_ID } = job.map(tracing::field::display),
                "schedule.tick"
            );
        }
    }
    store::set_next(&mut tx, &row.name, planned.ticks.last().copied(), planned.next).await?;
    tx.commit().await?;
    if let Some(tick) = planned.ticks.last().filter(|_| n_ticks > 0) {
        let late = (now - *tick).to_std().unwrap_or_default();
        metrics::schedule_lateness(row.name.clone()).record(late.as_secs_f64());
    }
    Ok(n_ticks)
}

fn planned(row: &LockedRow, now: DateTime<Utc>) -> Result<Plan, BadSchedule> {
    let bad = |reason: String| BadSchedule {
        name: row.name.clone(),
        reason,
    };
    let timing = Timing::parse(&row.expression, &row.time_zone).map_err(bad)?;
    let catch_up = row.catch_up.parse().map_err(|()| bad("its policy is unknown".into()))?;
    plan(&timing, catch_up, row.next_tick_at, now).ok_or_else(|| bad("it never comes again".into()))
}
