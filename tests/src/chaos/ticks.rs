//! Three workers keep a schedule; one of them is killed about when each tick comes, and now and then all.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::Rng;
use tokio::time::sleep;

use crate::{
    field::until,
    harness::{TestDb, server::Server},
    plan::{Plan, Scenario},
    report::Report,
};

/// The schedule that is driven.
const SCHEDULE: &str = "jobs.prune";

/// From the tick to its job.
const BAR: Duration = Duration::from_secs(20);

pub(crate) async fn run(plan: Plan) -> Report {
    let rounds = plan.rounds(50, 3);
    let mut rng = plan.rng(Scenario::Ticks);
    let mut report = Report::new(rounds, "");
    let test = TestDb::new().await;
    let mut admin = test.connect("postgres").await;
    let is_there: bool = sqlx::query_scalar("SELECT to_regclass('control.schedules') IS NOT NULL")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    if !is_there {
        report.rounds = 0;
        report.checked("not tried: this build has no schedules");
        return report;
    }
    let env = settings(&test);
    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(Server::start("bulkhead-worker", &env).await);
    }
    let (mut n_kills, mut n_done) = (0, 0);
    for round in 1..=rounds {
        let Some(at) = next_tick(&mut admin).await else {
            report.anomaly(format!("there is no schedule {SCHEDULE}"));
            break;
        };
        sleep(Duration::from_millis(rng.gen_range(100..250))).await;
        for _ in 0..if round % 3 == 0 { 3 } else { 1 } {
            workers.remove(0).kill().await;
            n_kills += 1;
        }
        while workers.len() < 3 {
            workers.push(Server::start("bulkhead-worker", &env).await);
        }
        let mut is_done = async || -> bool {
            sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM control.schedule_ticks AS t JOIN control.jobs AS j ON j.id = t.job_id \
                 WHERE t.schedule = $1 AND t.tick_at = $2 AND j.state = 'done')",
            )
            .bind(SCHEDULE)
            .bind(at)
            .fetch_one(&mut admin)
            .await
            .unwrap()
        };
        if until(Duration::from_secs(60), async || is_done().await).await {
            n_done += 1;
        } else {
            report.anomaly(format!("the tick of {at} came to nothing"));
        }
    }
    report.faults = format!("{n_kills} SIGKILLs of 3 schedulers");
    let (n_jobs, n_ticks, latest): (i64, i64, f64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM control.jobs WHERE kind = $1), \
                (SELECT count(job_id) FROM control.schedule_ticks WHERE schedule = $1), \
                (SELECT coalesce(max(extract(EPOCH FROM created_at - tick_at)), 0)::float8 FROM control.schedule_ticks)",
    )
    .bind(SCHEDULE)
    .fetch_one(&mut admin)
    .await
    .unwrap();
    report.checked(format!("{n_done} ticks done, {n_jobs} jobs for {n_ticks} ticks"));
    report.none(n_jobs - n_ticks, "jobs more than ticks");
    report.within("a tick waited at most", Duration::from_secs_f64(latest.max(0.0)), BAR);
    report
}

/// Moves the schedule's next tick to the near future, as soon as it is listed.
async fn next_tick(admin: &mut sqlx::PgConnection) -> Option<DateTime<Utc>> {
    let mut tick = None;
    until(Duration::from_secs(60), async || {
        tick = sqlx::query_scalar(
            "UPDATE control.schedules SET next_tick_at = now() + interval '150 milliseconds' WHERE name = $1 \
             RETURNING next_tick_at",
        )
        .bind(SCHEDULE)
        .fetch_optional(&mut *admin)
        .await
        .unwrap();
        tick.is_some()
    })
    .await;
    tick
}

fn settings(test: &TestDb) -> Vec<(String, String)> {
    let own = [
        ("WORKER__INTERNAL_LISTEN", "127.0.0.1:0"),
        ("JOBS__LEASE_MS", "900"),
        ("JOBS__POLL_MS", "50"),
        ("JOBS__RETRY_BASE_MS", "50"),
        ("MAIL__LINK_BASE", "https://app.example.com"),
    ];
    let own = own.map(|(key, value)| (format!("BULKHEAD__{key}"), value.to_owned()));
    test.settings().into_iter().chain(own).collect()
}
