//! The load generator: a fixed number of connections, each with one request under way at a time.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{cpu::Watched, http::Connection, sample::Sample};

/// Keep-alive connections, as many as there are callers.
pub(crate) const CONNECTIONS: usize = 32;

/// How long the connections run before they are counted.
const RAMP: Duration = Duration::from_millis(300);

/// Where to send what; each request is drawn at random.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<[Vec<u8>]>,
}

/// What one connection saw.
#[derive(Default)]
struct Tally {
    latencies_us: Vec<u32>,
    errors: u64,
}

impl Load {
    /// Keeps the server busy for the ramp and then for `window`, and counts the requests that fall into the window.
    pub(crate) async fn run(&self, window: Duration, watched: Watched) -> anyhow::Result<Sample> {
        let mut connections = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            connections.push(
                Connection::open(self.address)
                    .await
                    .context("connecting to the server")?,
            );
        }
        let begin = Instant::now() + RAMP;
        let end = begin + window;
        let mut tasks = JoinSet::new();
        for (seed, connection) in (1..).zip(connections) {
            tasks.spawn(self.clone().drive(connection, Draw::new(seed), begin, end));
        }
        sleep_until(begin).await;
        let before = watched.read();
        sleep_until(end).await;
        let cpu = watched.since(&before);
        let mut latencies_us = Vec::new();
        let mut errors = 0;
        for tally in tasks.join_all().await {
            latencies_us.extend(tally.latencies_us);
            errors += tally.errors;
        }
        Ok(Sample::of(latencies_us, errors, window, cpu))
    }

    async fn drive(self, mut connection: Connection, mut draw: Draw, begin: Instant, end: Instant) -> Tally {
        let mut tally = Tally::default();
        loop {
            let started = Instant::now();
            if started >= end {
                return tally;
            }
            let request = &self.requests[draw.below(self.requests.len())];
            let status = connection.status_of(request).await;
            let finished = Instant::now();
            match status {
                Ok(200) if finished >= begin && finished < end => {
                    let us = (finished - started).as_micros();
                    tally.latencies_us.push(u32::try_from(us).unwrap_or(u32::MAX));
                }
                Ok(200) => {}
                Ok(_) => tally.errors += 1,
                Err(_) => {
                    tally.errors += 1;
                    match Connection::open(self.address).await {
                        Ok(fresh) => connection = fresh,
                        Err(_) => return tally,
                    }
                }
            }
        }
    }
}

/// Random numbers, cheap and the same in every run (splitmix64).
pub(crate) struct Draw(u64);

impl Draw {
    /// Another sequence for another seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number from 0 to `limit` - 1.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit.max(1) as u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tenant_is_drawn_about_equally_often() {
        let mut draw = Draw::new(7);
        let mut seen = [0_u32; 200];
        for _ in 0..200_000 {
            seen[draw.below(200)] += 1;
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)));
    }
}
