//! A database of its own, an API and a worker for every test, and people to act in it.

mod app;
mod client;
mod database;
mod persona;
mod pgbouncer;
mod postgres;
mod redis;
mod relay;
pub mod server;

use std::time::Duration;

pub use app::{App, Options};
pub use client::{Answer, Client};
pub use database::{TestDb, connect, open_tenant, optional_env, run, test_env, url};
pub use persona::{Founder, PASSWORD};
pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use redis::RedisServer;
pub use relay::{Mail, Relay};

/// Waits until `condition` gives a value; asks again and again, and fails the test after a generous while.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "did not happen within a minute: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
