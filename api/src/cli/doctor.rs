//! Examinations of the deployment.

use std::time::Duration;

use bulkhead_kernel::config::Section;
use bulkhead_tenancy::{
    Db,
    doctor::{self, Check, Order, Report, Verdict},
};
use clap::{Args, Subcommand};

use super::CliError;
use crate::routes::doctor::{IsolationReport, ROUNDS};

#[derive(Debug, Subcommand)]
pub(super) enum Examination {
    /// Prove that tenants are isolated in this database and through its pooler; the exit code is 1 when they are not
    Isolation(Isolation),
}

#[derive(Debug, Args)]
pub(super) struct Isolation {
    /// How often both throw-away tenants are visited, each time in another way
    #[arg(long, default_value_t = ROUNDS, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// There is no hurry at a terminal; this only keeps a forgotten one from going on for ever.
const BUDGET: Duration = Duration::from_hours(1);

pub(super) async fn run(examination: Examination) -> Result<(), CliError> {
    let Examination::Isolation(wanted) = examination;
    let config = super::config(&[Section::Database])?;
    let db = Db::new(&config.database)?;
    let order = Order {
        rounds: wanted.rounds,
        budget: BUDGET,
    };
    let report = doctor::isolation(&db, order).await?;
    let is_passed = report.is_passed();
    super::say(&if wanted.json {
        serde_json::to_string_pretty(&IsolationReport::from(report)).unwrap_or_default()
    } else {
        text(&report)
    });
    if is_passed { Ok(()) } else { Err(CliError::NotIsolated) }
}

/// The report for a person.
fn text(report: &Report) -> String {
    let mut lines = vec![format!(
        "PostgreSQL {}, {}",
        report.server_version,
        report.pooler.describe()
    )];
    lines.extend(
        report
            .pooler
            .evidence
            .iter()
            .map(|sentence| format!("      {sentence}")),
    );
    let counts = report.rounds;
    lines.push(format!(
        "{} rounds, {} entries, {} searches of a server process",
        counts.done, counts.entries, counts.searches
    ));
    for check in &report.checks {
        lines.push(line(check));
        lines.extend(check.advice.iter().map(|advice| format!("      {advice}")));
    }
    lines.push(if report.is_passed() {
        "Tenants are isolated.".to_owned()
    } else {
        "FAILED: something above is wrong with this deployment.".to_owned()
    });
    lines.join("\n")
}

fn line(check: &Check) -> String {
    let verdict = match check.verdict {
        Verdict::Passed => "ok   ",
        Verdict::Noted => "note ",
        Verdict::Failed => "FAIL ",
    };
    format!("{verdict} {:<21} {}", check.name, check.detail)
}
