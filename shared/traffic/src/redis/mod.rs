//! Redis or Valkey, as something that may be away at any time.
//!
//! One connection carries all calls. Each call is bounded by the configured timeout; five failures within a second open a
//! breaker, and from then on calls end at once. A task in the background probes with a new connection, at most a second
//! apart and jittered, and closes the breaker when there is an answer. No call ever makes a connection.
//!
//! Keys have one builder: each carries its tenant, or one of the few tags that all tenants share ([`GLOBAL`]).

mod breaker;
mod keeper;
mod key;
mod link;

use std::{fmt, sync::Arc};

use bulkhead_kernel::config;
use redis::{Client, FromRedisValue, Script};
use tokio::{sync::watch, task::JoinHandle};

pub use key::{GLOBAL, Keys, Tag};

use link::Link;

/// There is no answer, for whatever reason; the log knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("redis is away")]
pub struct Away;

/// The configured URL is none that Redis is reached by.
#[derive(Debug, thiserror::Error)]
#[error("the URL of redis is malformed")]
pub struct MalformedUrl;

/// The way to Redis; cheap to clone. The connection ends with the last clone.
#[derive(Clone)]
pub struct Redis {
    prefix: Arc<str>,
    kept: Option<Arc<Kept>>,
}

struct Kept {
    link: Arc<Link>,
    is_settled: watch::Receiver<bool>,
    keeper: JoinHandle<()>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("is_up", &self.is_up()).finish()
    }
}

impl Redis {
    /// Begins to connect, in the background of the current runtime. Without a URL it is always away.
    pub fn start(settings: &config::Redis) -> Result<Self, MalformedUrl> {
        let kept = match &settings.url {
            // The error would show the URL, which may hold a password.
            Some(url) => Some(Client::open(url.expose()).map_err(|_| MalformedUrl)?),
            None => None,
        };
        let kept = kept.map(|client| {
            let link = Arc::new(Link::new(client, settings.timeout));
            let (settle, is_settled) = watch::channel(false);
            let keeper = tokio::spawn(keeper::keep(Arc::clone(&link), settle));
            Arc::new(Kept {
                link,
                is_settled,
                keeper,
            })
        });
        Ok(Self {
            prefix: settings.key_prefix.as_str().into(),
            kept,
        })
    }

    /// Waits until it is known whether Redis answers: a second at most.
    pub async fn settled(&self) {
        if let Some(kept) = &self.kept {
            // The sender ends only with the runtime.
            let _ = kept.is_settled.clone().wait_for(|is_settled| *is_settled).await;
        }
    }

    /// Whether calls pass.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.link.connection().is_some())
    }

    /// Begins the list of keys for one call.
    #[must_use]
    pub fn keys(&self, tag: &Tag) -> Keys {
        Keys::new(&self.prefix, tag)
    }

    /// Runs a script, by its hash where Redis knows it.
    pub async fn run<T: FromRedisValue>(&self, script: &Script, keys: &Keys, args: &[&str]) -> Result<T, Away> {
        let link = &self.kept.as_ref().ok_or(Away)?.link;
        let connection = link.connection().ok_or(Away)?;
        let mut invocation = script.prepare_invoke();
        for name in keys.names() {
            invocation.key(name);
        }
        for arg in args {
            invocation.arg(*arg);
        }
        let mut redis = connection.redis.clone();
        link.ask(&connection, invocation.invoke_async(&mut redis)).await
    }
}
