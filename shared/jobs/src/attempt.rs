//! One attempt: the handler under its lease, what becomes of the job, and the event that tells of both.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use bulkhead_kernel::{
    origin::Origin,
    telemetry::{fields, metrics, trace},
};
use bulkhead_tenancy::{DbError, DbMeter};
use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::Instrument;

use crate::{
    Outcome, Queue, Run,
    engine::{Claimed, Engine},
    inflight::Held,
    outcome::{Fate, State},
    store::JobRow,
};

/// How the time of the handler ended.
enum End {
    /// It came to an outcome.
    Finished(Outcome),
    /// It came to an outcome after its deadline.
    FinishedLate(Outcome),
    /// The worker has to go; the handler was dropped.
    Stopped,
    /// The lease is somebody else's; the handler was dropped.
    Lost,
    /// Somebody wants it ended; the handler did not end in its grace and was dropped.
    Cancelled,
    /// Its deadline has passed; the handler did not end in its grace and was dropped.
    Overdue,
}

/// Runs the job to its end and settles it.
pub(crate) async fn attempt(engine: Arc<Engine>, claimed: Claimed) {
    let Claimed { row, held } = claimed;
    let started = Instant::now();
    let kind = engine.registry.get(&row.kind).map_or("unknown", |(kind, _)| kind);
    let span = tracing::info_span!(
        "job",
        { fields::JOB_KIND } = kind,
        { fields::JOB_ID } = %row.id,
        { fields::REQUEST_ID } = row.origin.request_id,
    );
    if let Some(traceparent) = &row.origin.traceparent {
        trace::link(&span, traceparent);
    }
    let meter = DbMeter::default();
    async {
        let end = tokio::select! {
            biased;
            outcome = meter.measure(invoke(&engine, &row, &held)) => {
                let is_overdue = row.left.is_some_and(|left| started.elapsed() >= left);
                if is_overdue { End::FinishedLate(outcome) } else { End::Finished(outcome) }
            }
            () = held.lost().cancelled() => End::Lost,
            () = engine.hard_stop.cancelled() => End::Stopped,
            end = call_off(&row, &held, engine.settings.cancel_grace) => end,
        };
        let conclusion = conclude(&engine, &row, &held, end).await;
        report(&row, kind, &conclusion, started.elapsed(), &meter);
    }
    .instrument(span)
    .await;
    drop(held);
    // There is a place, and its tenant may be under its limit again.
    engine.wake.notify_one();
}

/// Waits until the job is to end, says so to the handler, and gives it some time to clean up.
async fn call_off(row: &JobRow, held: &Held, grace: Duration) -> End {
    let deadline = async {
        match row.left {
            Some(left) => tokio::time::sleep(left).await,
            None => std::future::pending().await,
        }
    };
    let end = tokio::select! {
        () = held.cancelled().cancelled() => End::Cancelled,
        () = deadline => End::Overdue,
    };
    held.cancelled().cancel();
    tokio::time::sleep(grace).await;
    end
}

/// Calls the handler, unless the job's tenant is gone. A panic is an outcome like any other.
async fn invoke(engine: &Engine, row: &JobRow, held: &Held) -> Outcome {
    if !row.is_tenant_known {
        return Outcome::Discard("its tenant does not exist".into());
    }
    let Some((kind, handler)) = engine.registry.get(&row.kind) else {
        return Outcome::Retry("there is no handler for its kind".into());
    };
    let run = Run {
        job: row.id,
        kind,
        attempt: row.attempt.number,
        is_last_attempt: row.attempt.number >= row.attempt.max,
        origin: Origin {
            traceparent: trace::current_traceparent().or_else(|| row.origin.traceparent.clone()),
            ..row.origin.clone()
        },
        tenant: row.tenant,
        clock: engine.clock.clone(),
        cancelled: held.cancelled().clone(),
        is_visible: row.is_visible,
        db: engine.db.clone(),
        token: row.attempt.token,
    };
    let running = async { handler(run, row.payload.clone()).await };
    match AssertUnwindSafe(running).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(panic) => Outcome::Retry(format!("the handler panicked: {}", panic_text(&*panic))),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a text")
}

