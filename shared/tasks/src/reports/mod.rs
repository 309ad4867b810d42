//! A report over what the tenant has and does, as one table: CSV as in RFC 4180.
//!
//! It is read in one transaction, section by section, and becomes the file of its job.

mod model;
mod store;

use bulkhead_iam::standing;
use bulkhead_jobs::{JobFile, LogLevel, Outcome, Run};
use bulkhead_tenancy::TenantTx;
use serde_json::json;

use self::model::Report;
use crate::{Task, TaskError, jobs::ReportUsage};

/// Sections of a report.
const SECTIONS: u64 = 5;

/// Writes the report.
pub async fn run(run: &Run, job: ReportUsage) -> Outcome {
    match write(run, &job).await {
        Ok(()) => Outcome::Done,
        Err(error) => run.fail(&error).await,
    }
}

async fn write(run: &Run, job: &ReportUsage) -> Result<(), TaskError> {
    let mut tx = run.tenant_tx().await?;
    let standing = standing::find(run.db(), &mut tx, &run.origin.principal, run.clock.now()).await?;
    Task::Report.require(&standing)?;
    let report = read(run, &mut tx, job).await?;
    let n_rows = report.n_rows();
    let content = report.into_csv();
    let result = json!({
        "from": job.from,
        "to": job.to,
        "rows": n_rows,
        "bytes": content.len(),
        "download": format!("/api/v1/jobs/{}/result", run.job),
    });
    let day = |time: chrono::DateTime<chrono::Utc>| time.format("%Y-%m-%d").to_string();
    let file = JobFile {
        name: format!("usage-{}-{}.csv", day(job.from), day(job.to)),
        media_type: "text/csv; charset=utf-8".into(),
        content,
    };
    // Before the lease is held, since it is a transaction of its own.
    run.log(LogLevel::Info, &format!("The report has {n_rows} rows."))
        .await?;
    run.set_file(&mut tx, &file).await?;
    Ok(run.commit_with(tx, &result).await?)
}

async fn read(run: &Run, tx: &mut TenantTx, job: &ReportUsage) -> Result<Report, TaskError> {
    let mut report = Report::default();
    run.progress(0, Some(SECTIONS)).await?;
    report.add("members", store::members(tx).await?);
    run.progress(1, Some(SECTIONS)).await?;
    report.add("roles", store::roles(tx).await?);
    run.progress(2, Some(SECTIONS)).await?;
    report.add("resources", store::resources(tx).await?);
    run.progress(3, Some(SECTIONS)).await?;
    report.add("machines", store::machines(tx).await?);
    run.progress(4, Some(SECTIONS)).await?;
    report.add("audit_events", store::audit_events(tx, job.from, job.to).await?);
    run.progress(SECTIONS, Some(SECTIONS)).await?;
    Ok(report)
}
