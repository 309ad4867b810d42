//! Limits, counted in a real Redis and without one.

mod keys;
mod outages;
mod sign_in;

use std::{net::IpAddr, time::Duration};

use bulkhead_kernel::{
    config::{self, SignInLimits},
    secret::Secret,
};
use bulkhead_traffic::{Outcome, Redis, SignInThrottle, TooManyFailures};
use uuid::Uuid;

const LIMITS: SignInLimits = SignInLimits {
    failures_per_account: 10,
    failures_per_address: 50,
    window: Duration::from_secs(900),
};

/// On a busy machine an answer may take long; a test that is about the answer waits for it.
const PATIENT: Duration = Duration::from_secs(5);

/// One installation: processes of it count together, and apart from those of any other test.
struct Installation {
    settings: config::Redis,
}

impl Installation {
    fn new(url: &str, timeout: Duration) -> Self {
        Self {
            settings: config::Redis {
                url: Some(url).filter(|url| !url.is_empty()).map(Secret::new),
                timeout,
                key_prefix: format!("test-{}", Uuid::now_v7().simple()),
            },
        }
    }

    async fn process(&self) -> Process {
        let redis = Redis::start(&self.settings).unwrap();
        redis.settled().await;
        Process {
            throttle: SignInThrottle::new(redis.clone(), LIMITS, b"a secret of this installation"),
            redis,
        }
    }
}

/// What one API process has.
struct Process {
    redis: Redis,
    throttle: SignInThrottle,
}

impl Process {
    /// Tries a password, if that is allowed.
    async fn sign_in(&self, email: &str, address: &str, outcome: Outcome) -> Result<(), TooManyFailures> {
        let attempt = self.throttle.check(email, address.parse::<IpAddr>().unwrap()).await?;
        self.throttle.record(attempt, outcome).await;
        Ok(())
    }

    /// How many wrong passwords are looked at, out of so many from an address each.
    async fn guess(&self, email: &str, network: &str, n: usize) -> usize {
        let mut n_looked_at = 0;
        for host in 0..n {
            let address = format!("{network}.{host}");
            n_looked_at += usize::from(self.sign_in(email, &address, Outcome::Failed).await.is_ok());
        }
        n_looked_at
    }
}
