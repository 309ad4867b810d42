//! How an attempt can end, and what becomes of its job then.

use std::{error::Error, fmt::Write, time::Duration};

use bulkhead_kernel::{
    config,
    fault::{Code, Fault, Kind},
    ids::LeaseToken,
};

use crate::backoff::backoff;

/// How long to put a job off when the fault does not say.
const SNOOZE: Duration = Duration::from_secs(30);

/// How long to put off a job whose tenant was closed under it. It is parked meanwhile, so the time hardly matters.
const CLOSED: Duration = Duration::from_secs(1);

/// The most of an error that is kept.
const MAX_ERROR_BYTES: usize = 4_000;

/// How an attempt ended. The texts are for operators and stay out of tenants' sight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is left to do.
    Done,
    /// It may work later: again after a growing wait, until the attempts are used up.
    Retry(String),
    /// Not its turn yet: again after this long, without counting the attempt.
    Snooze(Duration),
    /// It will never work: dead at once.
    Discard(String),
}

impl Outcome {
    /// What a fault means for a job: our troubles are tried again, limits and a closed tenant put it off, the rest will
    /// not change by itself.
    #[must_use]
    pub fn of(fault: &dyn Fault) -> Self {
        if matches!(
            fault.code(),
            Code::TenantNotActive | Code::TenantReadOnly | Code::TenantMoving
        ) {
            return Self::Snooze(CLOSED);
        }
        match fault.code().kind() {
            Kind::Unavailable | Kind::Internal | Kind::TimedOut => Self::Retry(chain(fault)),
            Kind::RateLimited => Self::Snooze(fault.retry_after().unwrap_or(SNOOZE)),
            _ => Self::Discard(chain(fault)),
        }
    }

    /// The word for it in telemetry.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retry(_) => "retry",
            Self::Snooze(_) => "snooze",
            Self::Discard(_) => "discard",
        }
    }
}

/// What a handler may return.
pub trait IntoOutcome {
    /// The outcome it stands for.
    fn into_outcome(self) -> Outcome;
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> Outcome {
        self
    }
}

impl<F: Fault> IntoOutcome for Result<(), F> {
    fn into_outcome(self) -> Outcome {
        match self {
            Ok(()) => Outcome::Done,
            Err(fault) => Outcome::of(&fault),
        }
    }
}

/// The fault and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for its time, its turn, or its tenant.
    Queued,
    /// A worker has it.
    Running,
    /// Finished with success.
    Done,
    /// Finished without success, for a person to look at.
    Dead,
    /// Somebody did not want it any more.
    Cancelled,
}

impl State {
    const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Done, Self::Dead, Self::Cancelled];

    /// The name in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// What becomes of the job's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Finished for good.
    Done,
    /// Waits for the next attempt.
    Queued {
        delay: Duration,
        is_refunded: bool,
        error: Option<String>,
    },
    /// Finished without success; kept for a person to look at.
    Dead { error: String },
    /// Nobody wants it any more, and its handler did not end in time.
    Cancelled,
}

impl Fate {
    /// Handed back by a worker that stops: at once, and as if it had never been started.
    pub(crate) const RELEASED: Self = Self::Queued {
        delay: Duration::ZERO,
        is_refunded: true,
        error: None,
    };

    /// Handed back before it was started, since another suspect runs here.
    pub(crate) const fn put_off(delay: Duration) -> Self {
        Self::Queued {
            delay,
            is_refunded: true,
            error: None,
        }
    }

    /// What follows from an outcome.
    pub(crate) fn after(outcome: Outcome, attempt: Attempt, settings: &config::Jobs) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::Discard(error) => Self::Dead {
                error: storable(&error),
            },
            Outcome::Retry(error) => Self::again_or_dead(&error, attempt, settings),
            Outcome::Snooze(delay) => Self::Queued {
                delay,
                is_refunded: true,
                error: None,
            },
        }
    }

    /// What follows when the worker was not heard of any more; `lost_leases` includes this time.
    pub(crate) fn after_lost_lease(lost_leases: u16, attempt: Attempt, settings: &config::Jobs) -> Self {
        if lost_leases >= MAX_LOST_LEASES {
            let error = format!("poison: its worker died over it {lost_leases} times");
            return Self::Dead { error };
        }
        Self::again_or_dead("the lease ran out: its worker died or stood still", attempt, settings)
    }

    /// What follows from an outcome after the deadline, or from none: nothing but success is of use now.
    pub(crate) fn after_deadline(outcome: Option<Outcome>) -> Self {
        let error = match outcome {
            Some(Outcome::Done) => return Self::Done,
            Some(Outcome::Retry(error) | Outcome::Discard(error)) => storable(&format!("{OVERDUE}: {error}")),
            Some(Outcome::Snooze(_)) | None => OVERDUE.into(),
        };
        Self::Dead { error }
    }

    /// The state of the job afterwards, unless somebody cancelled it meanwhile.
    pub(crate) const fn state(&self) -> State {
        match self {
            Self::Done => State::Done,
            Self::Queued { .. } => State::Queued,
            Self::Dead { .. } => State::Dead,
            Self::Cancelled => State::Cancelled,
        }
    }

    /// The error that goes with it.
    pub(crate) fn error(&self) -> Option<&str> {
        match self {
            Self::Done | Self::Cancelled => None,
            Self::Queued { error, .. } => error.as_deref(),
            Self::Dead { error } => Some(error),
        }
    }

    fn again_or_dead(error: &str, attempt: Attempt, settings: &config::Jobs) -> Self {
        let error = storable(error);
        if attempt.number >= attempt.max {
            return Self::Dead { error };
        }
        Self::Queued {
            delay: backoff(attempt.number, attempt.token, settings),
            is_refunded: false,
            error: Some(error),
        }
    }
}

