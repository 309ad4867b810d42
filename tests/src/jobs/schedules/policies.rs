//! What the code's list means for the table, and what becomes of ticks that nobody was there for.

use bulkhead_jobs::schedules::{self, CatchUp, Schedule, Scheduled, service};
use bulkhead_tenancy::Db;
use chrono::TimeDelta;

use super::{NAME, Report, schedule, ticks, time, told, wind};
use crate::harness::{TestDb, run};

async fn known(db: &Db) -> Vec<Scheduled> {
    service::list(db).await.unwrap()
}

#[tokio::test]
async fn after_an_outage_each_policy_does_what_it_says() {
    let first = time("2026-11-21T06:00:00Z");
    let hours = |hours: &[i64]| -> Vec<_> { hours.iter().map(|n| first + TimeDelta::hours(*n)).collect() };
    for (policy, late, expected) in [
        (CatchUp::Skip, TimeDelta::minutes(270), hours(&[])),
        (CatchUp::Skip, TimeDelta::hours(4) + TimeDelta::seconds(20), hours(&[4])),
        (CatchUp::One, TimeDelta::minutes(270), hours(&[4])),
        (CatchUp::All, TimeDelta::minutes(270), hours(&[0, 1, 2, 3, 4])),
    ] {
        let test = TestDb::new().await;
        let db = test.db(&[]);
        schedules::declare(&db, &[schedule("0 * * * *", policy)]).await.unwrap();
        wind(&test, NAME, first).await;
        schedules::enqueue_due(&db, first + late).await.unwrap();
        assert_eq!(told(&test).await, expected, "{policy:?}");
        let seen = known(&db).await.remove(0);
        assert_eq!(seen.last_tick_at, expected.last().copied(), "{policy:?}");
        assert_eq!(seen.next_tick_at, Some(first + TimeDelta::hours(5)), "{policy:?}");
        // The next one comes as if nothing had been.
        schedules::enqueue_due(&db, first + TimeDelta::hours(5)).await.unwrap();
        assert_eq!(ticks(&test, NAME).await.len(), expected.len() + 1, "{policy:?}");
    }
}

#[tokio::test]
async fn the_list_is_brought_in_without_losing_what_happened_before() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let hourly = || schedule("0 * * * *", CatchUp::One);
    let (tick, now) = (time("2026-11-21T10:00:00Z"), time("2026-11-21T10:00:05Z"));
    schedules::declare(&db, &[hourly()]).await.unwrap();
    wind(&test, NAME, tick).await;
    schedules::enqueue_due(&db, now).await.unwrap();
    let before = known(&db).await;

    // Brought in again, by workers that start at the same time, it stays as it is.
    let (list, other) = ([hourly()], test.db(&[]));
    let (one, two) = tokio::join!(schedules::declare(&db, &list), schedules::declare(&other, &list));
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(known(&db).await, before);

    // Another policy leaves its times alone; other times begin from now on, and the last tick stays.
    schedules::declare(&db, &[schedule("0 * * * *", CatchUp::Skip)])
        .await
        .unwrap();
    let seen = known(&db).await.remove(0);
    assert_eq!(
        (seen.catch_up.as_str(), seen.next_tick_at),
        ("skip", before[0].next_tick_at)
    );
    schedules::declare(&db, &[schedule("30 5 * * *", CatchUp::One)])
        .await
        .unwrap();
    let seen = known(&db).await.remove(0);
    assert_eq!((seen.last_tick_at, &seen.last_job), (Some(tick), &before[0].last_job));
    let next = seen.next_tick_at.unwrap();
    assert!(
        next.format("%H:%M").to_string() == "05:30" && next != before[0].next_tick_at.unwrap(),
        "{next}"
    );
}

#[tokio::test]
async fn what_the_code_does_not_name_any_more_is_retired_and_can_come_back() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let job = Report {
        note: "other".into(),
        tick: None,
    };
    let other = Schedule::new("test.other", "0 * * * *", "UTC", CatchUp::One, &job).unwrap();
    schedules::declare(&db, &[schedule("0 * * * *", CatchUp::All), other.clone()])
        .await
        .unwrap();
    let tick = time("2026-11-21T10:00:00Z");
    wind(&test, NAME, tick).await;
    wind(&test, "test.other", tick).await;
    let pause = format!("UPDATE control.schedules SET is_paused = true WHERE name = '{NAME}'");
    run(&mut test.connect("postgres").await, &pause).await;

    schedules::declare(&db, &[other]).await.unwrap();
    assert_eq!(schedules::enqueue_due(&db, tick).await.unwrap(), 1);
    assert_eq!(
        (ticks(&test, NAME).await, ticks(&test, "test.other").await),
        (vec![], vec![tick])
    );
    let names: Vec<_> = known(&db).await.into_iter().map(|schedule| schedule.name).collect();
    assert_eq!(names, ["test.other"]);

    // It comes back as its operator left it, with nothing to catch up with.
    schedules::declare(&db, &[schedule("0 * * * *", CatchUp::All)])
        .await
        .unwrap();
    let back = known(&db).await.remove(0);
    assert_eq!((back.name.as_str(), back.is_paused), (NAME, true));
    run(
        &mut test.connect("postgres").await,
        "UPDATE control.schedules SET is_paused = false",
    )
    .await;
    assert_eq!(
        schedules::enqueue_due(&db, tick + TimeDelta::hours(3)).await.unwrap(),
        0
    );
}

#[tokio::test]
async fn a_row_that_cannot_be_run_keeps_no_other_one_waiting() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let job = Report {
        note: "other".into(),
        tick: None,
    };
    let other = Schedule::new("test.other", "0 * * * *", "UTC", CatchUp::One, &job).unwrap();
    schedules::declare(&db, &[schedule("0 * * * *", CatchUp::One), other])
        .await
        .unwrap();
    let tick = time("2026-11-21T10:00:00Z");
    wind(&test, NAME, tick - TimeDelta::hours(1)).await;
    wind(&test, "test.other", tick).await;
    let spoil = format!("UPDATE control.schedules SET time_zone = 'Mars/Olympus' WHERE name = '{NAME}'");
    run(&mut test.connect("postgres").await, &spoil).await;
    assert_eq!(schedules::enqueue_due(&db, tick).await.unwrap(), 1);
    assert_eq!(ticks(&test, "test.other").await, [tick]);
    // The same of one that can be read, and whose job the table refuses.
    let spoil = format!("UPDATE control.schedules SET time_zone = 'UTC', max_attempts = 0 WHERE name = '{NAME}'");
    run(&mut test.connect("postgres").await, &spoil).await;
    wind(&test, NAME, tick - TimeDelta::hours(1)).await;
    schedules::enqueue_due(&db, tick + TimeDelta::hours(1))
        .await
        .unwrap_err();
    assert_eq!(ticks(&test, "test.other").await.len(), 2);
    assert_eq!(ticks(&test, NAME).await.len(), 0);
}

#[test]
fn a_mistake_in_the_list_is_told_with_its_name() {
    let job = Report {
        note: String::new(),
        tick: None,
    };
    for (name, expression, zone) in [
        ("report", "0 * * * *", "UTC"),
        (NAME, "0 * * *", "UTC"),
        (NAME, "0 0 31 2 *", "UTC"),
        (NAME, "0 * * * *", "Europe/Atlantis"),
    ] {
        let bad = Schedule::new(name, expression, zone, CatchUp::One, &job).unwrap_err();
        assert_eq!(bad.name, name);
        assert!(!bad.reason.is_empty());
    }
}
