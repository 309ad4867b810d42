//! A schedule as the code declares it.

use serde_json::Value;

use super::{BadSchedule, CatchUp, ScheduleName, timing::Timing};
use crate::Job;

/// One line of the code's list: what is to be done, when, and for which reason the comment beside it says. The job is the
/// platform's own.
///
/// A payload with a field `tick` is told the moment it was made for. Where the policy is [`CatchUp::All`] each tick has a job of
/// its own; otherwise the job's unique key keeps a second one from waiting beside the first.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub(super) name: ScheduleName,
    pub(super) expression: &'static str,
    pub(super) time_zone: &'static str,
    pub(super) catch_up: CatchUp,
    pub(super) timing: Timing,
    pub(super) kind: &'static str,
    pub(super) queue: &'static str,
    pub(super) payload: Value,
    pub(super) priority: i16,
    pub(super) max_attempts: i16,
    pub(super) unique_key: Option<String>,
}

impl Schedule {
    /// Checks the name, the fields and the zone (as in the IANA database).
    pub fn new<J: Job>(
        name: &'static str,
        expression: &'static str,
        time_zone: &'static str,
        catch_up: CatchUp,
        job: &J,
    ) -> Result<Self, BadSchedule> {
        let bad = |reason: String| BadSchedule {
            name: name.to_owned(),
            reason,
        };
        Ok(Self {
            name: name.parse().map_err(|()| bad("its name is not noun.verb".into()))?,
            timing: Timing::parse(expression, time_zone).map_err(bad)?,
            payload: serde_json::to_value(job).map_err(|error| bad(error.to_string()))?,
            expression,
            time_zone,
            catch_up,
            kind: J::KIND,
            queue: J::QUEUE.as_str(),
            priority: J::PRIORITY,
            max_attempts: i16::try_from(J::MAX_ATTEMPTS.max(1)).unwrap_or(i16::MAX),
            unique_key: job.unique_key().filter(|_| catch_up != CatchUp::All),
        })
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &ScheduleName {
        &self.name
    }

    /// The kind of its jobs.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind
    }
}
