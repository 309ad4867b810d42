//! Tenants in process: names that move, jobs that wait, and what a purge leaves of the database.

mod parking;
mod purge;
mod slugs;

use std::sync::Arc;

use bulkhead_kernel::{
    clock::Clock,
    config::{Config, ConfigSource},
};
use bulkhead_tenancy::Db;
use bulkhead_tenants::Keeper;

use crate::harness::TestDb;

/// A worker's sweep over tenants that have no machines.
fn keeper(test: &TestDb, db: &Db) -> Keeper {
    let config = Config::load_for(ConfigSource::from_env(test.settings()), &[]);
    let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    Keeper::new(
        db.clone(),
        &config,
        Clock::system(),
        Arc::new(|_| Box::pin(async { Ok(true) })),
    )
}
