//! Background jobs over a real table: what is promised to those who enqueue and to those who handle.

mod aborts;
mod cancel;
mod closed;
mod enqueue;
mod fair;
mod gauges;
mod leases;
mod outcomes;
mod parking;
mod process;
mod restarts;
mod retention;
mod schedules;
mod stop;
mod tenants;
mod unknown;
mod wake;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bulkhead_jobs::{Health, Job, Owner, Registry, Worker, enqueue_for};
use bulkhead_kernel::{
    config::Jobs,
    ids::{JobId, TenantId},
    origin::Origin,
};
use bulkhead_tenancy::Db;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::{TestDb, eventually};

/// A job that most tests use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Ping {
    note: String,
    key: Option<String>,
}

impl Job for Ping {
    const KIND: &'static str = "test.ping";
    const MAX_ATTEMPTS: u16 = 4;

    fn unique_key(&self) -> Option<String> {
        self.key.clone()
    }
}

fn ping(note: &str) -> Ping {
    Ping {
        note: note.into(),
        key: None,
    }
}

/// What a handler does to the world, where a test looks for effects: nobody handles it.
#[derive(Serialize, Deserialize)]
struct Effect;

impl Job for Effect {
    const KIND: &'static str = "test.effect";
}

/// What handlers noted, in order.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn add(&self, note: impl Into<String>) {
        self.0.lock().unwrap().push(note.into());
    }

    fn list(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    async fn wait_for(&self, n: usize) {
        eventually("handlers have noted enough", async || {
            (self.list().len() >= n).then_some(())
        })
        .await;
    }
}

/// Short times, so that a test need not wait for them.
fn quick() -> Jobs {
    Jobs {
        lease: Duration::from_millis(1500),
        poll: Duration::from_millis(20),
        retry_base: Duration::from_millis(20),
        retry_max: Duration::from_secs(1),
        cancel_grace: Duration::from_millis(300),
    }
}

fn origin() -> Origin {
    Origin {
        principal: "usr_of_the_test".into(),
        request_id: "request-1".into(),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        address: None,
        agent: None,
    }
}

/// A worker inside the test.
struct Running {
    health: Health,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// One that runs one job at a time.
    fn start(db: Db, registry: Registry, settings: &Jobs) -> Self {
        Self::of(Worker::new(db, registry, settings).unwrap())
    }

    fn of(worker: Worker) -> Self {
        let stop = CancellationToken::new();
        Self {
            health: worker.health(),
            task: tokio::spawn(worker.run(stop.clone())),
            stop,
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// A job's row.
#[derive(Debug)]
struct Row {
    state: String,
    attempt: i16,
    lost_leases: i16,
    run_at: DateTime<Utc>,
    lease_until: Option<DateTime<Utc>>,
    last_error: Option<String>,
}

async fn row(test: &TestDb, job: JobId) -> Row {
    sqlx::query_as!(
        Row,
        r#"
        SELECT state, attempt, lost_leases, run_at, lease_until, last_error
        FROM control.jobs
        WHERE id = $1
        "#,
        job.uuid(),
    )
    .fetch_one(&mut test.connect("postgres").await)
    .await
    .unwrap()
}

async fn reaches(test: &TestDb, job: JobId, state: &str) -> Row {
    eventually(&format!("the job is {state}"), async || {
        let row = row(test, job).await;
        (row.state == state).then_some(row)
    })
    .await
}

async fn count(test: &TestDb, kind: &str) -> i64 {
    sqlx::query_scalar!(r#"SELECT count(*) AS "n!" FROM control.jobs WHERE kind = $1"#, kind)
        .fetch_one(&mut test.connect("postgres").await)
        .await
        .unwrap()
}

/// Enqueues for a tenant, from outside of it.
async fn submit_for<J: Job>(db: &Db, tenant: TenantId, job: &J) -> JobId {
    let mut tx = db.control().await.unwrap();
    let id = enqueue_for(&origin(), &mut tx, Owner::Tenant(tenant), job).await;
    tx.commit().await.unwrap();
    id.unwrap().unwrap()
}

/// Enqueues for the platform.
async fn submit<J: Job>(db: &Db, job: &J) -> JobId {
    let mut tx = db.control().await.unwrap();
    let id = enqueue_for(&origin(), &mut tx, Owner::Platform, job)
        .await
        .unwrap()
        .unwrap();
    tx.commit().await.unwrap();
    id
}
