//! The process from its settings to its end.

use std::{io, time::Duration};

use bulkhead_compute::driver::UnknownDriver;
use bulkhead_jobs::{DuplicateKind, Worker, supervise};
use bulkhead_kernel::{clock::Clock, config::Config, telemetry::metrics::Metrics};
use bulkhead_mail::MailError;
use bulkhead_tenancy::{Db, DbError};
use bulkhead_tenants::archives::sweep;
use tokio::{net::TcpListener, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    internal::{self, Probes},
    reconcilers,
    registry::{Parts, registry},
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
    /// The address is taken or not ours.
    #[error("the internal address cannot be listened on")]
    Listen(#[source] io::Error),
}

/// Works until `shutdown`, and then as long as the grace of the settings allows and 2 s. The internal listener goes
/// last, so that the drain can be watched.
pub async fn serve(config: &Config, metrics: Metrics, shutdown: CancellationToken) -> Result<(), ServeError> {
    let db = Db::new(&config.database).map_err(ServeError::Database)?;
    let parts = Parts::new(db.clone(), config)?;
    let machines = parts.machines.clone();
    let keeper = reconcilers::tenants::keeper(db.clone(), config);
    let archives = parts.archives.clone();
    let logs = reconcilers::audit::keeper(db.clone(), config);
    let worker = Worker::new(db.clone(), registry(parts), &config.jobs)?
        .with_concurrency(config.worker.concurrency)
        .with_grace(config.worker.shutdown_grace);
    let listener = TcpListener::bind(config.worker.internal_listen)
        .await
        .map_err(ServeError::Listen)?;
    let address = listener.local_addr().map_err(ServeError::Listen)?;
    let probes = Probes {
        jobs: worker.health(),
        metrics,
    };
    tokio::spawn(internal::run(listener, internal::router(probes)));
    tracing::info!(internal = %address, "listening");
    let reconciling = supervise("vms", &shutdown, || {
        let (machines, stop) = (machines.clone(), shutdown.clone());
        async move { machines.run(stop).await }
    });
    let keeping = supervise("tenants", &shutdown, || {
        let (keeper, stop) = (keeper.clone(), shutdown.clone());
        async move { keeper.run(stop).await }
    });
    let sweeping = supervise("archives", &shutdown, || {
        sweep::run(db.clone(), archives.clone(), Clock::system(), shutdown.clone())
    });
    let keeping_keys = supervise("signing keys", &shutdown, || {
        reconcilers::signing_keys::run(db.clone(), config.auth.clone(), shutdown.clone())
    });
    let auditing = supervise("audit", &shutdown, || {
        let (logs, stop) = (logs.clone(), shutdown.clone());
        async move { logs.run(stop).await }
    });
    let until_the_end_of_grace = async {
        tokio::select! {
            _ = async { tokio::join!(reconciling, keeping, sweeping, keeping_keys, auditing) } => {}
            () = async { shutdown.cancelled().await; sleep(config.worker.shutdown_grace + LET_GO).await } => {}
        }
    };
    tokio::join!(worker.run(shutdown.clone()), until_the_end_of_grace);
    Ok(())
}
