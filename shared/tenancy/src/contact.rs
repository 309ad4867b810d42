//! Whether home answers, as this process last saw it. Only processes with further clusters look: without home, everybody else
//! has nothing to go on with.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::DbError;

/// Between two calls that find out whether home is back.
const RETRY: Duration = Duration::from_secs(1);

/// A set of connections that is merely busy answers somebody within this time.
const BUSY: Duration = Duration::from_secs(2);

/// When home last answered, and when it is asked again.
pub(crate) struct Contact(Mutex<State>);

#[derive(Debug, Clone, Copy)]
struct State {
    last: Instant,
    /// Set while it does not answer.
    retry_at: Option<Instant>,
}

impl Contact {
    /// As if it had answered now.
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(State {
            last: now,
            retry_at: None,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether to call it. While it does not answer one call in a second may, so that the others need not wait.
    pub(crate) fn may_call(&self, now: Instant) -> bool {
        let mut state = self.lock();
        match state.retry_at {
            Some(at) if now < at => false,
            Some(_) => {
                state.retry_at = Some(now + RETRY);
                true
            }
            None => true,
        }
    }

    /// What came of a call that was made at `now`.
    pub(crate) fn note<T>(&self, now: Instant, outcome: &Result<T, DbError>) {
        let mut state = self.lock();
        if let Err(DbError::Unavailable(why)) = outcome {
            if why.is_some() || now.saturating_duration_since(state.last) > BUSY {
                state.retry_at = Some(now + RETRY);
            }
        } else {
            state.last = state.last.max(now);
            state.retry_at = None;
        }
    }

    /// For how long it has not answered; `None` while it does.
    pub(crate) fn lost_for(&self, now: Instant) -> Option<Duration> {
        let state = *self.lock();
        state.retry_at.map(|_| now.saturating_duration_since(state.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWERED: Result<(), DbError> = Ok(());
    const BUSY_SET: Result<(), DbError> = Err(DbError::Unavailable(None));

    fn refused() -> Result<(), DbError> {
        Err(DbError::Unavailable(Some(sqlx::Error::PoolClosed)))
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn who_does_not_answer_is_called_once_a_second_until_it_does() {
        let now = Instant::now();
        let contact = Contact::new(now);
        assert!(contact.may_call(now) && contact.may_call(now));
        contact.note(now + secs(5), &refused());
        assert_eq!(contact.lost_for(now + secs(7)), Some(secs(7)));
        assert!(!contact.may_call(now + secs(5)));
        assert!(contact.may_call(now + secs(6)));
        assert!(!contact.may_call(now + secs(6)), "one of many calls");
        contact.note(now + secs(6), &ANSWERED);
        assert!(contact.may_call(now + secs(6)));
        assert_eq!(contact.lost_for(now + secs(7)), None);
    }

    #[test]
    fn a_busy_set_of_connections_is_not_taken_for_an_outage() {
        let now = Instant::now();
        let contact = Contact::new(now);
        contact.note(now + secs(1), &BUSY_SET);
        assert_eq!(contact.lost_for(now + secs(1)), None);
        contact.note(now + secs(1), &ANSWERED);
        contact.note(now + secs(4), &BUSY_SET);
        assert_eq!(contact.lost_for(now + secs(4)), Some(secs(3)));
    }
}
