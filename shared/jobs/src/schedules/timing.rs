//! When a schedule ticks: five fields of cron in a time zone.
//!
//! Where the hour is named, a tick is a time of the day: it comes once on each day that the fields name. One that the clock
//! skips comes when the clock jumps; of one that the clock shows twice the first counts. Where the hour is not named (`*` or
//! `*/n`), ticks follow the passing time: those in a skipped hour do not exist, and those in a repeated hour come twice.

use chrono::{DateTime, Utc};
use cronexpr::{Crontab, MakeTimestamp};
use jiff::{
    Timestamp, civil,
    tz::{AmbiguousOffset, TimeZone},
};

/// The search gives up after four years without a tick; February 29th may need eight.
const SEARCHES: u32 = 3;

/// A clock that ticks by the calendar.
#[derive(Debug, Clone)]
pub(crate) struct Timing {
    fields: Crontab,
    zone: TimeZone,
    is_hour_named: bool,
}

impl Timing {
    /// Reads five fields, and the name of a zone as in the IANA database. The error is for people.
    pub(crate) fn parse(expression: &str, zone: &str) -> Result<Self, String> {
        let fields: Vec<&str> = expression.split_whitespace().collect();
        let [_, hour, _, _, _] = fields.as_slice() else {
            return Err(format!("`{expression}` has not five fields"));
        };
        let is_hour_named = !hour.starts_with('*');
        // A time of the day is looked for on a calendar without jumps, and then in the zone.
        let read_in = if is_hour_named { "UTC" } else { zone };
        let timing = Self {
            is_hour_named,
            zone: TimeZone::get(zone).map_err(|error| error.to_string())?,
            fields: cronexpr::parse_crontab(&format!("{} {read_in}", fields.join(" ")))
                .map_err(|error| error.to_string())?,
        };
        match timing.next_after(DateTime::UNIX_EPOCH) {
            Some(_) => Ok(timing),
            None => Err(format!("`{expression}` never comes")),
        }
    }

