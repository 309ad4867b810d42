//! How often signing in may fail: so often per account over all addresses, and so often per address over all accounts.
//!
//! - An attempt takes from both budgets before the password is looked at, and gives back what it did not use: attempts at
//!   the same time cannot share what is left. What is refused takes nothing.
//! - Nobody can lock an owner out from elsewhere: an address from which somebody signed in to the account during the last
//!   30 days has a budget of its own for it, and a success there clears what that address has used up.
//! - Known and unknown accounts are counted alike.
//! - Redis decides for all processes, by its own time. While it is away each process decides by what it has seen itself.

mod error;
mod local;
mod model;

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use bulkhead_kernel::{config::SignInLimits, telemetry::metrics};
use hmac::{Hmac, Mac};
use redis::Script;
use sha2::{Digest, Sha256, Sha512};

pub use error::TooManyFailures;
pub use model::{AddressGroup, Attempt, Outcome};

use crate::redis::{Away, Keys, Redis, Tag};
use local::Local;
use model::Admission;

/// What is counted where nothing else is said.
const FAILURES: &str = "failures";

/// How long an address stays known to an account.
const KNOWN_FOR: Duration = Duration::from_hours(30 * 24);

/// No request takes longer, so an attempt that is older was cut off and will not come back.
const UNDER_WAY: Duration = Duration::from_secs(30);

/// How long to wait for attempts under way, in milliseconds: somebody who signs in on many devices at once is not refused.
const PATIENCE_MS: [u64; 7] = [20, 40, 80, 160, 320, 640, 1280];

/// When to come back once that was in vain.
const BUSY: Duration = Duration::from_secs(1);

/// Bounds the guessing of passwords.
pub struct SignInThrottle {
    redis: Redis,
    local: Local,
    secret: Hmac<Sha256>,
    admit: Script,
    settle: Script,
    limits: SignInLimits,
    /// What is counted, as the keys call it.
    counted: &'static str,
}

impl SignInThrottle {
    /// `secret` keeps who can read Redis from telling which accounts it names. Processes that are to count together need
    /// the same.
    #[must_use]
    pub fn new(redis: Redis, limits: SignInLimits, secret: &[u8]) -> Self {
        // As many bytes as HMAC takes.
        let key = Sha512::new()
            .chain_update("bulkhead sign-in")
            .chain_update(secret)
            .finalize();
        Self {
            redis,
            local: Local::new(limits),
            secret: Mac::new(&key),
            admit: Script::new(include_str!("admit.lua")),
            settle: Script::new(include_str!("settle.lua")),
            limits,
            counted: FAILURES,
        }
    }

    /// The same over budgets of their own, for something else that may be done only so often. `counted` names the keys.
    #[must_use]
    pub fn counting(self, counted: &'static str) -> Self {
        Self { counted, ..self }
    }

    /// May somebody at `address` try a password for `email`, which is what they typed? Every attempt must be recorded.
    #[tracing::instrument(skip_all)]
    pub async fn check(&self, email: &str, address: IpAddr) -> Result<Attempt, TooManyFailures> {
        let attempt = Attempt::new(&self.secret, email, address);
        for pause in PATIENCE_MS {
            match self.decide(&attempt).await {
                Admission::Admitted => return Ok(attempt),
                Admission::Refused(wait) => return Err(self.refused(wait)),
                Admission::Busy => tokio::time::sleep(Duration::from_millis(pause)).await,
            }
        }
        Err(self.refused(BUSY))
    }

    fn refused(&self, wait: Duration) -> TooManyFailures {
        let reason = if self.counted == FAILURES {
            "guessing"
        } else {
            self.counted
        };
        metrics::auth_refusals(reason).increment(1);
        tracing::warn!(
            counted = self.counted,
            "refused: too many attempts for one account or from one address"
        );
        TooManyFailures::until(wait)
    }

