//! Webhooks: what is written, what is sent, and what becomes of it.

mod api;
mod disabling;
mod endpoints;
mod events;
mod receiver;
mod replaying;
mod sending;

use std::time::Duration;

use bulkhead_events::{Event, Vm};
use bulkhead_iam::{Scope, permissions::SystemRole, signing_keys::Vault};
use bulkhead_jobs::Worker;
use bulkhead_kernel::{
    clock::Clock,
    config::{Config, ConfigSource, Jobs},
    ids::{MessageId, TenantId, VmId, WebhookId},
    page::PageRequest,
};
use bulkhead_tenancy::Db;
use bulkhead_webhooks::{
    Attempt, Changes, Courier, Delivery, DeliveryFilter, Minted, NewWebhook, State, Webhook, WebhookError, Webhooks,
    service,
};
use bulkhead_worker::registry::{Parts, registry};
use chrono::{DateTime, TimeDelta};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::receiver::{Message, Receiver, Reply};
use crate::{
    audit::scope,
    harness::{TestDb, eventually, run},
};

/// A tenant and what sends its events, at a time the test sets. Times in the queue are moved with it.
struct Scene {
    test: TestDb,
    db: Db,
    tenant: TenantId,
    scope: Scope,
    clock: Clock,
    webhooks: Webhooks,
    _worker: (DropGuard, JoinHandle<()>),
}

