//! The one connection, and what is known of the other end.

use std::{
    fmt,
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bulkhead_kernel::telemetry::{fields, metrics};
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult, ServerErrorKind, aio::MultiplexedConnection,
};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{Away, breaker::Breaker};

/// From the name's resolution to the answer of the first command.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Between two probes: at least this ...
const MIN_PAUSE_MS: u64 = 100;

/// ... and up to so much more, so that many processes do not come back in step. Together at most a second.
const PAUSE_SPREAD_MS: u64 = 900;

pub(super) struct Link {
    client: Client,
    timeout: Duration,
    state: Mutex<State>,
    /// A call failed, or the breaker opened.
    pub(super) failed: Notify,
}

struct State {
    breaker: Breaker,
    connection: Option<Connection>,
    n_connections: u64,
    /// What was last said of it.
    is_up: Option<bool>,
    /// Since this connection was made; one line is enough.
    is_refusal_logged: bool,
}

/// The connection at one time.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) redis: MultiplexedConnection,
    /// Tells a failure of this connection from one of its predecessors.
    number: u64,
}

/// Why there is no answer.
enum Failure {
    Silence,
    /// The connection has to be made anew.
    Lost(RedisError),
    /// This call cannot be answered; others can.
    Refused(RedisError),
    Other(RedisError),
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            _ if error.is_unrecoverable_error() => Self::Lost(error),
            ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::NoPerm)
            | ErrorKind::Extension
            | ErrorKind::UnexpectedReturnType
            | ErrorKind::Client => Self::Refused(error),
            _ => Self::Other(error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence => f.write_str("no answer in time"),
            Self::Lost(error) | Self::Refused(error) | Self::Other(error) => error.fmt(f),
        }
    }
}

impl Link {
    pub(super) fn new(client: Client, timeout: Duration) -> Self {
        metrics::redis_up().set(0.0);
        Self {
            client,
            timeout,
            state: Mutex::new(State {
                breaker: Breaker::new(),
                connection: None,
                n_connections: 0,
                is_up: None,
                is_refusal_logged: false,
            }),
            failed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, while calls pass.
    pub(super) fn connection(&self) -> Option<Connection> {
        let state = self.state();
        let is_closed = state.breaker.is_closed();
        state.connection.clone().filter(|_| is_closed)
    }

    /// When to probe next, while calls do not pass.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        self.state().breaker.probe_at()
    }

    /// Waits for the answer, but not for long.
    pub(super) async fn ask<T>(
        &self,
        connection: &Connection,
        answer: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, Away> {
        let failure = match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error.into(),
            Err(_) => Failure::Silence,
        };
        self.note(connection, &failure);
        Err(Away)
    }

    fn note(&self, connection: &Connection, failure: &Failure) {
        let mut state = self.state();
        if state.n_connections != connection.number {
            return;
        }
        let has_opened = match failure {
            Failure::Lost(_) => state.breaker.trip(Instant::now()),
            Failure::Silence | Failure::Other(_) => state.breaker.fail(Instant::now(), pause()),
            Failure::Refused(_) => {
                if !std::mem::replace(&mut state.is_refusal_logged, true) {
                    tracing::warn!({ fields::ERROR } = %failure, "redis refuses a call; this process decides by itself");
                }
                return;
            }
        };
        if has_opened {
            state.went_away(failure);
        }
        drop(state);
        self.failed.notify_one();
    }

    /// Connects, and closes the breaker if the other end answers.
    pub(super) async fn probe(&self) {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await;
        let connected = connecting.unwrap_or(Err(Failure::Silence));
        let mut state = self.state();
        match connected {
            Ok(redis) => {
                state.n_connections += 1;
                let number = state.n_connections;
                state.connection = Some(Connection { redis, number });
                state.is_refusal_logged = false;
                state.breaker.close();
                state.came_back();
            }
            Err(failure) => {
                state.breaker.fail(Instant::now(), pause());
                state.went_away(&failure);
            }
        }
    }

    /// Begins a probe, if one is due.
    pub(super) fn begin_probe(&self) -> bool {
        self.state().breaker.begin_probe(Instant::now())
    }

    /// Who takes connections but does not answer is away.
    async fn connect(&self) -> Result<MultiplexedConnection, Failure> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let mut redis = connecting.await?;
        match tokio::time::timeout(self.timeout, ping(&mut redis)).await {
            Ok(answer) => answer.map(|()| redis).map_err(Failure::from),
            Err(_) => Err(Failure::Silence),
        }
    }
}

impl State {
    fn went_away(&mut self, failure: &Failure) {
        self.connection = None;
        if self.is_up != Some(false) {
            self.is_up = Some(false);
            metrics::redis_up().set(0.0);
            tracing::warn!({ fields::ERROR } = %failure, "redis is away; this process decides by itself");
        }
    }

    fn came_back(&mut self) {
        if self.is_up != Some(true) {
            self.is_up = Some(true);
            metrics::redis_up().set(1.0);
            tracing::info!("redis answers");
        }
    }
}

pub(super) async fn ping(redis: &mut MultiplexedConnection) -> RedisResult<()> {
    redis::cmd("PING").query_async(redis).await
}

/// Spread by the random bits of a fresh id.
fn pause() -> Duration {
    let id = Uuid::now_v7();
    let random_bits = u16::from_be_bytes([id.as_bytes()[14], id.as_bytes()[15]]);
    Duration::from_millis(MIN_PAUSE_MS + u64::from(random_bits) % PAUSE_SPREAD_MS)
}
