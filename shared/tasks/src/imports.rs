//! Many resources from one request, some hundred in each transaction.
//!
//! A batch commits with the place where the next one begins, so that none is made twice whatever dies in between. What is
//! wrong with a row is told with its number and is no reason against the others.

use std::time::Duration;

use bulkhead_iam::standing;
use bulkhead_jobs::{LogLevel, Outcome, Run};
use bulkhead_kernel::fault::Code;
use bulkhead_resources::{Attributes, NewResource, Unmade, create_many};
use bulkhead_tenancy::TenantTx;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Task, TaskError, jobs::ImportResources};

/// Rows of one transaction.
const BATCH: usize = 200;

/// Rows whose errors are told one by one.
const MAX_ERRORS: usize = 100;

/// What is told of one error at most, in characters.
const MAX_DETAIL: usize = 200;

/// How far an import is; as it is kept, and what it came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Progress {
    /// Rows that were looked at.
    rows: usize,
    created: usize,
    failed: usize,
    /// The first of what failed.
    errors: Vec<RowError>,
}

/// What is wrong with one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct RowError {
    /// Counts from 1.
    row: usize,
    code: String,
    /// Where in the row.
    pointer: String,
    detail: String,
}

impl Progress {
    fn add(&mut self, error: RowError) {
        self.failed += 1;
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        }
    }

    fn refuse(&mut self, row: usize, code: Code, pointer: &str, detail: &str) {
        self.add(RowError {
            row,
            code: code.as_str().into(),
            pointer: pointer.chars().take(MAX_DETAIL).collect(),
            detail: detail.chars().take(MAX_DETAIL).collect(),
        });
    }
}

/// A row as it was sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    attributes: Attributes,
}

/// Makes what is left to make.
pub async fn run(run: &Run, job: ImportResources) -> Outcome {
    match make(run, &job.resources).await {
        Ok(outcome) => outcome,
        Err(error) => run.fail(&error).await,
    }
}

async fn make(run: &Run, rows: &[Value]) -> Result<Outcome, TaskError> {
    let total = u64::try_from(rows.len()).ok();
    let mut progress = begin(run, rows.len()).await?;
    while progress.rows < rows.len() {
        if run.cancelled.is_cancelled() {
            let line = format!("It was stopped: {} of {} rows are done.", progress.rows, rows.len());
            run.log(LogLevel::Warn, &line).await?;
            // Nothing but an end that is none lets the job be what it was called off as.
            return Ok(Outcome::Snooze(Duration::ZERO));
        }
        progress = step(run, rows, progress).await?;
        run.progress(progress.rows as u64, total).await?;
    }
    let line = format!(
        "{} resources were created, {} rows failed.",
        progress.created, progress.failed
    );
    let level = if progress.failed == 0 {
        LogLevel::Info
    } else {
        LogLevel::Warn
    };
    run.log(level, &line).await?;
    Ok(Outcome::Done)
}

/// How far earlier attempts came.
async fn begin(run: &Run, n_rows: usize) -> Result<Progress, TaskError> {
    let mut tx = run.tenant_tx().await?;
    let kept = run.checkpoint(&mut tx).await?;
    run.commit(tx).await?;
    let progress: Progress = kept.map(serde_json::from_value).transpose()?.unwrap_or_default();
    let line = match progress.rows {
        0 => format!("{n_rows} rows are imported."),
        rows => format!("It goes on after row {rows} of {n_rows}."),
    };
    run.log(LogLevel::Info, &line).await?;
    run.progress(progress.rows as u64, u64::try_from(n_rows).ok()).await?;
    Ok(progress)
}

/// One batch, with the place where the next one begins.
async fn step(run: &Run, rows: &[Value], mut progress: Progress) -> Result<Progress, TaskError> {
    let mut tx = run.tenant_tx().await?;
    let now = run.clock.now();
    let standing = standing::find(run.db(), &mut tx, &run.origin.principal, now).await?;
    Task::Import.require(&standing)?;
    let end = rows.len().min(progress.rows + BATCH);
    let (mut numbers, mut wanted) = (Vec::new(), Vec::new());
    for (index, row) in rows.iter().enumerate().take(end).skip(progress.rows) {
        match Row::deserialize(row) {
            Ok(row) => {
                numbers.push(index + 1);
                wanted.push(NewResource {
                    kind: row.kind,
                    name: row.name,
                    attributes: row.attributes,
                });
            }
            Err(error) => progress.refuse(index + 1, Code::Validation, "", &error.to_string()),
        }
    }
    let made = create_many(&run.origin, &standing, &mut tx, &wanted, now).await?;
    for (row, made) in numbers.into_iter().zip(made) {
        match made {
            Ok(_) => progress.created += 1,
            Err(Unmade::NameTaken) => progress.refuse(row, Code::NameTaken, "/name", Code::NameTaken.title()),
            Err(Unmade::Invalid(violations)) => {
                let first = violations.first();
                let (pointer, detail) = first.map_or(("", ""), |one| (&one.pointer, &one.detail));
                progress.refuse(row, Code::Validation, pointer, detail);
            }
        }
    }
    progress.rows = end;
    keep(run, tx, &progress).await?;
    Ok(progress)
}

async fn keep(run: &Run, mut tx: TenantTx, progress: &Progress) -> Result<(), TaskError> {
    let kept = serde_json::to_value(progress)?;
    run.set_checkpoint(&mut tx, &kept).await?;
    Ok(run.commit_with(tx, &kept).await?)
}
