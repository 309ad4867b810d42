//! Which ticks are run now, and which one comes next: pure.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use super::{CatchUp, timing::Timing};

/// How late a tick may be noticed that is not missed.
const ON_TIME: TimeDelta = TimeDelta::minutes(1);

/// The oldest tick that is caught up with.
const MAX_AGE: TimeDelta = TimeDelta::days(1);

/// The most ticks that are caught up with; the newest are kept.
const MAX_TICKS: usize = 100;

/// From where the newest tick is looked for, so that a worker that comes back after a year need not count all of them.
const LOOK_BACK: [TimeDelta; 4] = [
    TimeDelta::hours(1),
    TimeDelta::days(1),
    TimeDelta::days(31),
    TimeDelta::days(366),
];

/// What becomes of a schedule whose tick has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// To be run now, in their order.
    pub(super) ticks: Vec<DateTime<Utc>>,
    /// The first one later than now.
    pub(super) next: DateTime<Utc>,
}

/// Decides about the ticks from `due` to `now`, of which `due` is the first. `None` where there is none after `now`.
pub(super) fn plan(timing: &Timing, catch_up: CatchUp, due: DateTime<Utc>, now: DateTime<Utc>) -> Option<Plan> {
    if due > now {
        return Some(Plan {
            ticks: vec![],
            next: due,
        });
    }
    let next = timing.next_after(now)?;
    let ticks = match catch_up {
        CatchUp::All => each(timing, due, now),
        CatchUp::One => vec![newest(timing, due, now)],
        CatchUp::Skip => {
            let newest = newest(timing, due, now);
            Vec::from_iter((now - newest <= ON_TIME).then_some(newest))
        }
    };
    Some(Plan { ticks, next })
}

/// The last tick that has come.
fn newest(timing: &Timing, due: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    let near = LOOK_BACK.iter().filter(|ago| now - **ago > due);
    let near = near
        .filter_map(|ago| timing.next_after(now - *ago))
        .find(|tick| *tick <= now);
    let mut newest = near.unwrap_or(due);
    while let Some(tick) = timing.next_after(newest).filter(|tick| *tick <= now) {
        newest = tick;
    }
    newest
}

fn each(timing: &Timing, due: DateTime<Utc>, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let oldest = now - MAX_AGE;
    let mut next = if due < oldest {
        timing.next_after(oldest)
    } else {
        Some(due)
    };
    let mut ticks = VecDeque::new();
    while let Some(tick) = next.filter(|tick| *tick <= now) {
        if ticks.len() == MAX_TICKS {
            ticks.pop_front();
        }
        ticks.push_back(tick);
        next = timing.next_after(tick);
    }
    ticks.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn planned(expression: &str, catch_up: CatchUp, due: &str, now: &str) -> (Vec<String>, String) {
        let timing = Timing::parse(expression, "UTC").unwrap();
        let plan = plan(&timing, catch_up, time(due), time(now)).unwrap();
        let show = |tick: &DateTime<Utc>| tick.format("%m-%dT%H:%M").to_string();
        (plan.ticks.iter().map(show).collect(), show(&plan.next))
    }

    #[test]
    fn a_tick_on_time_is_run_under_every_policy() {
        for policy in [CatchUp::Skip, CatchUp::One, CatchUp::All] {
            let plan = planned("0 * * * *", policy, "2026-11-21T10:00:00Z", "2026-11-21T10:00:20Z");
            assert_eq!(plan, (vec!["11-21T10:00".into()], "11-21T11:00".into()), "{policy:?}");
        }
    }

    #[test]
    fn missed_ticks_are_skipped_run_once_or_run_each() {
        let missed = |policy| planned("0 * * * *", policy, "2026-11-21T07:00:00Z", "2026-11-21T10:30:00Z");
        assert_eq!(missed(CatchUp::Skip), (vec![], "11-21T11:00".into()));
        assert_eq!(missed(CatchUp::One), (vec!["11-21T10:00".into()], "11-21T11:00".into()));
        let each = ["11-21T07:00", "11-21T08:00", "11-21T09:00", "11-21T10:00"].map(String::from);
        assert_eq!(missed(CatchUp::All), (each.into(), "11-21T11:00".into()));
        // The last of those missed may be on time.
        let late = planned(
            "0 * * * *",
            CatchUp::Skip,
            "2026-11-21T07:00:00Z",
            "2026-11-21T10:01:00Z",
        );
        assert_eq!(late.0, ["11-21T10:00"]);
    }

    #[test]
    fn catching_up_with_each_is_bounded_in_number_and_age() {
        let (ticks, _) = planned(
            "* * * * *",
            CatchUp::All,
            "2026-11-21T07:00:00Z",
            "2026-11-21T10:30:00Z",
        );
        assert_eq!(
            (ticks.len(), ticks[0].as_str(), ticks[99].as_str()),
            (100, "11-21T08:51", "11-21T10:30")
        );
        let (ticks, _) = planned(
            "0 * * * *",
            CatchUp::All,
            "2026-01-01T00:00:00Z",
            "2026-11-21T10:30:00Z",
        );
        assert_eq!(
            (ticks.len(), ticks[0].as_str(), ticks[23].as_str()),
            (24, "11-20T11:00", "11-21T10:00")
        );
    }

    #[test]
    fn the_newest_tick_is_found_however_long_nobody_was_there() {
        let (ticks, next) = planned(
            "* * * * *",
            CatchUp::One,
            "2001-01-01T00:00:00Z",
            "2026-11-21T10:30:30Z",
        );
        assert_eq!((ticks, next.as_str()), (vec!["11-21T10:30".to_owned()], "11-21T10:31"));
        let (ticks, _) = planned(
            "0 0 1 1 *",
            CatchUp::One,
            "2020-01-01T00:00:00Z",
            "2026-11-21T10:30:30Z",
        );
        assert_eq!(ticks, ["01-01T00:00"]);
    }

    #[test]
    fn before_its_time_nothing_is_run() {
        let early = planned(
            "0 * * * *",
            CatchUp::All,
            "2026-11-21T10:00:00Z",
            "2026-11-21T09:59:59Z",
        );
        assert_eq!(early, (vec![], "11-21T10:00".into()));
    }
}
