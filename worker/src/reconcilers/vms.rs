//! Virtual machines.

use std::{error::Error, sync::Arc, time::Duration};

use bulkhead_compute::{
    driver::{Driver, Drivers, UnknownDriver},
    reconcile::{Reconciler, Settings},
    simulator::{self, Options, Simulator},
    templates,
};
use bulkhead_kernel::{
    clock::Clock,
    config::{Config, DriverKind},
};
use bulkhead_tenancy::Db;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Reconciles with every driver of this build; new machines go to the one in the settings.
pub(crate) fn reconciler(db: Db, config: &Config) -> Result<Reconciler, UnknownDriver> {
    let clock = Clock::system();
    let options = Options {
        boot: config.compute.simulator_boot,
        ..Options::default()
    };
    let simulator: Arc<dyn Driver> = Arc::new(Simulator::new(&config.compute.simulator_dir, clock.clone(), options));
    let chosen = match config.compute.driver {
        DriverKind::Simulator => simulator::NAME,
    };
    let drivers = Drivers::new([simulator], chosen)?;
    let settings = Settings::new(&config.compute, config.worker.concurrency);
    Ok(Reconciler::new(db, drivers, settings, clock))
}

/// Brings new templates to a cluster within the wait between two sweeps. At home they are published.
pub(crate) async fn publish(db: Db, every: Duration, stop: CancellationToken) {
    if db.cluster().is_home() {
        return stop.cancelled().await;
    }
    while !stop.is_cancelled() {
        if let Err(error) = templates::service::follow(&db).await {
            tracing::warn!(error = &error as &dyn Error, "templates were not brought to a cluster");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(every) => {}
        }
    }
}
