//! The process from its settings to its end.

use std::{io, time::Duration};

use bulkhead_compute::{driver::UnknownDriver, reconcile::Reconciler};
use bulkhead_iam::audit_log;
use bulkhead_jobs::{
    DuplicateKind, Worker,
    schedules::{self, BadSchedule, Schedule},
    supervise,
};
use bulkhead_kernel::{clock::Clock, config::Config, telemetry::metrics::Metrics};
use bulkhead_mail::MailError;
use bulkhead_tenancy::{Db, DbError};
use bulkhead_tenants::{
    Keeper,
    archives::{Archives, sweep},
};
use futures_util::future::join_all;
use tokio::{net::TcpListener, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    internal::{self, Probes},
    reconcilers,
    registry::{Parts, registry},
    schedules::schedules as list_of_schedules,
};

/// What a loop may take to let go after the grace is over.
const LET_GO: Duration = Duration::from_millis(1_500);

/// Why the worker could not start. Once it has, nothing but `shutdown` ends it.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A URL of the database is none.
    #[error("the database settings cannot be used")]
    Database(#[source] DbError),
    /// The relay's settings are of no use.
    #[error("the mail settings cannot be used")]
    Mail(#[source] MailError),
    /// The build lacks the driver in the settings.
    #[error("the compute settings cannot be used")]
    Driver(#[source] UnknownDriver),
    /// A mistake in the registry.
    #[error(transparent)]
    Registry(#[from] DuplicateKind),
    /// A mistake in the list of schedules.
    #[error(transparent)]
    Schedules(#[from] BadSchedule),
    /// The address is taken or not ours.
    #[error("the internal address cannot be listened on")]
    Listen(#[source] io::Error),
}

/// Works until `shutdown`, and then as long as the grace of the settings allows and 2 s. The internal listener goes
/// last, so that the drain can be watched.
pub async fn serve(config: &Config, metrics: Metrics, shutdown: CancellationToken) -> Result<(), ServeError> {
    let db = Db::new(&config.database).map_err(ServeError::Database)?;
    let crews: Vec<Crew> = db
        .clusters()
        .map(|cluster| Crew::new(cluster, config))
        .collect::<Result<_, _>>()?;
    let archives = Archives::new(&config.archives);
    let listener = TcpListener::bind(config.worker.internal_listen)
        .await
        .map_err(ServeError::Listen)?;
    let address = listener.local_addr().map_err(ServeError::Listen)?;
    let probes = Probes {
        jobs: crews.iter().map(|crew| crew.worker.health()).collect(),
        metrics,
    };
    tokio::spawn(internal::run(listener, internal::router(probes)));
    tracing::info!(internal = %address, "listening");
    let (workers, loops): (Vec<_>, Vec<_>) = crews.into_iter().map(|crew| crew.start(&shutdown)).unzip();
    let sweeping = supervise("archives", &shutdown, || {
        sweep::run(db.clone(), archives.clone(), Clock::system(), shutdown.clone())
    });
    let keeping_keys = supervise("signing keys", &shutdown, || {
        reconcilers::signing_keys::run(db.clone(), config.auth.clone(), shutdown.clone())
    });
    let measuring = supervise("capacity", &shutdown, || {
        reconcilers::capacity::run(db.clone(), shutdown.clone())
    });
    let until_the_end_of_grace = async {
        tokio::select! {
            _ = async { tokio::join!(join_all(loops), sweeping, keeping_keys, measuring) } => {}
            () = async { shutdown.cancelled().await; sleep(config.worker.shutdown_grace + LET_GO).await } => {}
        }
    };
    tokio::join!(join_all(workers), until_the_end_of_grace);
    Ok(())
}

/// All that works on one cluster.
struct Crew {
    db: Db,
    worker: Worker,
    machines: Reconciler,
    keeper: Keeper,
    logs: audit_log::Keeper,
    schedules: Vec<Schedule>,
    poll: Duration,
    every: Duration,
}

impl Crew {
    fn new(db: Db, config: &Config) -> Result<Self, ServeError> {
        let parts = Parts::new(db.clone(), config)?;
        Ok(Self {
            machines: parts.machines.clone(),
            keeper: reconcilers::tenants::keeper(db.clone(), config),
            logs: reconcilers::audit::keeper(db.clone(), config),
            worker: Worker::new(db.clone(), registry(parts), &config.jobs)?
                .with_concurrency(config.worker.concurrency)
                .with_grace(config.worker.shutdown_grace),
            schedules: list_of_schedules(db.cluster().is_home())?,
            poll: config.jobs.poll,
            every: config.tenants.sweep,
            db,
        })
    }

    /// The worker, and the loops beside it.
    fn start(self, shutdown: &CancellationToken) -> (impl Future<Output = ()>, impl Future<Output = ()>) {
        let Self {
            db,
            worker,
            machines,
            keeper,
            logs,
            schedules: list,
            poll,
            every,
        } = self;
        let shutdown = shutdown.clone();
        let loops = {
            let shutdown = shutdown.clone();
            async move {
                let reconciling = supervise("vms", &shutdown, || {
                    let (machines, stop) = (machines.clone(), shutdown.clone());
                    async move { machines.run(stop).await }
                });
                let keeping = supervise("tenants", &shutdown, || {
                    let (keeper, stop) = (keeper.clone(), shutdown.clone());
                    async move { keeper.run(stop).await }
                });
                let publishing = supervise("templates", &shutdown, || {
                    reconcilers::vms::publish(db.clone(), every, shutdown.clone())
                });
                let auditing = supervise("audit", &shutdown, || {
                    let (logs, stop) = (logs.clone(), shutdown.clone());
                    async move { logs.run(stop).await }
                });
                let ticking = supervise("schedules", &shutdown, || {
                    schedules::run(db.clone(), list.clone(), poll, shutdown.clone())
                });
                tokio::join!(reconciling, keeping, publishing, auditing, ticking);
            }
        };
        (worker.run(shutdown), loops)
    }
}
