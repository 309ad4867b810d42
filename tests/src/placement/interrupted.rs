//! Moves that are killed and called off wherever they are.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use bulkhead_jobs::{Job, Outcome, Owner, Registry, Worker, enqueue_for};
use bulkhead_kernel::{clock::Clock, config, ids::TenantId};
use bulkhead_tenancy::{Cluster, Db, Message};
use bulkhead_tenants::{Keeper, moves, moves::MoveState};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{Pair, cluster_b, is_gone, origin, rows};
use crate::harness::eventually;

/// Lets a future run for so many turns and then drops it, as a process that is killed does. Gives whether it had ended.
pub(super) async fn cut<F: Future>(work: F, polls: usize) -> bool {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match work.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// What the worker of a cluster does with its tenants' waiting jobs.
pub(super) async fn settle(pair: &Pair, cluster: &Cluster) {
    let settings = config::Config::load_for(config::ConfigSource::from_env(pair.home.settings()), &[]);
    let settings = settings.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let nothing = Arc::new(|_| -> futures_util::future::BoxFuture<'static, _> { Box::pin(async { Ok(true) }) });
    let keeper = Keeper::new(pair.db.at(cluster).unwrap(), &settings, Clock::system(), nothing);
    keeper.sweep(&CancellationToken::new()).await.unwrap();
}

/// A job that leaves a trace of each time it runs.
#[derive(Serialize, Deserialize)]
struct Mark {
    n: usize,
}

impl Job for Mark {
    const KIND: &'static str = "test.mark";
    const MAX_ATTEMPTS: u16 = 100;
}

type Marks = Arc<Mutex<BTreeMap<usize, usize>>>;

/// A worker of one cluster.
fn worker(db: Db, marks: &Marks, stop: &CancellationToken) -> tokio::task::JoinHandle<()> {
    let marks = Arc::clone(marks);
    let registry = Registry::new().handle::<Mark, _, _>(move |run, job| {
        let marks = Arc::clone(&marks);
        async move {
            // An effect of the tenant's own, which counts only if it is committed.
            let done: Result<(), bulkhead_tenancy::DbError> = async {
                let mut tx = run.tenant_tx().await?;
                let insert =
                    "INSERT INTO roles (id, name, description, is_system) VALUES (gen_random_uuid(), $1, '', false)";
                sqlx::query(insert)
                    .bind(format!("mark {}", job.n))
                    .execute(tx.conn())
                    .await?;
                run.commit(tx).await
            }
            .await;
            match done {
                Ok(()) => {
                    *marks.lock().unwrap().entry(job.n).or_default() += 1;
                    Outcome::Done
                }
                Err(_) => Outcome::Snooze(Duration::from_millis(20)),
            }
        }
    });
    let settings = config::Jobs {
        lease: Duration::from_secs(20),
        poll: Duration::from_millis(50),
        retry_base: Duration::from_millis(20),
        retry_max: Duration::from_secs(1),
        cancel_grace: Duration::from_millis(300),
    };
    let worker = Worker::new(db, registry, &settings).unwrap();
    tokio::spawn(worker.run(stop.clone()))
}

async fn enqueue(db: &Db, tenant: TenantId, n: usize) {
    // As a request does, inside the tenant, wherever it is.
    let mut tx = db.tenant(tenant).await.unwrap();
    bulkhead_jobs::enqueue(&origin(), &mut tx, &Mark { n }).await.unwrap();
    tx.commit().await.unwrap();
}

async fn marked(db: &Db, tenant: TenantId) -> usize {
    let message = Message::new().sql("SELECT count(*) FROM roles WHERE name LIKE 'mark %'");
    let rows = db.read(tenant, &message).await.unwrap();
    let n: i64 = sqlx::Row::get(&rows[0][0], 0);
    n.try_into().unwrap()
}

/// Names of roles are unique, so a job that had its effect twice would fail its test loudly; one that never had it is
/// missed at the end.
#[tokio::test]
async fn a_hundred_random_kills_and_aborts_lose_no_row_and_run_no_job_twice() {
    let pair = Pair::new().await;
    let tenant = pair.tenant("acme").await;
    let (marks, stop) = (Marks::default(), CancellationToken::new());
    let workers = [Cluster::home(), cluster_b()].map(|cluster| worker(pair.db.at(&cluster).unwrap(), &marks, &stop));
    let seed: u64 = 20_261_121;
    let mut random = StdRng::seed_from_u64(seed);
    let (mut n_interrupted, mut n_aborted, mut n_moved, mut n_jobs) = (0, 0, 0, 0);
    while n_interrupted < 100 {
        let from = pair.place(tenant).await;
        let to = if from.is_home() { cluster_b() } else { Cluster::home() };
        enqueue(&pair.db, tenant, n_jobs).await;
        n_jobs += 1;
        let begun = moves::service::start(&origin(), &pair.db, tenant, &to).await.unwrap();
        let wants_abort = random.gen_bool(0.6);
        loop {
            let has_ended = cut(moves::carry_out(&pair.db, begun.id, None), random.gen_range(0..500)).await;
            if has_ended {
                break;
            }
            n_interrupted += 1;
            if wants_abort
                && moves::service::abort(&origin(), &pair.db, tenant, begun.id)
                    .await
                    .is_ok()
            {
                moves::carry_out(&pair.db, begun.id, None).await.unwrap();
                break;
            }
        }
        let ended = moves::service::get(&pair.db, tenant, begun.id).await.unwrap();
        let (place, left) = match ended.state {
            MoveState::Done => (to, from),
            MoveState::Aborted => (from, to),
            other => panic!("{other:?} after {n_interrupted} of seed {seed}: {ended:?}"),
        };
        assert!(
            ended.error.as_deref().is_none_or(|why| why == "called off"),
            "{ended:?}"
        );
        n_aborted += usize::from(ended.state == MoveState::Aborted);
        n_moved += usize::from(ended.state == MoveState::Done);
        assert_eq!(pair.place(tenant).await, place);
        assert!(is_gone(pair.at(&left), tenant).await, "{ended:?}");
        super::catching_up::assert_nothing_captured(&pair).await;
        settle(&pair, &place).await;
        assert_eq!(rows(pair.at(&place), tenant).await["members"].get(..3), Some("200"));
    }
    eventually("every job has run", async || {
        (marked(&pair.db, tenant).await == n_jobs).then_some(())
    })
    .await;
    let place = pair.place(tenant).await;
    settle(&pair, &place).await;
    stop.cancel();
    for worker in workers {
        worker.await.unwrap();
    }
    let marks = marks.lock().unwrap().clone();
    assert_eq!(marks, (0..n_jobs).map(|n| (n, 1)).collect());
    assert!(n_aborted > 10 && n_moved > 10, "{n_aborted} aborted, {n_moved} moved");
}

#[tokio::test]
async fn jobs_wait_while_their_tenant_is_frozen_and_run_where_it_arrives() {
    let pair = Pair::new().await;
    let tenant = pair.tenant("acme").await;
    let mut tx = pair.db.control().await.unwrap();
    enqueue_for(&origin(), &mut tx, Owner::Tenant(tenant), &Mark { n: 1 })
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let moved = pair.frozen(tenant, &cluster_b()).await;
    let (marks, stop) = (Marks::default(), CancellationToken::new());
    let workers = [Cluster::home(), cluster_b()].map(|cluster| worker(pair.db.at(&cluster).unwrap(), &marks, &stop));
    moves::carry_out(&pair.db, moved.id, None).await.unwrap();
    assert_eq!(pair.place(tenant).await, cluster_b());
    settle(&pair, &cluster_b()).await;
    eventually("the job has run", async || {
        (marked(&pair.db, tenant).await == 1).then_some(())
    })
    .await;
    stop.cancel();
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(*marks.lock().unwrap(), BTreeMap::from([(1, 1)]));
}