/// Why a job is dead that came to nothing in its time.
pub(crate) const OVERDUE: &str = "its deadline has passed";

/// How often a worker may die over one job.
const MAX_LOST_LEASES: u16 = 3;

/// Whether one more death makes it dead. Such a job runs beside no other such job: of two that died together three times
/// one may be innocent.
pub(crate) const fn is_suspect(lost_leases: u16) -> bool {
    lost_leases + 1 >= MAX_LOST_LEASES
}

/// Which attempt it was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) number: u16,
    pub(crate) max: u16,
    pub(crate) token: LeaseToken,
}

/// PostgreSQL refuses NUL in text; an error that cannot be stored would keep its job running for ever.
fn storable(error: &str) -> String {
    let mut error = error.replace('\0', "\u{fffd}");
    error.truncate(error.floor_char_boundary(MAX_ERROR_BYTES));
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Failure(Code, #[source] std::fmt::Error);

    impl Fault for Failure {
        fn code(&self) -> Code {
            self.0
        }
    }

    fn settings() -> config::Jobs {
        config::Jobs {
            lease: Duration::from_secs(15),
            poll: Duration::from_secs(1),
            retry_base: Duration::from_secs(1),
            retry_max: Duration::from_mins(5),
            cancel_grace: Duration::from_secs(5),
        }
    }

    fn attempt(number: u16, max: u16) -> Attempt {
        Attempt {
            number,
            max,
            token: LeaseToken::new(),
        }
    }

    fn outcome_of(code: Code) -> Outcome {
        Err(Failure(code, std::fmt::Error)).into_outcome()
    }

    #[test]
    fn every_code_has_the_outcome_of_its_kind() {
        for &code in Code::ALL {
            let expected = match code.kind() {
                _ if matches!(code, Code::TenantNotActive | Code::TenantReadOnly | Code::TenantMoving) => "snooze",
                Kind::Unavailable | Kind::Internal | Kind::TimedOut => "retry",
                Kind::RateLimited => "snooze",
                _ => "discard",
            };
            assert_eq!(outcome_of(code).word(), expected, "{code:?}");
        }
        assert_eq!(outcome_of(Code::DatabaseUnavailable).word(), "retry");
        assert_eq!(outcome_of(Code::RateLimited), Outcome::Snooze(SNOOZE));
        assert_eq!(outcome_of(Code::TenantNotFound).word(), "discard");
        assert_eq!(outcome_of(Code::TenantNotActive), Outcome::Snooze(CLOSED));
        assert_eq!(Ok::<(), Failure>(()).into_outcome(), Outcome::Done);
    }

    #[test]
    fn an_error_is_kept_with_its_causes() {
        let text = format!("outer: {}", std::fmt::Error);
        assert_eq!(outcome_of(Code::Internal), Outcome::Retry(text));
    }

    #[test]
    fn the_last_attempt_is_not_retried() {
        let retry = || Outcome::Retry("why".into());
        let again = Fate::after(retry(), attempt(7, 8), &settings());
        assert!(
            matches!(
                again,
                Fate::Queued {
                    is_refunded: false,
                    error: Some(_),
                    ..
                }
            ),
            "{again:?}"
        );
        let last = Fate::after(retry(), attempt(8, 8), &settings());
        assert_eq!(last, Fate::Dead { error: "why".into() });
    }

    #[test]
    fn putting_off_costs_no_attempt() {
        let delay = Duration::from_secs(7);
        let fate = Fate::after(Outcome::Snooze(delay), attempt(8, 8), &settings());
        let expected = Fate::Queued {
            delay,
            is_refunded: true,
            error: None,
        };
        assert_eq!(fate, expected);
    }

    #[test]
    fn after_the_deadline_only_success_counts() {
        assert_eq!(Fate::after_deadline(Some(Outcome::Done)), Fate::Done);
        for outcome in [
            None,
            Some(Outcome::Snooze(Duration::ZERO)),
            Some(Outcome::Retry("why".into())),
            Some(Outcome::Discard("why".into())),
        ] {
            let fate = Fate::after_deadline(outcome);
            assert!(
                matches!(&fate, Fate::Dead { error } if error.starts_with(OVERDUE)),
                "{fate:?}"
            );
        }
    }

    #[test]
    fn every_state_is_known_by_its_name() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("asleep"), None);
    }

    #[test]
    fn the_third_lost_lease_is_poison() {
        let second = Fate::after_lost_lease(2, attempt(2, 8), &settings());
        assert!(matches!(second, Fate::Queued { is_refunded: false, .. }), "{second:?}");
        let third = Fate::after_lost_lease(3, attempt(3, 8), &settings());
        assert!(
            matches!(&third, Fate::Dead { error } if error.contains("poison")),
            "{third:?}"
        );
    }

    #[test]
    fn a_lost_lease_on_the_last_attempt_is_dead() {
        assert!(matches!(
            Fate::after_lost_lease(1, attempt(2, 2), &settings()),
            Fate::Dead { .. }
        ));
    }

    #[test]
    fn an_error_is_made_storable() {
        let fate = Fate::after(
            Outcome::Discard(format!("\0{}", "é".repeat(4_000))),
            attempt(1, 1),
            &settings(),
        );
        let Fate::Dead { error } = fate else { panic!("{fate:?}") };
        assert!(!error.contains('\0'));
        assert!(error.len() <= MAX_ERROR_BYTES);
    }
}
