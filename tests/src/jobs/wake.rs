//! A worker notices a new job at once, and whatever happens to its connections.

use std::time::Duration;

use bulkhead_jobs::{Outcome, Registry};
use bulkhead_kernel::config::Jobs;

use super::{Notes, Ping, Running, ping, quick, reaches, submit};
use crate::harness::{TestDb, eventually, run};

fn registry() -> Registry {
    Registry::new().handle::<Ping, _, _>(|_, _| async { Outcome::Done })
}

/// The process id of the connection that listens, other than one known before.
async fn listener(test: &TestDb, other_than: i32) -> i32 {
    eventually("somebody listens", async || {
        sqlx::query_scalar!(
            r#"
            SELECT pid AS "pid!"
            FROM pg_stat_activity
            WHERE datname = current_database()
              AND query ILIKE 'LISTEN%'
              AND pid <> $1
            "#,
            other_than,
        )
        .fetch_optional(&mut test.connect("postgres").await)
        .await
        .unwrap()
    })
    .await
}

#[tokio::test]
async fn a_notification_wakes_an_idle_worker_also_after_its_listener_was_lost() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    // It would not look by itself before this test has long failed.
    let worker = Running::start(
        db.clone(),
        registry(),
        &Jobs {
            poll: Duration::from_secs(3600),
            ..quick()
        },
    );
    let first = listener(&test, 0).await;
    for note in ["one", "two"] {
        reaches(&test, submit(&db, &ping(note)).await, "done").await;
    }
    sqlx::query_scalar!("SELECT pg_terminate_backend($1)", first)
        .fetch_one(&mut test.connect("postgres").await)
        .await
        .unwrap();
    listener(&test, first).await;
    for note in ["three", "four"] {
        reaches(&test, submit(&db, &ping(note)).await, "done").await;
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_survives_the_loss_of_all_its_connections() {
    let test = TestDb::new().await;
    let worker = Running::start(test.db(&[]), registry(), &quick());
    for note in ["one", "two", "three", "four", "five"] {
        reaches(&test, submit(&test.db(&[]), &ping(note)).await, "done").await;
        sqlx::query!(
            r#"
            SELECT count(pg_terminate_backend(pid))
            FROM pg_stat_activity
            WHERE datname = current_database()
              AND pid <> pg_backend_pid()
            "#,
        )
        .fetch_one(&mut test.connect("postgres").await)
        .await
        .unwrap();
    }
    assert!(worker.health.is_ready());
    worker.stop().await;
}

/// NOTIFY needs no privilege, so any role that can send a statement can wake the workers. All that gives is a look at
/// the table.
#[tokio::test]
async fn forged_wake_ups_run_nothing_and_stop_nothing() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let tenant = test.tenant(&db, "acme").await;
    let notes = Notes::default();
    let noting = notes.clone();
    let registry = Registry::new().handle::<Ping, _, _>(move |_, job| {
        noting.add(job.note);
        async { Outcome::Done }
    });
    let worker = Running::start(
        db.clone(),
        registry,
        &Jobs {
            poll: Duration::from_secs(3600),
            ..quick()
        },
    );
    listener(&test, 0).await;
    let mut tx = db.tenant(tenant).await.unwrap();
    for index in 0..200 {
        let forged =
            format!("NOTIFY bulkhead_jobs, '{{\"id\": {index}, \"kind\": \"test.ping\", \"queue\": \"no such\"}}'");
        run(tx.conn(), &forged).await;
    }
    tx.commit().await.unwrap();
    reaches(&test, submit(&db, &ping("real")).await, "done").await;
    worker.stop().await;
    assert_eq!(notes.list(), ["real"]);
}
