//! PostgreSQL is restarted at once, without a word to its clients, while workers are idle and in the middle of jobs.

use std::time::Duration;

use rand::Rng;
use tokio::time::sleep;

use crate::{
    field::{Field, has_ended, until},
    harness::{Postgres, TestDb},
    kills::Steady,
    plan::{Plan, Scenario},
    report::{Report, progress},
    worker::Work,
};

/// From the moment the server accepts to the start of a job.
const BAR: Duration = Duration::from_secs(5);

pub(crate) async fn run(plan: Plan) -> Report {
    let rounds = plan.rounds(20, 3);
    let mut rng = plan.rng(Scenario::Restarts);
    // What was committed has to be on the disk.
    let server = Postgres::start_with("-c fsync=on -c max_connections=200 -c max_locks_per_transaction=256").await;
    let field = Field::new(&plan, TestDb::on(server.url()).await).await;
    let workers = [field.worker().await, field.worker().await];
    let (mut n, mut waits) = (0, Vec::new());
    let mut report = Report::new(rounds, format!("{rounds} immediate restarts of PostgreSQL"));
    for round in 1..=rounds {
        let is_idle = round % 2 == 1;
        let steady = (!is_idle).then(|| Steady::start(field.feeder(), 15));
        sleep(Duration::from_millis(rng.gen_range(500..2_000))).await;
        server.stop().await;
        server.resume().await;
        let accepts = moment(&field).await;
        let wait = until_consuming(&field, accepts).await;
        match wait {
            Some(wait) => waits.push(wait),
            None => report.anomaly("nothing was consumed within a minute"),
        }
        n += 1;
        if let Some(steady) = steady {
            n += steady.stop().await;
        }
        progress(&format!(
            "restart {round} of {rounds}, idle {is_idle}: consuming after {:.2} s",
            wait.unwrap_or_default().as_secs_f64()
        ));
        for worker in &workers {
            if has_ended(worker).await {
                report.anomaly("a worker ended with its database");
                return report;
            }
        }
    }
    field.settle(&mut report, n, Duration::from_secs(120)).await;
    waits.sort();
    let (longest, median) = (
        waits.last().copied().unwrap_or_default(),
        waits.get(waits.len() / 2).copied().unwrap_or_default(),
    );
    report.checked(format!(
        "consuming again after {:.1} s at the median",
        median.as_secs_f64()
    ));
    if plan.is_short {
        report.checked(format!("{:.1} s at most (not judged)", longest.as_secs_f64()));
    } else {
        report.within("at most", longest, BAR);
    }
    for mut worker in workers {
        worker.stop().await;
    }
    report
}

/// The server's time, as soon as it accepts.
async fn moment(field: &Field) -> f64 {
    let mut admin = field.admin().await;
    sqlx::query_scalar("SELECT extract(EPOCH FROM clock_timestamp())::float8")
        .fetch_one(&mut admin)
        .await
        .unwrap()
}

/// Enqueues a job at once, and gives the time to the first start of any since `accepts`.
async fn until_consuming(field: &Field, accepts: f64) -> Option<Duration> {
    let mut feeder = field.feeder();
    let since = format!("SELECT count(*) FROM chaos.starts WHERE at >= to_timestamp({accepts})");
    let added = until(Duration::from_secs(60), async || {
        feeder.add(&Work { ms: 5 }).await.is_ok()
    })
    .await;
    let started = added && until(Duration::from_secs(60), async || field.number(&since).await > 0).await;
    let first =
        format!("SELECT extract(EPOCH FROM min(at)) - {accepts} FROM chaos.starts WHERE at >= to_timestamp({accepts})");
    if started {
        Some(field.longest(&first).await)
    } else {
        None
    }
}
