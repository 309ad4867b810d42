//! Work that comes back by the calendar: each tick once, whoever is there to see it.

mod kills;
mod operators;
mod policies;

use bulkhead_jobs::{
    Job,
    schedules::{self, CatchUp, Schedule},
};
use bulkhead_tenancy::Db;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::{count, quick};
use crate::harness::{TestDb, eventually, run};

/// A job that is told its tick. Nobody handles it, so that all of them are there to be counted.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    note: String,
    tick: Option<DateTime<Utc>>,
}

impl Job for Report {
    const KIND: &'static str = "test.report";

    fn unique_key(&self) -> Option<String> {
        Some(self.note.clone())
    }
}

const NAME: &str = "test.report";

fn schedule(expression: &'static str, catch_up: CatchUp) -> Schedule {
    let job = Report {
        note: "hourly".into(),
        tick: None,
    };
    Schedule::new(NAME, expression, "UTC", catch_up, &job).unwrap()
}

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Turns the schedule to a moment of the test's choice.
async fn wind(test: &TestDb, name: &str, next: DateTime<Utc>) {
    sqlx::query!(
        "UPDATE control.schedules SET next_tick_at = $2 WHERE name = $1",
        name,
        next
    )
    .execute(&mut test.connect("postgres").await)
    .await
    .unwrap();
}

/// The ticks that were enqueued, in order.
async fn ticks(test: &TestDb, name: &str) -> Vec<DateTime<Utc>> {
    sqlx::query_scalar!(
        "SELECT tick_at FROM control.schedule_ticks WHERE schedule = $1 ORDER BY tick_at",
        name
    )
    .fetch_all(&mut test.connect("postgres").await)
    .await
    .unwrap()
}

/// The ticks that the jobs were told, in order.
async fn told(test: &TestDb) -> Vec<DateTime<Utc>> {
    sqlx::query_scalar!(
        r#"SELECT (payload ->> 'tick')::timestamptz AS "tick!" FROM control.jobs WHERE kind = $1 ORDER BY 1"#,
        Report::KIND,
    )
    .fetch_all(&mut test.connect("postgres").await)
    .await
    .unwrap()
}

#[tokio::test]
async fn each_tick_is_enqueued_once_however_many_look() {
    const TICKS: i32 = 60;
    let test = TestDb::new().await;
    let schedulers: Vec<Db> = (0..4).map(|_| test.db(&[])).collect();
    schedules::declare(&schedulers[0], &[schedule("* * * * *", CatchUp::All)])
        .await
        .unwrap();
    let first = time("2026-11-21T10:00:00Z");
    wind(&test, NAME, first).await;
    let mut expected = Vec::new();
    for n in 0..TICKS {
        let tick = first + TimeDelta::minutes(n.into());
        expected.push(tick);
        // Their own clocks differ by up to three seconds.
        let looking = schedulers.iter().zip(1..);
        let looking = looking.map(|(db, late)| schedules::enqueue_due(db, tick + TimeDelta::seconds(late)));
        let enqueued: usize = join_all(looking).await.into_iter().map(Result::unwrap).sum();
        assert_eq!(enqueued, 1, "tick {n}");
    }
    assert_eq!(ticks(&test, NAME).await, expected);
    assert_eq!(told(&test).await, expected);
}

#[tokio::test]
async fn a_tick_that_has_its_row_is_never_enqueued_again() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    schedules::declare(&db, &[schedule("0 * * * *", CatchUp::All)])
        .await
        .unwrap();
    let first = time("2026-11-21T10:00:00Z");
    // As after a failover to a server that has not heard of the last change.
    for _ in 0..3 {
        wind(&test, NAME, first).await;
        schedules::enqueue_due(&db, first + TimeDelta::hours(2)).await.unwrap();
    }
    assert_eq!(
        told(&test).await,
        [10, 11, 12].map(|hour| time(&format!("2026-11-21T{hour}:00:00Z")))
    );
}

#[tokio::test]
async fn a_tick_whose_job_cannot_be_written_is_not_taken() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    schedules::declare(&db, &[schedule("0 * * * *", CatchUp::One)])
        .await
        .unwrap();
    let tick = time("2026-11-21T10:00:00Z");
    wind(&test, NAME, tick).await;
    let mut admin = test.connect("postgres").await;
    run(&mut admin, "UPDATE control.schedules SET max_attempts = 0").await;
    schedules::enqueue_due(&db, tick).await.unwrap_err();
    assert_eq!(
        (ticks(&test, NAME).await.len(), count(&test, Report::KIND).await),
        (0, 0)
    );
    run(&mut admin, "UPDATE control.schedules SET max_attempts = 3").await;
    assert_eq!(schedules::enqueue_due(&db, tick).await.unwrap(), 1);
    assert_eq!((ticks(&test, NAME).await, told(&test).await), (vec![tick], vec![tick]));
}

#[tokio::test]
async fn a_tick_is_covered_by_a_job_of_the_schedule_that_still_waits() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    schedules::declare(&db, &[schedule("0 * * * *", CatchUp::Skip)])
        .await
        .unwrap();
    let first = time("2026-11-21T10:00:00Z");
    wind(&test, NAME, first).await;
    for n in 0..3 {
        schedules::enqueue_due(&db, first + TimeDelta::hours(n)).await.unwrap();
    }
    assert_eq!(ticks(&test, NAME).await.len(), 3);
    assert_eq!(told(&test).await, [first]);
    let jobs = sqlx::query_scalar!(r#"SELECT count(job_id) AS "n!" FROM control.schedule_ticks"#)
        .fetch_one(&mut test.connect("postgres").await)
        .await
        .unwrap();
    assert_eq!(jobs, 1);
}

#[tokio::test]
async fn the_loop_goes_by_the_databases_time_and_notices_a_change_within_a_poll() {
    let test = TestDb::new().await;
    let stop = tokio_util::sync::CancellationToken::new();
    // Once a year: only a change makes it tick.
    let list = vec![schedule("0 0 1 1 *", CatchUp::One)];
    let running = tokio::spawn(schedules::run(test.db(&[]), list, quick().poll, stop.clone()));
    eventually("the list is brought in", async || {
        let brought = schedules::service::list(&test.db(&[])).await.unwrap();
        (!brought.is_empty()).then_some(())
    })
    .await;
    run(
        &mut test.connect("postgres").await,
        "UPDATE control.schedules SET next_tick_at = now() + interval '300 milliseconds'",
    )
    .await;
    eventually("the tick is enqueued", async || {
        (count(&test, Report::KIND).await == 1).then_some(())
    })
    .await;
    stop.cancel();
    running.await.unwrap();
    let is_early = sqlx::query_scalar!(
        r#"
        SELECT j.created_at < t.created_at OR s.next_tick_at < now() AS "is_early!"
        FROM control.schedules AS s
                 JOIN control.schedule_ticks AS t ON t.schedule = s.name
                 JOIN control.jobs AS j ON j.id = t.job_id
        "#
    )
    .fetch_one(&mut test.connect("postgres").await)
    .await
    .unwrap();
    assert!(!is_early);
}
