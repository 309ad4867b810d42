//! A job that aborts its process, amid others.

use std::time::Duration;

use crate::{
    field::{Field, until},
    harness::TestDb,
    kills::{Steady, revive},
    plan::Plan,
    report::Report,
    worker::Abort,
};

/// How often it may take a process down.
const MAX_DEATHS: i64 = 3;

pub(crate) async fn run(plan: Plan) -> Report {
    let rounds = plan.rounds(3, 1);
    let field = Field::new(&plan, TestDb::new().await).await;
    let mut workers = vec![field.worker().await, field.worker().await];
    let steady = Steady::start(field.feeder(), 20);
    let mut feeder = field.feeder();
    let (mut n_deaths, mut report) = (0, Report::default());
    for _ in 0..rounds {
        let job = feeder.add(&Abort).await.unwrap().uuid();
        let starts = format!("SELECT count(*) FROM chaos.starts WHERE job = '{job}'");
        let dead = format!("SELECT count(*) FROM control.jobs WHERE id = '{job}' AND state = 'dead'");
        let over = async || {
            n_deaths += revive(&field, &mut workers).await;
            field.number(&dead).await == 1 || field.number(&starts).await > MAX_DEATHS
        };
        if !until(plan.bound(Duration::from_secs(180)), over).await {
            report.anomaly("the job is still not dead");
        }
        let n_starts = field.number(&starts).await;
        report.none(
            (n_starts - MAX_DEATHS).max(0),
            "starts too many of a job that kills its worker",
        );
    }
    // A job that is never given up goes on to kill; the others are looked at without it.
    field
        .number(
            "WITH gone AS (DELETE FROM control.jobs WHERE kind = 'chaos.abort' RETURNING id) SELECT count(*) FROM gone",
        )
        .await;
    n_deaths += revive(&field, &mut workers).await;
    let n = steady.stop().await;
    (report.rounds, report.faults) = (rounds, format!("{n_deaths} deaths by {rounds} jobs that abort"));
    field.settle(&mut report, n, plan.bound(Duration::from_secs(90))).await;
    let late = format!(
        "SELECT extract(EPOCH FROM e.at - j.created_at) FROM {} AS e JOIN control.jobs AS j ON j.id = e.job",
        field.effects()
    );
    report.within(
        "others late by",
        field.longest(&late).await,
        plan.bound(Duration::from_secs(60)),
    );
    for mut worker in workers {
        worker.stop().await;
    }
    report
}
