//! What `/metrics` tells of jobs.

use std::time::Duration;

use bulkhead_jobs::{Job, Registry};
use bulkhead_kernel::telemetry::metrics;
use serde::{Deserialize, Serialize};

use super::{Running, quick, submit};
use crate::harness::{TestDb, eventually, run};

#[derive(Serialize, Deserialize)]
struct Counted {
    delay_secs: u64,
}

impl Job for Counted {
    const KIND: &'static str = "test.counted";

    fn delay(&self) -> Duration {
        Duration::from_secs(self.delay_secs)
    }
}

#[tokio::test]
async fn one_worker_counts_and_all_tell() {
    let metrics = metrics::install();
    let test = TestDb::new().await;
    let db = test.db(&[]);
    for delay_secs in [0, 0, 0, 0, 0, 0, 3600, 3600] {
        submit(&db, &Counted { delay_secs }).await;
    }
    let mut admin = test.connect("postgres").await;
    let states = "WITH waiting AS (SELECT id, row_number() OVER (ORDER BY id) AS n FROM control.jobs WHERE is_due) \
                  UPDATE control.jobs AS j \
                  SET state       = CASE WHEN n < 3 THEN 'dead' WHEN n = 3 THEN 'running' ELSE 'queued' END, \
                      attempt     = 1, \
                      finished_at = CASE WHEN n < 3 THEN now() END, \
                      lease_token = CASE WHEN n = 3 THEN gen_random_uuid() END, \
                      lease_until = CASE WHEN n = 3 THEN now() + interval '1 hour' END, \
                      is_parked   = n = 4, \
                      run_at      = now() - interval '1 hour' \
                  FROM waiting AS w WHERE w.id = j.id";
    run(&mut admin, states).await;
    let worker = Running::start(db.clone(), Registry::new(), &quick());
    let labels = format!(
        r#"cluster="{}",kind="test.counted",queue="default""#,
        db.cluster().as_str()
    );
    let line = |state: &str, n: u32| format!("jobs_depth{{{labels},state=\"{state}\"}} {n}");
    let expected = [
        line("queued", 2),
        line("delayed", 2),
        line("parked", 1),
        line("running", 1),
        line("dead", 2),
    ];
    let text = eventually("the gauges are there", async || {
        let text = metrics.render();
        expected
            .iter()
            .all(|line| text.lines().any(|found| found == line))
            .then_some(text)
    })
    .await;
    let oldest = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("jobs_oldest_wait_seconds{{{labels}}} ")));
    let oldest: f64 = oldest.unwrap().parse().unwrap();
    assert!((3_600.0..3_700.0).contains(&oldest), "{oldest}");
    worker.stop().await;

    // Another worker tells what is known, and counts only when that is old.
    let counted_at = "SELECT counted_at::text FROM control.job_gauges";
    let before: String = sqlx::query_scalar(counted_at).fetch_one(&mut admin).await.unwrap();
    run(
        &mut admin,
        "DELETE FROM control.jobs; UPDATE control.job_gauges SET body = jsonb_set(body, '{0,dead}', '7')",
    )
    .await;
    let worker = Running::start(db.clone(), Registry::new(), &quick());
    let told = line("dead", 7);
    eventually("the other's count is told", async || {
        metrics.render().lines().any(|found| found == told).then_some(())
    })
    .await;
    worker.stop().await;
    let after: String = sqlx::query_scalar(counted_at).fetch_one(&mut admin).await.unwrap();
    assert_eq!(before, after);

    run(
        &mut admin,
        "UPDATE control.job_gauges SET counted_at = now() - interval '16 seconds'",
    )
    .await;
    let worker = Running::start(db, Registry::new(), &quick());
    eventually("it is counted anew", async || {
        let now: String = sqlx::query_scalar("SELECT body::text FROM control.job_gauges")
            .fetch_one(&mut admin)
            .await
            .unwrap();
        (now == "[]").then_some(())
    })
    .await;
    worker.stop().await;
}
