//! A job as its tenant sees it.

use bulkhead_kernel::{fault::Violation, ids::JobId};
use chrono::{DateTime, Utc};
use serde_json::Value;

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It waits for a worker.
    Queued,
    /// It waits for its time: the one it was submitted for, or that of the next attempt.
    Scheduled,
    /// It waits until its tenant is open again, or for a worker that knows its type.
    Parked,
    /// A worker is at it.
    Running,
    /// It did what it should.
    Done,
    /// It is given up; `error` says why.
    Failed,
    /// Somebody ended it.
    Cancelled,
}

impl State {
    /// All states with their words over the wire, which are those of `control.job_word`.
    pub const WORDS: [(&str, Self); 7] = [
        ("queued", Self::Queued),
        ("scheduled", Self::Scheduled),
        ("parked", Self::Parked),
        ("running", Self::Running),
        ("done", Self::Done),
        ("failed", Self::Failed),
        ("cancelled", Self::Cancelled),
    ];

    /// The state of this word.
    pub fn parse(word: &str) -> Result<Self, Violation> {
        let found = Self::WORDS.iter().find(|(name, _)| *name == word);
        let words = || Self::WORDS.map(|(name, _)| name).join(", ");
        found
            .map(|(_, state)| *state)
            .ok_or_else(|| Violation::new("state", format!("must be one of {}", words())))
    }

    /// The word over the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, state)| *state == self);
        found.map_or("", |(name, _)| name)
    }

    /// That of a word which the database made.
    pub(crate) fn of(word: &str) -> Self {
        Self::parse(word).unwrap_or(Self::Queued)
    }

    /// Whether nothing happens any more, unless somebody runs it again.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// A job as its tenant sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnJob {
    /// Its id.
    pub id: JobId,
    /// The name of its type.
    pub kind: String,
    /// Where it is.
    pub state: State,
    /// How often it was started.
    pub attempt: u16,
    /// How often it may be.
    pub max_attempts: u16,
    /// How far it is and how far it goes, in units of its own.
    pub progress: Option<(i64, Option<i64>)>,
    /// What it came to, or so far.
    pub result: Option<Value>,
    /// Whether it came to a file.
    pub has_file: bool,
    /// Why it failed.
    pub error: Option<String>,
    /// Whether it runs and is to end.
    pub is_cancel_requested: bool,
    /// Who submitted it.
    pub created_by: String,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// When it was or is due.
    pub run_at: DateTime<Utc>,
    /// After when it is of no use.
    pub deadline_at: Option<DateTime<Utc>>,
    /// When the last attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// Which jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// In this state alone.
    pub state: Option<State>,
    /// Of this type alone.
    pub kind: Option<String>,
    /// Submitted at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Submitted before this time.
    pub until: Option<DateTime<Utc>>,
    /// Those that come after this one, the newest first.
    pub after: Option<JobId>,
}

/// The longest type that is looked for.
const MAX_KIND: usize = 100;

/// What is wrong with a type that is looked for.
pub(crate) fn check_kind(kind: Option<&str>) -> Option<Violation> {
    let is_wrong = |kind: &str| kind.len() > MAX_KIND || kind.contains('\0');
    kind.is_some_and(is_wrong)
        .then(|| Violation::new("type", format!("must have up to {MAX_KIND} characters")))
}

/// Something that happened to a job, or that it had to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEvent {
    /// Counts from 1 within the job.
    pub seq: i32,
    /// What.
    pub body: EventBody,
    /// When.
    pub at: DateTime<Utc>,
}

/// What an event tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventBody {
    /// It came into this state, at this attempt.
    State(State, i64),
    /// A line of its log.
    Log {
        /// `info`, `warn` or `error`.
        level: String,
        /// The line.
        message: String,
    },
}

impl EventBody {
    /// As `control.job_events` keeps it.
    pub(crate) fn of(kind: &str, body: &Value) -> Self {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        if kind == "state" {
            let word = text("state");
            let state = if word == "dead" {
                State::Failed
            } else {
                State::of(&word)
            };
            Self::State(state, body["attempt"].as_i64().unwrap_or_default())
        } else {
            Self::Log {
                level: text("level"),
                message: text("message"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states_have_words_and_what_is_none_is_told_all_of_them() {
        for (word, state) in State::WORDS {
            assert_eq!((State::parse(word), state.as_str()), (Ok(state), word));
        }
        let refused = State::parse("dead").unwrap_err();
        assert_eq!(refused.pointer, "state");
        assert!(refused.detail.contains("parked"), "{}", refused.detail);
    }

    #[test]
    fn a_dead_job_has_failed_for_its_tenant() {
        let body = json!({"state": "dead", "attempt": 3});
        assert_eq!(EventBody::of("state", &body), EventBody::State(State::Failed, 3));
        let body = json!({"level": "warn", "message": "slow"});
        let line = EventBody::Log {
            level: "warn".into(),
            message: "slow".into(),
        };
        assert_eq!(EventBody::of("log", &body), line);
    }
}
