//! What an examination found.

use crate::{DbError, doctor::Pooler};

/// The whole of it.
#[derive(Debug, Clone)]
pub struct Report {
    /// As the server calls itself.
    pub server_version: String,
    /// What lies between us and the server.
    pub pooler: Pooler,
    /// How much was done.
    pub rounds: Rounds,
    /// What was examined, in the order in which it is read.
    pub checks: Vec<Check>,
}

/// How much was done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rounds {
    /// Rounds that were carried out; fewer than asked for when time ran out or too much was wrong.
    pub done: u32,
    /// How often a tenant was entered, looks and writes together.
    pub entries: u32,
    /// How often a tenant was served by a server process on which the other one had been last.
    pub meetings: u32,
    /// How often a server process was searched for what was left behind on it.
    pub searches: u32,
}

/// One thing examined.
#[derive(Debug, Clone)]
pub struct Check {
    /// In snake case; stable.
    pub name: String,
    /// What came of it.
    pub verdict: Verdict,
    /// One sentence.
    pub detail: String,
    /// What to do about it, where there is something to do.
    pub advice: Option<String>,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Passed,
    /// Worth knowing; tenants are isolated all the same.
    Noted,
    /// Tenants are not isolated, or nothing was proved.
    Failed,
}

impl Report {
    pub(super) fn new(pooler: Pooler) -> Self {
        Self {
            server_version: String::new(),
            pooler,
            rounds: Rounds::default(),
            checks: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, check: Check) {
        self.checks.push(check);
    }

    /// Whether nothing failed.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.checks.iter().all(|check| check.verdict != Verdict::Failed)
    }
}

impl Check {
    /// Passed or failed.
    pub(super) fn of(name: &str, is_good: bool, detail: impl Into<String>) -> Self {
        let verdict = if is_good { Verdict::Passed } else { Verdict::Failed };
        Self {
            name: name.to_owned(),
            verdict,
            detail: detail.into(),
            advice: None,
        }
    }

    /// Passed or worth knowing.
    pub(super) fn noted(name: &str, is_good: bool, detail: impl Into<String>) -> Self {
        let mut check = Self::of(name, true, detail);
        if !is_good {
            check.verdict = Verdict::Noted;
        }
        check
    }

    /// With what to do when it is not as it should be.
    pub(super) fn or(mut self, advice: impl Into<String>) -> Self {
        if self.verdict != Verdict::Passed {
            self.advice = Some(advice.into());
        }
        self
    }
}

/// Whether the throw-away tenants are gone.
pub(super) fn removal(removed: &Result<(), DbError>) -> Check {
    let detail = match removed {
        Ok(()) => "Both throw-away tenants are removed.".to_owned(),
        Err(error) => format!("The throw-away tenants could not be removed: {}", told(error)),
    };
    Check::noted("canaries_removed", removed.is_ok(), detail).or("The next examination removes them first.")
}

/// An error with its causes, in one line.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
