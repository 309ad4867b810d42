//! Tenants: what hangs on their state, and their purge.

use std::sync::Arc;

use bulkhead_compute::vms::remove_all;
use bulkhead_kernel::{clock::Clock, config::Config, fault::Fault};
use bulkhead_tenancy::Db;
use bulkhead_tenants::{Keeper, RemoveMachines};

/// Sweeps over tenants, and removes the machines of those that are purged.
pub(crate) fn keeper(db: Db, config: &Config) -> Keeper {
    let (clock, machines_db) = (Clock::system(), db.clone());
    let machines_clock = clock.clone();
    let remove_machines: RemoveMachines = Arc::new(move |tenant| {
        let (db, clock) = (machines_db.clone(), machines_clock.clone());
        Box::pin(async move {
            let removed = remove_all(&db, &clock, tenant).await;
            removed.map_err(|error| Box::new(error) as Box<dyn Fault>)
        })
    });
    Keeper::new(db, config, clock, remove_machines)
}