impl Scene {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With some settings of the test's own.
    async fn with(settings: &[(&str, &str)]) -> Self {
        let test = TestDb::new().await;
        let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/iam/testdata/keys");
        let usual = [
            ("DATABASE__ACQUIRE_TIMEOUT_MS", "60000"),
            ("AUTH__KEYS_DIR", keys),
            ("OUTBOUND__ALLOW_LOOPBACK", "true"),
        ];
        let own = usual.iter().chain(settings);
        let own = own.map(|(key, value)| (format!("BULKHEAD__{key}"), (*value).to_owned()));
        let env = test.settings().into_iter().chain(own);
        let config = Config::load_for(ConfigSource::from_env(env), &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let db = Db::new(&config.database).unwrap();
        let tenant = test.tenant(&db, "acme").await;
        let scope = scope(&db, tenant, SystemRole::Owner, &clock).await;
        let vault = Vault::load(&config.auth).unwrap();
        Self {
            webhooks: Webhooks::new(config.webhooks.clone(), &config.outbound, vault),
            _worker: worker(&db, &config, &clock),
            test,
            db,
            tenant,
            scope,
            clock,
        }
    }

    /// A webhook that wants these types, and its secret.
    async fn webhook(&self, url: &str, types: &[&str]) -> (WebhookId, String) {
        let minted = self.create(url, types, None).await.unwrap();
        (minted.webhook.id, minted.secret.expose().to_owned())
    }

    async fn create(&self, url: &str, types: &[&str], key: Option<&str>) -> Result<Minted, WebhookError> {
        let new = NewWebhook {
            url: url.into(),
            description: String::new(),
            event_types: types.iter().map(|&word| word.to_owned()).collect(),
        };
        let mut tx = self.db.tenant(self.tenant).await.unwrap();
        let minted = service::create(&self.scope, &mut tx, &self.webhooks, &new, key).await?;
        tx.commit().await.unwrap();
        Ok(minted)
    }

    async fn update(&self, id: WebhookId, changes: Changes) -> Webhook {
        let mut tx = self.db.tenant(self.tenant).await.unwrap();
        let updated = service::update(&self.scope, &mut tx, &self.webhooks, id, None, &changes).await;
        tx.commit().await.unwrap();
        updated.unwrap()
    }

    async fn get(&self, id: WebhookId) -> Webhook {
        let mut tx = self.db.tenant(self.tenant).await.unwrap();
        service::get(&self.scope, &mut tx, id).await.unwrap()
    }

    /// Something happens: a machine of this name is made.
    async fn emit(&self, name: &str) {
        let mut tx = self.db.tenant(self.tenant).await.unwrap();
        let origin = &self.scope.origin;
        bulkhead_events::emit(origin, &mut tx, self.clock.now(), &made(name))
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    async fn deliveries(&self, id: WebhookId) -> Vec<Delivery> {
        let mut tx = self.db.tenant(self.tenant).await.unwrap();
        let filter = DeliveryFilter {
            state: None,
            kind: None,
            page: PageRequest::new(1, 100).unwrap(),
        };
        let page = service::list_deliveries(&self.scope, &mut tx, id, &filter).await;
        page.unwrap().items
    }

    async fn delivery(&self, id: WebhookId, message: MessageId) -> (Delivery, Vec<Attempt>) {
        let mut tx = self.db.tenant(self.tenant).await.unwrap();
        service::get_delivery(&self.scope, &mut tx, id, message).await.unwrap()
    }

    /// The only delivery there is, once so many attempts are written down.
    async fn attempted(&self, id: WebhookId, n_attempts: usize) -> (Delivery, Vec<Attempt>) {
        eventually("the attempt is written down", async || {
            let message = self.deliveries(id).await.first()?.message;
            let found = self.delivery(id, message).await;
            (found.1.len() >= n_attempts).then_some(found)
        })
        .await
    }

    /// Lets the time pass until the next attempt of the only delivery, and gives how long that was.
    async fn pass(&self, id: WebhookId) -> TimeDelta {
        let delivery = self.deliveries(id).await.remove(0);
        let wait = delivery.next_attempt_at.unwrap() - self.clock.now();
        self.clock.advance(wait);
        self.due().await;
        wait
    }

    /// Makes every delivery due that was put off, as soon as its job is back in the queue.
    async fn due(&self) {
        let mut admin = self.test.connect("postgres").await;
        eventually("what was put off is due", async || {
            let running = "SELECT count(*) FROM control.jobs WHERE kind = 'webhooks.deliver' AND state = 'running'";
            (count(&mut admin, running).await == 0).then_some(())
        })
        .await;
        let due = "UPDATE control.jobs SET run_at = now() WHERE kind = 'webhooks.deliver' AND state = 'queued'";
        run(&mut admin, due).await;
    }

    /// When nothing is left to do.
    async fn settled(&self) {
        let mut admin = self.test.connect("postgres").await;
        eventually("all jobs are done", async || {
            let live = "SELECT count(*) FROM control.jobs WHERE state IN ('queued', 'running')";
            (count(&mut admin, live).await == 0).then_some(())
        })
        .await;
    }

    /// A connection past the product that sees the tenant's rows.
    async fn rows(&self) -> PgConnection {
        self.test.look_into(self.tenant).await
    }
}

async fn count(connection: &mut PgConnection, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(connection)
        .await
        .unwrap()
}

fn made(name: &str) -> Event {
    Event::VmCreated(Vm {
        id: VmId::new(),
        name: name.into(),
        status: "PROVISIONING",
    })
}

/// A worker with the product's registry, whose deliveries live at the test's time.
fn worker(db: &Db, config: &Config, clock: &Clock) -> (DropGuard, JoinHandle<()>) {
    let mut parts = Parts::new(db.clone(), config).unwrap();
    parts.courier = Courier::new(config, clock.clone());
    let quick = Jobs {
        lease: Duration::from_secs(15),
        poll: Duration::from_millis(20),
        retry_base: Duration::from_millis(20),
        retry_max: Duration::from_secs(1),
        cancel_grace: Duration::from_millis(300),
    };
    let worker = Worker::new(db.clone(), registry(parts), &quick)
        .unwrap()
        .with_concurrency(4);
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.run(stop.clone()));
    (stop.drop_guard(), running)
}

fn status(attempt: &Attempt) -> u16 {
    attempt.result.as_ref().unwrap().status
}

/// What failed and is given up.
fn is_failed(delivery: &Delivery) -> bool {
    delivery.state == State::Failed && delivery.next_attempt_at.is_none() && delivery.finished_at.is_some()
}

/// The names of the machines that these messages tell of.
fn names(messages: &[Message]) -> Vec<String> {
    let name = |message: &Message| message.json()["data"]["name"].as_str().unwrap().to_owned();
    messages.iter().map(name).collect()
}
