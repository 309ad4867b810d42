//! When to stop asking, and when to try again.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// So many failures ...
pub(super) const FAILURES: usize = 5;

/// ... within this time are an outage.
const WINDOW: Duration = Duration::from_secs(1);

/// A circuit breaker. It reads no clock and starts no probe: it is told.
#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    /// The newest failures, the oldest first; at most [`FAILURES`].
    failures: VecDeque<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Calls pass.
    Closed,
    /// Nothing passes until then.
    Open { probe_at: Instant },
    /// One probe is under way; nothing else passes.
    HalfOpen,
}

impl Breaker {
    /// Nothing is known yet: the first connection is the first probe.
    pub(super) const fn new() -> Self {
        Self {
            state: State::HalfOpen,
            failures: VecDeque::new(),
        }
    }

    /// Whether a call may be made.
    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// When the next probe is due; none while calls pass or a probe is under way.
    pub(super) const fn probe_at(&self) -> Option<Instant> {
        match self.state {
            State::Open { probe_at } => Some(probe_at),
            State::Closed | State::HalfOpen => None,
        }
    }

    /// Begins a probe, if one is due.
    pub(super) fn begin_probe(&mut self, now: Instant) -> bool {
        let is_due = self.probe_at().is_some_and(|probe_at| probe_at <= now);
        if is_due {
            self.state = State::HalfOpen;
        }
        is_due
    }

    /// The probe was answered.
    pub(super) fn close(&mut self) {
        self.state = State::Closed;
        self.failures.clear();
    }

    /// A call or a probe failed. Gives whether that opened the breaker; the next probe is then due after `pause`.
    pub(super) fn fail(&mut self, now: Instant, pause: Duration) -> bool {
        match self.state {
            State::Open { .. } => return false,
            State::HalfOpen => {}
            State::Closed => {
                self.failures
                    .retain(|failure| now.saturating_duration_since(*failure) < WINDOW);
                self.failures.push_back(now);
                if self.failures.len() < FAILURES {
                    return false;
                }
            }
        }
        self.open(now + pause);
        true
    }

    /// The connection is gone, so there is nothing to count: a new one is tried at once. Gives whether that opened the
    /// breaker.
    pub(super) fn trip(&mut self, now: Instant) -> bool {
        let was_closed = self.is_closed();
        if was_closed {
            self.open(now);
        }
        was_closed
    }

    fn open(&mut self, probe_at: Instant) {
        self.state = State::Open { probe_at };
        self.failures.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(700);

    fn closed() -> Breaker {
        let mut breaker = Breaker::new();
        breaker.close();
        breaker
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn it_opens_with_the_fifth_failure_within_a_second() {
        let (mut breaker, start) = (closed(), Instant::now());
        for n in 0..4 {
            assert!(!breaker.fail(start + ms(n * 200), PAUSE));
            assert!(breaker.is_closed());
        }
        assert!(breaker.fail(start + ms(999), PAUSE));
        assert!(!breaker.is_closed());
        assert_eq!(breaker.probe_at(), Some(start + ms(999) + PAUSE));
    }

    #[test]
    fn failures_that_are_further_apart_do_not_open_it() {
        let (mut breaker, start) = (closed(), Instant::now());
        for n in 0..100 {
            assert!(!breaker.fail(start + ms(n * 250), PAUSE), "failure {n}");
        }
        assert!(breaker.is_closed());
    }

    #[test]
    fn a_probe_waits_for_its_time_and_is_alone() {
        let (mut breaker, start) = (closed(), Instant::now());
        for _ in 0..5 {
            breaker.fail(start, PAUSE);
        }
        assert!(!breaker.begin_probe(start + ms(699)));
        assert!(breaker.begin_probe(start + PAUSE));
        assert!(!breaker.begin_probe(start + PAUSE), "one probe at a time");
        assert!(!breaker.is_closed());
    }

    #[test]
    fn a_failed_probe_opens_it_again_and_an_answered_one_closes_it() {
        let (mut breaker, start) = (Breaker::new(), Instant::now());
        assert!(breaker.fail(start, PAUSE));
        assert!(breaker.begin_probe(start + PAUSE));
        assert!(breaker.fail(start + PAUSE, PAUSE));
        assert_eq!(breaker.probe_at(), Some(start + PAUSE + PAUSE));
        assert!(breaker.begin_probe(start + PAUSE + PAUSE));
        breaker.close();
        assert!(breaker.is_closed());
        assert!(
            !breaker.fail(start + PAUSE + PAUSE, PAUSE),
            "what was before does not count"
        );
    }

    #[test]
    fn late_failures_change_nothing_once_it_is_open() {
        let (mut breaker, start) = (Breaker::new(), Instant::now());
        breaker.fail(start, PAUSE);
        assert!(!breaker.fail(start + ms(1), ms(5000)));
        assert!(!breaker.trip(start + ms(1)));
        assert_eq!(breaker.probe_at(), Some(start + PAUSE));
    }

    #[test]
    fn a_lost_connection_is_probed_at_once() {
        let (mut breaker, start) = (closed(), Instant::now());
        assert!(breaker.trip(start));
        assert!(!breaker.is_closed());
        assert!(breaker.begin_probe(start));
    }
}