/// How the attempt ended, for people.
struct Conclusion {
    word: &'static str,
    error: Option<String>,
}

impl Conclusion {
    const LOST: Self = Self {
        word: "lost",
        error: None,
    };
}

/// Writes what becomes of the job.
async fn conclude(engine: &Engine, row: &JobRow, held: &Held, end: End) -> Conclusion {
    let (mut word, fate) = match end {
        End::Lost => return Conclusion::LOST,
        End::Stopped => ("released", Fate::RELEASED),
        End::Cancelled => ("cancelled", Fate::Cancelled),
        End::Overdue => ("dead", Fate::after_deadline(None)),
        End::FinishedLate(outcome) => (outcome.word(), Fate::after_deadline(Some(outcome))),
        End::Finished(outcome) => (outcome.word(), Fate::after(outcome, row.attempt, &engine.settings)),
    };
    match settle(engine, row, held, &fate).await {
        Settled::As(state @ (State::Dead | State::Cancelled)) => word = state.as_str(),
        Settled::As(_) => {}
        Settled::Lost => return Conclusion::LOST,
        Settled::No => word = "unsettled",
    }
    Conclusion {
        word,
        error: fate.error().map(str::to_owned),
    }
}

enum Settled {
    As(State),
    /// Somebody else has the job; the outcome is dropped.
    Lost,
    /// The database refused it, or did not answer until we had to go; the lease will run out.
    No,
}

/// How often a statement may be refused before it is given up.
const MAX_REFUSALS: u32 = 3;

/// Tries until it is written, the lease is known to be lost, or the worker has to go.
async fn settle(engine: &Engine, row: &JobRow, held: &Held, fate: &Fate) -> Settled {
    let mut wait = Duration::from_millis(50);
    let mut n_refusals = 0;
    loop {
        match engine.settle(row, fate).await {
            Ok(Some(state)) => return Settled::As(state),
            Ok(None) => return Settled::Lost,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "an outcome could not be written"
                );
                n_refusals += u32::from(matches!(error, DbError::Failed(_)));
            }
        }
        if n_refusals == MAX_REFUSALS {
            return Settled::No;
        }
        tokio::select! {
            biased;
            () = held.lost().cancelled() => return Settled::Lost,
            () = engine.hard_stop.cancelled() => return Settled::No,
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(Duration::from_secs(1)),
        }
    }
}

/// The one event of an attempt.
fn report(row: &JobRow, kind: &'static str, conclusion: &Conclusion, elapsed: Duration, meter: &DbMeter) {
    let queue = Queue::label(&row.queue);
    metrics::job_run(kind, queue, conclusion.word).record(elapsed.as_secs_f64());
    if conclusion.word == State::Dead.as_str() {
        metrics::jobs_dead(kind, queue).increment(1);
    }
    macro_rules! event {
        ($level:ident) => {
            tracing::$level!(
                { fields::JOB_KIND } = kind,
                { fields::JOB_ID } = %row.id,
                { fields::JOB_QUEUE } = row.queue,
                { fields::JOB_ATTEMPT } = row.attempt.number,
                { fields::JOB_WAIT_MS } = row.wait_ms,
                { fields::TENANT_ID } = row.tenant.map(tracing::field::display),
                { fields::PRINCIPAL_ID } = row.origin.principal,
                { fields::REQUEST_ID } = row.origin.request_id,
                { fields::OUTCOME } = conclusion.word,
                { fields::ERROR } = conclusion.error.as_deref(),
                { fields::DURATION_MS } = elapsed.as_secs_f64() * 1000.0,
                { fields::DB_QUERIES } = meter.queries(),
                { fields::DB_MS } = meter.held_ms(),
                "job.run"
            )
        };
    }
    match conclusion.word {
        "dead" => event!(error),
        "retry" | "lost" | "unsettled" => event!(warn),
        _ => event!(info),
    }
}
