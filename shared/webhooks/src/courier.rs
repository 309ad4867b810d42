//! Carrying a delivery to its endpoint.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bulkhead_audit::{Actor, Event};
use bulkhead_events::jobs::DeliverWebhook;
use bulkhead_iam::signing_keys::Vault;
use bulkhead_jobs::{Outcome, Run};
use bulkhead_kernel::{
    clock::Clock,
    config::{self, Config},
    ids::TenantId,
};
use bulkhead_outbound::{Answer, Call, Outbound, Target};
use bulkhead_tenancy::{DbError, TenantTx};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::time::Instant;
use tracing::instrument;

use crate::{
    WebhookError,
    model::{Answered, Attempt, State},
    places::Places,
    secret::SigningSecret,
    store::{self, deliveries, deliveries::Due},
    verdict::{Verdict, judge, retry_after},
};

/// The part of an answer that is kept.
const KEPT_BYTES: usize = 1_024;

/// Events removed with each attempt: more than can come with it.
const PRUNED: i64 = 10;

/// Makes attempts; cheap to clone.
#[derive(Clone)]
pub struct Courier(Arc<Parts>);

struct Parts {
    outbound: Outbound,
    settings: config::Webhooks,
    auth: config::Auth,
    vault: OnceLock<Vault>,
    places: Places,
    clock: Clock,
}

/// What is sent in one attempt.
struct Parcel {
    due: Due,
    tenant: TenantId,
    job: DeliverWebhook,
}

/// What there is to do for a job.
enum Task {
    Nothing,
    Later(Duration),
    Send(Box<Parcel>),
}

impl Courier {
    /// As the settings say; reads and connects to nothing yet.
    #[must_use]
    pub fn new(config: &Config, clock: Clock) -> Self {
        Self(Arc::new(Parts {
            outbound: Outbound::new(&config.outbound),
            settings: config.webhooks.clone(),
            auth: config.auth.clone(),
            vault: OnceLock::new(),
            places: Places::default(),
            clock,
        }))
    }

    /// Makes the attempt of one job, or waits for its time. The delivery's waits are the job's: it is put off until the next
    /// attempt. A worker that dies after the endpoint's yes makes the same message go out twice, under the same id.
    #[instrument(name = "webhooks.deliver", skip_all)]
    pub async fn deliver(&self, run: &Run, job: DeliverWebhook) -> Outcome {
        let _place = match self.0.places.take(job.webhook_id) {
            Ok(place) => place,
            Err(wait) => return Outcome::Snooze(wait),
        };
        match self.carry(run, job).await {
            Ok(Some(wait)) => Outcome::Snooze(wait),
            Ok(None) => Outcome::Done,
            Err(error) => Outcome::of(&error),
        }
    }

    /// Gives how long to wait for the next attempt, if there is one.
    async fn carry(&self, run: &Run, job: DeliverWebhook) -> Result<Option<Duration>, WebhookError> {
        let parcel = match self.prepare(run, job).await? {
            Task::Nothing => return Ok(None),
            Task::Later(wait) => return Ok(Some(wait)),
            Task::Send(parcel) => parcel,
        };
        let (attempt, asked) = self.send(&parcel).await?;
        self.conclude(run, &parcel, &attempt, asked).await
    }

    /// Ends its transaction, and with it the lock of the lease, before the endpoint is called.
    async fn prepare(&self, run: &Run, job: DeliverWebhook) -> Result<Task, WebhookError> {
        let mut tx = run.tenant_tx().await?;
        let found = deliveries::find_due(&mut tx, job.webhook_id, job.message_id, job.round).await?;
        let Some(due) = found else {
            return Ok(Task::Nothing);
        };
        let now = self.0.clock.now();
        let task = if !due.is_enabled {
            let (webhook, message) = (job.webhook_id, job.message_id);
            deliveries::set_state(&mut tx, webhook, message, State::Failed, None, now).await?;
            Task::Nothing
        } else if let Ok(wait) = (due.next_attempt_at - now).to_std()
            && !wait.is_zero()
        {
            Task::Later(wait)
        } else {
            let tenant = tx.tenant();
            Task::Send(Box::new(Parcel { due, tenant, job }))
        };
        run.commit(tx).await?;
        Ok(task)
    }

    /// What came of it, and how long the endpoint asks to be left alone.
    async fn send(&self, parcel: &Parcel) -> Result<(Attempt, Option<Duration>), WebhookError> {
        let started_at = self.0.clock.now();
        let body = Bytes::from(body(&parcel.due).to_string());
        let headers = self.headers(parcel, started_at, &body)?;
        let began = Instant::now();
        let answer = match Target::parse(&parcel.due.url, self.0.outbound.policy()) {
            Ok(target) => {
                let call = Call {
                    target: &target,
                    body: Some(body),
                    headers: &headers,
                    timeout: self.0.settings.timeout,
                    max_bytes: KEPT_BYTES as u64,
                };
                self.0.outbound.send(call).await.map_err(|error| {
                    tracing::debug!(error = &error as &dyn std::error::Error, "an endpoint was not reached");
                    error.word()
                })
            }
            // It was allowed when it was written; the settings have changed since.
            Err(_) => Err("unreachable"),
        };
        let asked = answer.as_ref().ok();
        let asked = asked.and_then(|answer| retry_after(answer.header("retry-after"), started_at));
        let result = match answer {
            Ok(answer) => Ok(answered(answer).await),
            Err(word) => Err(word.to_owned()),
        };
        let attempt = Attempt {
            number: parcel.due.n_attempts + 1,
            started_at,
            duration_ms: i32::try_from(began.elapsed().as_millis()).unwrap_or(i32::MAX),
            result,
        };
        Ok((attempt, asked))
    }

