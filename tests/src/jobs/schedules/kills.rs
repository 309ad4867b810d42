//! Worker processes that die as a tick comes. SCHEDULE_KILLS sets how many do; a few are enough to see that it works.

use bulkhead_jobs::schedules::service;
use rand::Rng;
use tokio::time::{Duration, sleep};

use super::ticks;
use crate::harness::{TestDb, eventually, optional_env, server::Server};

const PRUNE: &str = "jobs.prune";

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

/// Three workers, of which one is killed about when each tick comes, and now and then all of them. No tick is lost or enqueued
/// twice, and none waits for anybody to be elected.
#[tokio::test]
async fn each_tick_is_enqueued_once_though_workers_are_killed_at_it() {
    let n_kills = optional_env("SCHEDULE_KILLS").map_or(6, |n| n.parse().unwrap());
    let test = TestDb::new().await;
    let env = settings(&test);
    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(Server::start("bulkhead-worker", &env).await);
    }
    let mut admin = test.connect("postgres").await;
    eventually("the list is brought in", async || {
        let listed = service::list(&test.db(&[])).await.unwrap();
        (!listed.is_empty()).then_some(())
    })
    .await;
    let mut expected = Vec::new();
    for n in 1..=n_kills {
        let at = sqlx::query_scalar!(
            "UPDATE control.schedules SET next_tick_at = now() + interval '150 milliseconds' WHERE name = $1 RETURNING next_tick_at",
            PRUNE,
        )
        .fetch_one(&mut admin)
        .await
        .unwrap();
        // From shortly before the tick to shortly after it.
        sleep(Duration::from_millis(rand::thread_rng().gen_range(100..250))).await;
        for _ in 0..if n % 3 == 0 { 3 } else { 1 } {
            workers.remove(0).kill().await;
        }
        while workers.len() < 3 {
            workers.push(Server::start("bulkhead-worker", &env).await);
        }
        eventually("the tick's job is done", async || {
            sqlx::query_scalar!(
                r#"
                SELECT j.state = 'done' AS "is_done!"
                FROM control.schedule_ticks AS t
                         JOIN control.jobs AS j ON j.id = t.job_id
                WHERE t.schedule = $1
                  AND t.tick_at = $2
                "#,
                PRUNE,
                at,
            )
            .fetch_optional(&mut admin)
            .await
            .unwrap()
            .filter(|is_done| *is_done)
        })
        .await;
        expected.push(at);
    }
    // The hour may have struck as well, which is a tick of its own.
    let mut taken = ticks(&test, PRUNE).await;
    taken.retain(|tick| expected.contains(tick));
    assert_eq!(taken, expected);
    let counted = sqlx::query!(
        r#"
        SELECT (SELECT count(*) FROM control.jobs WHERE kind = $1) AS "jobs!",
               (SELECT count(job_id) FROM control.schedule_ticks WHERE schedule = $1) AS "ticks!"
        "#,
        PRUNE,
    )
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert_eq!(counted.jobs, counted.ticks);
    let latest = sqlx::query_scalar!(
        r#"SELECT max(extract(EPOCH FROM created_at - tick_at))::float8 AS "secs!" FROM control.schedule_ticks"#
    )
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert!((0.0..20.0).contains(&latest), "a tick waited {latest} s");
}
