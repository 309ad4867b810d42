//! A schedule as it stands in the table.

use std::{fmt, str::FromStr};

use bulkhead_kernel::ids::JobId;
use chrono::{DateTime, Utc};

/// What becomes of ticks that nobody was there for, because all workers were down or the database was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CatchUp {
    /// Nothing: only a tick that is at most a minute old is run.
    Skip,
    /// One run for all of them.
    One,
    /// A run for each, up to the newest 100 of the last day.
    All,
}

impl CatchUp {
    /// The word for it in the table and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::One => "one",
            Self::All => "all",
        }
    }
}

impl FromStr for CatchUp {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Skip, Self::One, Self::All]
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or(())
    }
}

/// How a schedule is called: `noun.verb`, of small letters, digits and underscores.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScheduleName(String);

impl ScheduleName {
    /// As it stands in the table.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ScheduleName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let is_word = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && word
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        let is_name = text.len() <= 64
            && text
                .split_once('.')
                .is_some_and(|(noun, verb)| is_word(noun) && is_word(verb));
        is_name.then(|| Self(text.to_owned())).ok_or(())
    }
}

impl fmt::Display for ScheduleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The newest job of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastJob {
    /// The job, which may have been removed since.
    pub id: JobId,
    /// Its state; `None` once it was removed.
    pub state: Option<String>,
    /// When it was enqueued.
    pub enqueued_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// A schedule of the code's list, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// Its name.
    pub name: String,
    /// Five fields of cron.
    pub expression: String,
    /// The time zone they are read in.
    pub time_zone: String,
    /// See [`CatchUp`].
    pub catch_up: String,
    /// The kind of its jobs.
    pub kind: String,
    /// Whether its ticks pass without a job.
    pub is_paused: bool,
    /// The newest tick that was enqueued.
    pub last_tick_at: Option<DateTime<Utc>>,
    /// The tick that comes next, or is due; `None` while it is paused.
    pub next_tick_at: Option<DateTime<Utc>>,
    /// Its newest job, by a tick or by hand.
    pub last_job: Option<LastJob>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_noun_and_verb() {
        for good in ["jobs.prune", "a1.b_2"] {
            assert_eq!(good.parse::<ScheduleName>().unwrap().as_str(), good);
        }
        let long = format!("a.{}", "b".repeat(63));
        for bad in [
            "",
            "jobs",
            "jobs.",
            ".prune",
            "Jobs.prune",
            "jobs.prune.x",
            "a.b c",
            "1a.b",
            &long,
        ] {
            assert_eq!(bad.parse::<ScheduleName>(), Err(()), "{bad}");
        }
    }

    #[test]
    fn every_policy_has_a_word_of_its_own() {
        for policy in [CatchUp::Skip, CatchUp::One, CatchUp::All] {
            assert_eq!(policy.as_str().parse(), Ok(policy));
        }
        assert_eq!("most".parse::<CatchUp>(), Err(()));
    }
}
