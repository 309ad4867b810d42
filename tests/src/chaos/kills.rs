//! Workers die by SIGKILL under a steady queue and are started again with the same arguments.

use std::time::Duration;

use rand::Rng;
use sqlx::AssertSqlSafe;
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use crate::{
    field::{Feeder, Field, has_ended, until},
    harness::{TestDb, run as execute, server::Server},
    plan::{Plan, Scenario},
    report::{Report, progress},
    worker::Work,
};

/// From a death to the start of the attempt that followed, for each job that died and still had to be done. The death is the
/// first after the start, since process ids come again. Where the following attempt died before it could note
/// its start there is nothing to measure.
const RESTARTS: &str = "
    SELECT extract(EPOCH FROM next.at - kill.at)
    FROM chaos.starts AS s
             JOIN chaos.starts AS next ON next.job = s.job AND next.attempt = s.attempt + 1
             CROSS JOIN LATERAL (SELECT min(k.at) AS at FROM chaos.kills AS k WHERE k.pid = s.pid AND k.at > s.at) AS kill
    WHERE next.at > kill.at";

/// How many workers there are.
const WORKERS: usize = 3;

pub(crate) async fn run(plan: Plan) -> Report {
    let rounds = plan.rounds(200, 8);
    let mut rng = plan.rng(Scenario::Kills);
    let field = Field::new(&plan, TestDb::new().await).await;
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(field.worker().await);
    }
    let steady = Steady::start(field.feeder(), 15);
    let mut admin = field.admin().await;
    for round in 1..=rounds {
        let pause = if plan.is_short { 200..700 } else { 400..1500 };
        sleep(Duration::from_millis(rng.gen_range(pause))).await;
        spare_the_unlucky(&field).await;
        let victim = workers.remove(rng.gen_range(0..WORKERS));
        let pid = victim.pid();
        victim.kill().await;
        execute(&mut admin, &format!("INSERT INTO chaos.kills (pid) VALUES ({pid})")).await;
        workers.push(field.worker().await);
        if round % 50 == 0 {
            progress(&format!("{round} of {rounds}"));
        }
    }
    let n = steady.stop().await;
    let mut report = Report::new(rounds, format!("{rounds} SIGKILLs of {WORKERS} workers"));
    field.settle(&mut report, n, Duration::from_secs(180)).await;
    let n_rerun = field
        .number(&format!("SELECT count(*) FROM ({RESTARTS}) AS restarts"))
        .await;
    report.checked(format!("{n_rerun} died with their worker"));
    let bound = plan.bound(Duration::from_secs(30));
    report.within("running again after", field.longest(RESTARTS).await, bound);
    if field.longest(RESTARTS).await > bound {
        report.anomaly(format!("the slowest: {}", slowest(&field).await));
    }
    if n_rerun == 0 {
        report.anomaly("no job was hit");
    }
    for mut worker in workers {
        worker.stop().await;
    }
    report
}

/// The life of the job that was kept waiting longest, for whoever looks into it: seconds from its first start.
async fn slowest(field: &Field) -> String {
    let sql = format!(
        "WITH worst AS (SELECT s.job {} ORDER BY next.at - kill.at DESC LIMIT 1), \
         life AS (SELECT s.at, 'start ' || s.attempt || ' pid ' || s.pid AS what FROM chaos.starts AS s JOIN worst USING (job) \
                  UNION ALL SELECT k.at, 'kill of ' || k.pid FROM chaos.kills AS k \
                            WHERE k.pid IN (SELECT s.pid FROM chaos.starts AS s JOIN worst USING (job)) \
                  UNION ALL SELECT e.at, 'effect' FROM {} AS e JOIN worst USING (job)) \
         SELECT string_agg(round(extract(EPOCH FROM at - (SELECT min(at) FROM life)), 1) || ' s ' || what, ', ' ORDER BY at) \
                || (SELECT format('; lost %s, attempt %s, %s', lost_leases, attempt, last_error) \
                    FROM control.jobs JOIN worst ON id = job) \
         FROM life",
        &RESTARTS[RESTARTS.find("FROM chaos").unwrap()..],
        field.effects()
    );
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(&mut field.admin().await)
        .await
        .unwrap()
}

/// A third death would make a job that did nothing wrong look like poison, which is another scenario's business.
async fn spare_the_unlucky(field: &Field) {
    let unlucky = "SELECT count(*) FROM control.jobs WHERE state <> 'done' AND lost_leases >= 2";
    until(Duration::from_secs(60), async || field.number(unlucky).await == 0).await;
}

/// Keeps jobs coming until it is told to stop.
pub(crate) struct Steady {
    stop: watch::Sender<bool>,
    task: JoinHandle<usize>,
}

impl Steady {
    /// One about every `ms`. A database that is away is waited for.
    pub(crate) fn start(mut feeder: Feeder, ms: u64) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut n = 0;
            while !*stopped.borrow() {
                // Lengths differ, so that deaths find jobs at every step of theirs.
                let job = Work {
                    ms: (n as u64 * 37) % 400,
                };
                n += usize::from(feeder.add(&job).await.is_ok());
                sleep(Duration::from_millis(ms)).await;
            }
            n
        });
        Self { stop, task }
    }

    /// How many were enqueued for sure.
    pub(crate) async fn stop(self) -> usize {
        self.stop.send_replace(true);
        self.task.await.unwrap()
    }
}

/// Replaces those that have died.
pub(crate) async fn revive(field: &Field, workers: &mut [Server]) -> usize {
    let mut n = 0;
    for worker in workers {
        if has_ended(worker).await {
            *worker = field.worker().await;
            n += 1;
        }
    }
    n
}
