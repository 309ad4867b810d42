//! A worker stands still for longer than its lease (SIGSTOP), another takes its jobs, and it wakes up again (SIGCONT).

use std::time::Duration;

use rand::Rng;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    field::{Field, signal, until},
    harness::TestDb,
    plan::{Plan, Scenario},
    report::Report,
    worker::Work,
};

/// Jobs in the hands of the worker that stands still.
const JOBS: usize = 8;

pub(crate) async fn run(plan: Plan) -> Report {
    let rounds = plan.rounds(5, 2);
    let mut rng = plan.rng(Scenario::Stops);
    let field = Field::new(&plan, TestDb::new().await).await;
    let mut feeder = field.feeder();
    // 40 s with the lease of 15 s.
    let standstill = plan.lease().mul_f64(40.0 / 15.0);
    let mut report = Report::new(
        rounds,
        format!("{rounds} SIGSTOPs of {:.0} s", standstill.as_secs_f64()),
    );
    for round in 1..=rounds {
        let mut away = field.worker().await;
        for _ in 0..JOBS {
            feeder
                .add(&Work {
                    ms: rng.gen_range(700..1_300),
                })
                .await
                .unwrap();
        }
        let pid = away.pid();
        let started = format!("SELECT count(*) FROM chaos.starts WHERE pid = {pid}");
        if !until(Duration::from_secs(20), async || {
            field.number(&started).await >= JOBS as i64
        })
        .await
        {
            report.anomaly("the worker did not start its jobs");
        }
        signal(&away, "STOP").await;
        let awake = Instant::now() + standstill;
        let mut heir = field.worker().await;
        let done = "SELECT count(*) FROM control.jobs WHERE state = 'done'";
        let n_all = (round * JOBS) as i64;
        if !until(plan.bound(Duration::from_secs(60)), async || {
            field.number(done).await == n_all
        })
        .await
        {
            report.anomaly("nobody took the jobs over");
        }
        sleep_until(awake).await;
        signal(&away, "CONT").await;
        // What it was about to do it tries now; its end waits for that.
        sleep(Duration::from_secs(1)).await;
        if !away.stop().await || !heir.stop().await {
            report.anomaly("a worker did not end well");
        }
    }
    field.settle(&mut report, rounds * JOBS, Duration::ZERO).await;
    let by_first = format!("SELECT count(*) FROM {} AS e WHERE attempt = 1", field.effects());
    report.none(field.number(&by_first).await, "effects by a stale lease");
    let n_refused = field.number("SELECT count(*) FROM chaos.refusals").await;
    report.checked(format!("{n_refused} commits under a stale lease refused"));
    report
}
