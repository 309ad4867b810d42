//! A nemesis for jobs: kills, stops and restarts real processes from a seed, and looks at what is left of each promise
//! (docs/chaos.md). An example of the crate of tests, so that it has their harness and no test run starts it.

#![expect(
    clippy::pedantic,
    clippy::unwrap_used,
    reason = "as in tests: it may be plain, and fail where it stands"
)]

mod field;
mod http;
mod kills;
mod mutants;
mod plan;
mod poison;
mod report;
mod restarts;
mod rolling;
mod stops;
mod ticks;
mod worker;
mod writes;

#[expect(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the nemesis needs a part of what tests need"
)]
#[path = "../harness/mod.rs"]
mod harness;

use std::{panic::AssertUnwindSafe, process::ExitCode, time::Instant};

use futures_util::{FutureExt, future::LocalBoxFuture};
use harness::optional_env;
use plan::{Plan, Scenario};
use report::Report;

/// The anomaly of a scenario that panicked; why stands above.
const BROKE_OFF: &str = "the scenario broke off";

#[tokio::main]
async fn main() -> ExitCode {
    if worker::is_wanted() {
        return worker::run().await;
    }
    if optional_env("CHAOS_MUTANTS").is_some() {
        return mutants::run().await;
    }
    let plan = Plan::from_env();
    report::progress(&format!("CHAOS_SEED={}", plan.seed));
    let mut reports = Vec::new();
    for scenario in plan.scenarios() {
        reports.push(run(scenario, &plan).await);
    }
    report::print(&plan, &reports);
    ExitCode::from(u8::from(reports.iter().any(|report| !report.anomalies.is_empty())))
}

/// One scenario. One that breaks off is an anomaly, and the others go on.
async fn run(scenario: Scenario, plan: &Plan) -> Report {
    report::progress(&format!("{} ...", scenario.name()));
    let began = Instant::now();
    let plan = plan.clone();
    let running: LocalBoxFuture<'_, Report> = match scenario {
        Scenario::Writes => writes::run(plan).boxed_local(),
        Scenario::Kills => kills::run(plan).boxed_local(),
        Scenario::Stops => stops::run(plan).boxed_local(),
        Scenario::Poison => poison::run(plan).boxed_local(),
        Scenario::Restarts => restarts::run(plan).boxed_local(),
        Scenario::Rolling => rolling::run(plan).boxed_local(),
        Scenario::Ticks => ticks::run(plan).boxed_local(),
    };
    let mut report = AssertUnwindSafe(running).catch_unwind().await.unwrap_or_else(|_| {
        let mut report = Report::default();
        report.anomaly(BROKE_OFF);
        report
    });
    report.scenario = Some(scenario);
    report.took = began.elapsed();
    for anomaly in &report.anomalies {
        report::progress(&format!("ANOMALY in {}: {anomaly}", scenario.name()));
    }
    report
}
