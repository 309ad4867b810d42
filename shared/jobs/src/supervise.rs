//! Keeps loops alive.

use std::{future::Future, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(5);
/// A loop that ran this long is taken for healthy again.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);

/// Starts the loop again whenever it ends, by itself or by a panic, with growing waits between. Returns when the loop
/// has ended after `stop`; the loop has to watch `stop` itself, and goes on unwatched when this future is dropped.
pub async fn supervise<F, Fut>(name: &'static str, stop: &CancellationToken, mut start: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let mut wait = FIRST_WAIT;
    while !stop.is_cancelled() {
        let started = Instant::now();
        let ended = tokio::spawn(start()).await;
        if stop.is_cancelled() {
            return;
        }
        if started.elapsed() >= HEALTHY_AFTER {
            wait = FIRST_WAIT;
        }
        match ended {
            Ok(()) => tracing::warn!(name, "a loop of the worker ended and is started again"),
            Err(panic) => tracing::error!(name, %panic, "a loop of the worker broke and is started again"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(MAX_WAIT),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_ends_or_panics_is_started_again_until_the_stop() {
        let stop = CancellationToken::new();
        let n_starts = Arc::new(AtomicU32::new(0));
        let began = Instant::now();
        supervise("test", &stop, || {
            let (n, stop) = (n_starts.fetch_add(1, SeqCst) + 1, stop.clone());
            async move {
                match n {
                    10 => stop.cancel(),
                    n if n % 2 == 0 => panic!("on purpose"),
                    _ => {}
                }
            }
        })
        .await;
        assert_eq!(n_starts.load(SeqCst), 10);
        // 0.1 + 0.2 + 0.4 + 0.8 + 1.6 + 3.2 + 5 + 5 + 5 seconds.
        assert!(
            (21.0..22.0).contains(&began.elapsed().as_secs_f64()),
            "{:?}",
            began.elapsed()
        );
    }
}