    /// Takes note of what became of an attempt.
    #[tracing::instrument(skip_all)]
    pub async fn record(&self, attempt: Attempt, outcome: Outcome) {
        self.local.settle(&attempt, outcome, Instant::now());
        // Where Redis is away, its entry runs out by itself.
        let (account_keys, address_keys) = (self.account_keys(&attempt), self.address_keys(&attempt));
        let _ = tokio::join!(
            self.settle_in(&account_keys, &attempt, outcome),
            self.settle_in(&address_keys, &attempt, outcome),
        );
    }

    /// One more of something that counts whatever comes of it, such as a mail. `of` is whose budget it takes from: any text.
    #[tracing::instrument(skip_all)]
    pub async fn spend(&self, of: &str, address: IpAddr) -> Result<(), TooManyFailures> {
        let allowed = self.check(of, address).await?;
        self.record(allowed, Outcome::Failed).await;
        Ok(())
    }

    /// Somebody has shown that the account is theirs by other means than the password: from this address, what strangers
    /// do counts no longer against them.
    #[tracing::instrument(skip_all)]
    pub async fn trust(&self, email: &str, address: IpAddr) {
        let proof = Attempt::new(&self.secret, email, address);
        self.record(proof, Outcome::Succeeded).await;
    }

    async fn decide(&self, attempt: &Attempt) -> Admission {
        match self.ask(attempt).await {
            Ok((Admission::Admitted, is_known)) => {
                self.local.note(attempt, is_known, Instant::now());
                Admission::Admitted
            }
            Ok((refused, _)) => refused,
            Err(Away) => self.local.admit(attempt, Instant::now()),
        }
    }

    /// What Redis says, and whether it knows the address. Account and address may live on different nodes, so no script
    /// can reach both: what one has admitted and the other refused is given back.
    async fn ask(&self, attempt: &Attempt) -> Result<(Admission, bool), Away> {
        let (account_keys, address_keys) = (self.account_keys(attempt), self.address_keys(attempt));
        let (account, address) = tokio::join!(
            self.admit_in(&account_keys, attempt, self.limits.failures_per_account),
            self.admit_in(&address_keys, attempt, self.limits.failures_per_address),
        );
        let ((account, is_known), (address, _)) = (account?, address?);
        let admission = account.and(address);
        if admission != Admission::Admitted {
            for (keys, said) in [(account_keys, account), (address_keys, address)] {
                if said == Admission::Admitted {
                    self.settle_in(&keys, attempt, Outcome::Undecided).await?;
                }
            }
        }
        Ok((admission, is_known))
    }

    async fn admit_in(&self, keys: &Keys, attempt: &Attempt, limit: usize) -> Result<(Admission, bool), Away> {
        let args = [
            &attempt.entry(),
            &limit.to_string(),
            &millis(self.limits.window),
            &millis(UNDER_WAY),
        ];
        let (answer, wait, known): (u8, u64, u8) = self.redis.run(&self.admit, keys, &args.map(String::as_str)).await?;
        let admission = match answer {
            0 => Admission::Admitted,
            1 => Admission::Refused(Duration::from_millis(wait)),
            _ => Admission::Busy,
        };
        Ok((admission, known == 1))
    }

    async fn settle_in(&self, keys: &Keys, attempt: &Attempt, outcome: Outcome) -> Result<(), Away> {
        let (entry, mark) = (attempt.entry(), attempt.mark.to_string());
        let (window, known_for) = (millis(self.limits.window), millis(KNOWN_FOR));
        let args = [&entry, outcome.as_str(), &window, &mark, &known_for];
        self.redis.run(&self.settle, keys, &args).await
    }

    fn account_keys(&self, attempt: &Attempt) -> Keys {
        let keys = self.redis.keys(&Tag::account(attempt.account));
        keys.key(self.counted)
            .key(format_args!("{}:{}", self.counted, attempt.mark))
            .key(format_args!("known:{}", attempt.mark))
    }

    fn address_keys(&self, attempt: &Attempt) -> Keys {
        self.redis.keys(&Tag::address(attempt.address)).key(self.counted)
    }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

#[cfg(test)]
mod tests;
