//! The table `control.jobs`. Nothing here decides; the caller says what becomes of a row.

mod claim;
mod enqueue;
mod gauges;
mod leases;
mod record;
mod settle;
mod waiting;

use std::time::Duration;

use bulkhead_kernel::ids::LeaseToken;

pub(crate) use claim::{JobRow, Turn, claim};
pub(crate) use enqueue::{NewJob, insert, insert_own, notify};
pub(crate) use gauges::{Depth, count_if_due, list_depths};
pub(crate) use leases::{extend, hold, list_cancelled, lock_expired};
pub(crate) use record::{log, note_progress, set_result};
pub(crate) use settle::{Settlement, settle};
pub(crate) use waiting::{bury_overdue, cancel, make_due, retry, set_parked};

use crate::outcome::Attempt;

pub(super) fn attempt(number: i16, max: i16, token: LeaseToken) -> Attempt {
    Attempt {
        number: count(number),
        max: count(max),
        token,
    }
}

/// Counters in the table are never negative.
pub(super) fn count(number: i16) -> u16 {
    u16::try_from(number).unwrap_or_default()
}

/// At most ten years: a longer wait is a mistake, and its end might be no time the database can write.
pub(super) fn millis(duration: Duration) -> i64 {
    const MAX: i64 = 10 * 365 * 24 * 3_600 * 1_000;
    i64::try_from(duration.as_millis()).map_or(MAX, |millis| millis.min(MAX))
}
