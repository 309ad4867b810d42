//! The one list of work that comes back by the calendar, each with its reason (docs/schedules.md).

use bulkhead_iam::{idempotency::jobs::PruneIdempotencyKeys, sessions::jobs::PruneSessions};
use bulkhead_jobs::{
    retention::PruneJobs,
    schedules::{BadSchedule, CatchUp, Schedule},
};

/// The schedules of a cluster. Minutes are spread over the hour, so that not everything begins at once.
pub fn schedules(is_home: bool) -> Result<Vec<Schedule>, BadSchedule> {
    let mut list = vec![
        // Every finished job leaves a row, and the table is read all the time. Missed runs are made up for by one: it removes
        // what all of them would have.
        Schedule::new("jobs.prune", "7 * * * *", "UTC", CatchUp::One, &PruneJobs {})?,
    ];
    if is_home {
        list.extend([
            // Each request under a key leaves one in its tenant. Home knows all tenants; one walk over them a night is enough.
            Schedule::new(
                "idempotency_keys.prune",
                "41 2 * * *",
                "UTC",
                CatchUp::One,
                &PruneIdempotencyKeys {},
            )?,
            // Each sign-in leaves a session with a row for every refresh. At night, where most people are, as it reads all
            // sessions. People are kept at home.
            Schedule::new("sessions.prune", "23 3 * * *", "UTC", CatchUp::One, &PruneSessions {})?,
        ]);
    }
    Ok(list)
}
