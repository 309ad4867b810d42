//! Virtual machines.

use std::sync::Arc;

use bulkhead_compute::{
    driver::{Driver, Drivers, UnknownDriver},
    reconcile::{Reconciler, Settings},
    simulator::{self, Options, Simulator},
};
use bulkhead_kernel::{
    clock::Clock,
    config::{Config, DriverKind},
};
use bulkhead_tenancy::Db;

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