    fn headers(
        &self,
        parcel: &Parcel,
        now: DateTime<Utc>,
        body: &[u8],
    ) -> Result<Vec<(&'static str, String)>, WebhookError> {
        let (due, timestamp) = (&parcel.due, now.timestamp());
        let previous = due.previous_secret.as_ref();
        let previous = previous.filter(|_| due.previous_until.is_some_and(|until| now < until));
        let mut signatures = Vec::new();
        for sealed in due.secret.iter().chain(previous) {
            let secret = SigningSecret::open(self.vault()?, parcel.tenant, parcel.job.webhook_id, sealed)?;
            signatures.push(secret.sign(parcel.job.message_id, timestamp, body));
        }
        Ok(vec![
            ("content-type", "application/json".to_owned()),
            ("webhook-id", parcel.job.message_id.to_string()),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", signatures.join(" ")),
        ])
    }

    /// Its key files may be put there after the start.
    fn vault(&self) -> Result<&Vault, WebhookError> {
        if let Some(vault) = self.0.vault.get() {
            return Ok(vault);
        }
        let vault = Vault::load(&self.0.auth).map_err(WebhookError::Vault)?;
        Ok(self.0.vault.get_or_init(|| vault))
    }

    /// Writes down what came of the attempt, and what follows for the delivery and its webhook.
    async fn conclude(
        &self,
        run: &Run,
        parcel: &Parcel,
        attempt: &Attempt,
        asked: Option<Duration>,
    ) -> Result<Option<Duration>, WebhookError> {
        let (webhook, message) = (parcel.job.webhook_id, parcel.job.message_id);
        let now = self.0.clock.now();
        let mut tx = run.tenant_tx().await?;
        if !deliveries::insert_attempt(&mut tx, webhook, message, attempt).await? {
            return Ok(None);
        }
        let mut verdict = judge(attempt, parcel.due.n_tries + 1, message, asked);
        if verdict == Verdict::Taken {
            store::clear_failing(&mut tx, webhook).await?;
        } else if self.disable(run, &mut tx, parcel, verdict, now).await? {
            verdict = Verdict::GivenUp;
        }
        let (state, wait) = match verdict {
            Verdict::Taken => (State::Succeeded, None),
            Verdict::Again(wait) => (State::Pending, Some(wait)),
            Verdict::GivenUp | Verdict::Gone => (State::Failed, None),
        };
        let next = wait.and_then(|wait| Some(now + TimeDelta::from_std(wait).ok()?));
        deliveries::set_state(&mut tx, webhook, message, state, next, now).await?;
        if let Ok(keep) = TimeDelta::from_std(self.0.settings.keep) {
            deliveries::prune(&mut tx, now - keep, PRUNED).await?;
        }
        run.commit(tx).await?;
        Ok(wait)
    }

    /// Whether the webhook is disabled by now: it says that it is gone, or has failed for too long.
    async fn disable(
        &self,
        run: &Run,
        tx: &mut TenantTx,
        parcel: &Parcel,
        verdict: Verdict,
        now: DateTime<Utc>,
    ) -> Result<bool, DbError> {
        let webhook = parcel.job.webhook_id;
        let Some(since) = store::set_failing(tx, webhook, now).await? else {
            return Ok(true);
        };
        let has_failed_long = (now - since)
            .to_std()
            .is_ok_and(|long| long >= self.0.settings.disable_after);
        let reason = match verdict {
            Verdict::Gone => "gone",
            _ if has_failed_long => "failing",
            _ => return Ok(false),
        };
        store::set_disabled(tx, webhook, reason, now).await?;
        let actor = Actor {
            kind: "system",
            id: String::new(),
        };
        let event = Event::new("webhook.disable", actor, &run.origin, now)
            .on("webhook", webhook)
            .change("is_enabled", true, false)
            .change("disabled_reason", (), reason);
        bulkhead_audit::record(tx, event).await?;
        Ok(true)
    }
}

fn body(due: &Due) -> serde_json::Value {
    json!({
        "type": due.kind,
        "timestamp": due.occurred_at,
        "data": due.data,
    })
}

async fn answered(answer: Answer) -> Answered {
    let status = answer.status();
    let beginning = answer.beginning(KEPT_BYTES).await;
    Answered {
        status,
        // PostgreSQL takes no NUL in text.
        body: String::from_utf8_lossy(&beginning).replace('\0', "\u{fffd}"),
    }
}
