//! A worker notices a new job at once, and whatever happens to its connections.

use std::time::Duration;

use bulkhead_jobs::{Outcome, Registry};
use bulkhead_kernel::config::Jobs;

use super::{Ping, Running, ping, quick, reaches, submit};
use crate::harness::{TestDb, eventually};

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