    /// The first tick later than this.
    pub(crate) fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let after = Timestamp::from_microsecond(after.timestamp_micros()).ok()?;
        let next = if self.is_hour_named {
            self.next_of_day(after)?
        } else {
            self.find_next(after)?
        };
        DateTime::from_timestamp_micros(next.as_microsecond())
    }

    fn next_of_day(&self, after: Timestamp) -> Option<Timestamp> {
        let mut day_time = self.zone.to_datetime(after);
        loop {
            let as_if = TimeZone::UTC.to_timestamp(day_time).ok()?;
            day_time = TimeZone::UTC.to_datetime(self.find_next(as_if)?);
            // Later on the calendar is never earlier in time, so the first that has not passed is the next one.
            let moment = self.moment(day_time)?;
            if moment > after {
                return Some(moment);
            }
        }
    }

    /// When the clock shows this for the first time, or jumps over it.
    fn moment(&self, day_time: civil::DateTime) -> Option<Timestamp> {
        let shown = self.zone.to_ambiguous_timestamp(day_time);
        match shown.offset() {
            AmbiguousOffset::Gap { after, .. } => {
                let before_the_jump = after.to_timestamp(day_time).ok()?;
                let jump = self.zone.following(before_the_jump).next()?;
                Some(jump.timestamp())
            }
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => shown.earlier().ok(),
        }
    }

    fn find_next(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = after;
        for _ in 0..SEARCHES {
            if let Ok(next) = self.fields.find_next(MakeTimestamp(from)) {
                return Some(next.timestamp());
            }
            from = (from.to_zoned(TimeZone::UTC) + jiff::Span::new().years(4)).timestamp();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// The next ticks after a moment, in UTC.
    fn ticks(expression: &str, zone: &str, after: &str, n: usize) -> Vec<String> {
        let timing = Timing::parse(expression, zone).unwrap();
        let mut at = time(after);
        let mut found = Vec::new();
        for _ in 0..n {
            at = timing.next_after(at).unwrap();
            found.push(at.format("%dT%H:%M").to_string());
        }
        found
    }

    #[test]
    fn a_tick_is_later_than_the_moment_asked_about() {
        assert_eq!(
            ticks("*/15 * * * *", "UTC", "2026-11-21T10:15:00Z", 3),
            ["21T10:30", "21T10:45", "21T11:00"]
        );
        assert_eq!(
            ticks("0 3 * * *", "UTC", "2026-11-21T02:59:59.999Z", 2),
            ["21T03:00", "22T03:00"]
        );
        assert_eq!(
            ticks("0 3 * * *", "Europe/Berlin", "2026-11-21T02:00:00Z", 1),
            ["22T02:00"]
        );
        assert_eq!(
            ticks("30 6 * * MON", "Asia/Kolkata", "2026-11-21T00:00:00Z", 1),
            ["23T01:00"]
        );
    }

    /// Berlin goes from 02:00 to 03:00 on March 29th, 2026, at 01:00 UTC.
    #[test]
    fn a_time_of_the_day_that_the_clock_skips_comes_when_it_jumps() {
        let berlin = |expression, n| ticks(expression, "Europe/Berlin", "2026-03-28T12:00:00Z", n);
        assert_eq!(berlin("30 2 * * *", 2), ["29T01:00", "30T00:30"]);
        assert_eq!(berlin("0 2 * * *", 2), ["29T01:00", "30T00:00"]);
        // Each moment is one tick, however many times of the day fell into it.
        assert_eq!(
            berlin("0,20 1-3 * * *", 6)[..5],
            ["29T00:00", "29T00:20", "29T01:00", "29T01:20", "29T23:00"]
        );
        assert_eq!(
            ticks("30 2 * * *", "Europe/Berlin", "2026-03-29T00:59:59Z", 1),
            ["29T01:00"]
        );
        assert_eq!(
            ticks("30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z", 1),
            ["30T00:30"]
        );
        // Here the clock goes forward by half an hour, from 02:00 to 02:30, at 15:30 UTC.
        assert_eq!(
            ticks("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", 2),
            ["03T15:30", "04T15:15"]
        );
    }

    /// Berlin goes from 03:00 back to 02:00 on October 25th, 2026, at 01:00 UTC.
    #[test]
    fn a_time_of_the_day_that_the_clock_shows_twice_comes_once() {
        let berlin = |expression, n| ticks(expression, "Europe/Berlin", "2026-10-24T12:00:00Z", n);
        assert_eq!(berlin("30 2 * * *", 2), ["25T00:30", "26T01:30"]);
        assert_eq!(berlin("0 2,3 * * *", 3), ["25T00:00", "25T02:00", "26T01:00"]);
        // Asked in the midst of the repetition.
        assert_eq!(
            ticks("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1),
            ["26T01:30"]
        );
    }

    #[test]
    fn without_a_named_hour_ticks_follow_the_passing_time() {
        let half_hours = "*/30 * * * *";
        assert_eq!(
            ticks(half_hours, "Europe/Berlin", "2026-03-29T00:00:00Z", 4),
            ["29T00:30", "29T01:00", "29T01:30", "29T02:00"]
        );
        assert_eq!(
            ticks(half_hours, "Europe/Berlin", "2026-10-25T00:00:00Z", 5),
            ["25T00:30", "25T01:00", "25T01:30", "25T02:00", "25T02:30"]
        );
        assert_eq!(
            ticks("15 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", 4),
            ["25T00:15", "25T01:15", "25T02:15", "25T03:15"]
        );
        // Every other hour of the clock: 00:00, then 04:00, for there is no 02:00.
        assert_eq!(
            ticks("0 */2 * * *", "Europe/Berlin", "2026-03-28T22:30:00Z", 3),
            ["28T23:00", "29T02:00", "29T04:00"]
        );
        assert_eq!(
            ticks("0 * * * *", "Australia/Lord_Howe", "2026-10-03T14:00:00Z", 3),
            ["03T14:30", "03T16:00", "03T17:00"]
        );
    }

    #[test]
    fn leap_days_are_found_across_a_century_without_one() {
        let timing = Timing::parse("0 0 29 2 *", "UTC").unwrap();
        assert_eq!(
            timing.next_after(time("2096-03-01T00:00:00Z")),
            Some(time("2104-02-29T00:00:00Z"))
        );
    }

    #[test]
    fn what_never_comes_or_cannot_be_read_is_refused() {
        for (expression, zone) in [
            ("", "UTC"),
            ("* * * *", "UTC"),
            ("* * * * * *", "UTC"),
            ("61 * * * *", "UTC"),
            ("0 0 30 2 *", "UTC"),
            ("0 0 * * *", "Mars/Olympus"),
            ("* * * * *", "Mars/Olympus"),
            ("@daily", "UTC"),
        ] {
            assert!(Timing::parse(expression, zone).is_err(), "{expression} {zone}");
        }
    }
}
