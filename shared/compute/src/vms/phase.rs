//! The states of a VM and how it may get from one to the next, as data.

/// A stored word is not one of ours: somebody else wrote the row, or a newer version did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{1:?} is no {0}")]
pub struct UnknownWord(pub &'static str, pub String);

macro_rules! words {
    ($($(#[$doc:meta])* $type:ident ($what:literal) { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type { $($(#[$variant_doc])* $variant),* }

        impl $type {
            /// Every one, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word for it in the database and over the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::vms::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)*
                    _ => Err($crate::vms::UnknownWord($what, word.into())),
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )*};
}
pub(crate) use words;

words! {
    /// Where a VM is on its way.
    Phase ("phase") {
        /// Accepted; no worker has taken it yet.
        Requested = "REQUESTED",
        /// Being made.
        Provisioning = "PROVISIONING",
        /// Made, and on its way to running.
        Starting = "STARTING",
        /// Running.
        Running = "RUNNING",
        /// On its way to off.
        Stopping = "STOPPING",
        /// Off.
        Stopped = "STOPPED",
        /// Going off and on.
        Restarting = "RESTARTING",
        /// Being removed, however long that takes.
        Deleting = "DELETING",
        /// Proved gone; the row stays for a while.
        Deleted = "DELETED",
        /// Not where it should be; the fault says why.
        Error = "ERROR",
    }

    /// What the VM's list shows: the last stable value.
    Status ("status") {
        /// Not there yet.
        Provisioning = "PROVISIONING",
        /// On.
        Running = "RUNNING",
        /// Off.
        Stopped = "STOPPED",
        /// In trouble.
        Error = "ERROR",
    }

    /// What is wanted of a VM.
    Desired ("desired state") {
        /// On.
        Running = "running",
        /// Off.
        Stopped = "stopped",
        /// Gone.
        Deleted = "deleted",
    }

    /// Why a VM is in ERROR.
    VmFault ("fault") {
        /// It could not be made; nothing of it is left.
        CreateFailed = "create_failed",
        /// It went off by a failure.
        Crashed = "crashed",
        /// It is proved gone, and nobody asked for that.
        Lost = "lost",
        /// A change did not end in time and the provider cannot say where it is.
        Indeterminate = "indeterminate",
    }
}

/// Who makes a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mover {
    /// A request.
    Api,
    /// A worker that walks an operation.
    Worker,
    /// A worker that looked.
    Observer,
    /// The one that removes what is past its time.
    Janitor,
}

/// What a transition does to usage segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metering {
    /// Nothing.
    Unchanged,
    /// The disk counts from now on.
    OpensDisk,
    /// Processors and memory count from now on.
    OpensCompute,
    /// Processors and memory no longer count.
    ClosesCompute,
    /// Nothing counts any more.
    ClosesAll,
}

/// One row of the table; `None` is before the VM exists and after it is purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Its number in the specification: several rows can share one.
    pub number: u8,
    /// From where.
    pub from: Option<Phase>,
    /// To where.
    pub to: Option<Phase>,
    /// Who.
    pub mover: Mover,
    /// And the meters.
    pub metering: Metering,
}

const fn t(number: u8, from: Phase, to: Phase, mover: Mover, metering: Metering) -> Transition {
    Transition {
        number,
        from: Some(from),
        to: Some(to),
        mover,
        metering,
    }
}

/// Every way a VM can go. Every tenant's table keeps the same pairs (`check_vm_transition`).
#[rustfmt::skip]
pub const TRANSITIONS: &[Transition] = {
    use Metering::{ClosesAll, ClosesCompute, OpensCompute, OpensDisk, Unchanged};
    use Mover::{Api, Janitor, Observer, Worker};
    use Phase::{Deleted, Deleting, Error, Provisioning, Requested, Restarting, Running, Starting, Stopped, Stopping};
    &[
        Transition { number: 1, from: None, to: Some(Requested), mover: Api, metering: Unchanged },
        t(2, Requested, Provisioning, Worker, Unchanged),
        t(3, Provisioning, Starting, Worker, OpensDisk),
        t(3, Provisioning, Stopped, Worker, OpensDisk),
        t(4, Starting, Running, Worker, OpensCompute),
        t(4, Restarting, Running, Worker, Unchanged),
        t(5, Stopped, Starting, Worker, Unchanged),
        t(5, Error, Starting, Worker, Unchanged),
        t(6, Running, Stopping, Worker, Unchanged),
        t(6, Stopping, Stopped, Worker, ClosesCompute),
        t(7, Running, Restarting, Worker, Unchanged),
        t(8, Running, Stopped, Observer, ClosesCompute),
        t(9, Running, Starting, Observer, ClosesCompute),
        t(9, Running, Error, Observer, ClosesCompute),
        t(10, Stopped, Running, Observer, OpensCompute),
        t(11, Starting, Error, Observer, ClosesAll),
        t(11, Running, Error, Observer, ClosesAll),
        t(11, Stopping, Error, Observer, ClosesAll),
        t(11, Stopped, Error, Observer, ClosesAll),
        t(11, Restarting, Error, Observer, ClosesAll),
        t(12, Provisioning, Error, Worker, ClosesAll),
        t(13, Starting, Running, Worker, OpensCompute),
        t(13, Starting, Stopped, Worker, Unchanged),
        t(13, Starting, Error, Worker, Unchanged),
        t(13, Stopping, Running, Worker, Unchanged),
        t(13, Stopping, Stopped, Worker, ClosesCompute),
        t(13, Stopping, Error, Worker, Unchanged),
        t(13, Restarting, Running, Worker, Unchanged),
        t(13, Restarting, Stopped, Worker, ClosesCompute),
        t(13, Restarting, Error, Worker, Unchanged),
        t(14, Requested, Deleting, Worker, Unchanged),
        t(14, Provisioning, Deleting, Worker, Unchanged),
        t(14, Starting, Deleting, Worker, Unchanged),
        t(14, Running, Deleting, Worker, Unchanged),
        t(14, Stopping, Deleting, Worker, Unchanged),
        t(14, Stopped, Deleting, Worker, Unchanged),
        t(14, Restarting, Deleting, Worker, Unchanged),
        t(14, Error, Deleting, Worker, Unchanged),
        t(14, Deleting, Deleted, Worker, ClosesAll),
        t(15, Error, Running, Observer, OpensCompute),
        t(15, Error, Stopped, Observer, Unchanged),
        Transition { number: 16, from: Some(Deleted), to: None, mover: Janitor, metering: Unchanged },
    ]
};

impl Phase {
    /// Whether the table has a way from here to there.
    #[must_use]
    pub fn may_become(self, to: Self) -> bool {
        TRANSITIONS
            .iter()
            .any(|row| row.from == Some(self) && row.to == Some(to))
    }

    /// What is happening now, in one word; nothing while the VM is at rest.
    #[must_use]
    pub const fn task(self) -> Option<&'static str> {
        match self {
            Self::Requested => Some("queued"),
            Self::Provisioning => Some("provisioning"),
            Self::Starting => Some("starting"),
            Self::Stopping => Some("stopping"),
            Self::Restarting => Some("restarting"),
            Self::Deleting => Some("deleting"),
            Self::Running | Self::Stopped | Self::Deleted | Self::Error => None,
        }
    }
}

impl Status {
    /// What is shown of a VM in `phase` that last showed `last`. Entering a phase stores exactly this.
    #[must_use]
    pub const fn of(phase: Phase, last: Self) -> Self {
        match phase {
            Phase::Requested | Phase::Provisioning => Self::Provisioning,
            Phase::Starting if matches!(last, Self::Provisioning) => Self::Provisioning,
            Phase::Starting | Phase::Stopped => Self::Stopped,
            Phase::Running | Phase::Stopping | Phase::Restarting => Self::Running,
            Phase::Error => Self::Error,
            Phase::Deleting | Phase::Deleted => last,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const MIGRATION: &str = include_str!("../../../../migrations/tenant/0001_baseline.sql");

    fn pairs() -> BTreeSet<String> {
        let pair = |row: &Transition| Some(format!("{} > {}", row.from?, row.to?));
        TRANSITIONS.iter().filter_map(pair).collect()
    }

    #[test]
    fn the_database_knows_the_same_transitions() {
        let quoted = MIGRATION.split('\'').skip(1).step_by(2);
        let in_sql: BTreeSet<String> = quoted
            .filter(|text| {
                text.split_once(" > ")
                    .is_some_and(|(from, _)| from.parse::<Phase>().is_ok())
            })
            .map(str::to_owned)
            .collect();
        assert_eq!(in_sql, pairs());
    }

    #[test]
    fn every_number_of_the_specification_is_there() {
        let numbers: BTreeSet<u8> = TRANSITIONS.iter().map(|row| row.number).collect();
        assert_eq!(numbers, (1..=16).collect());
    }

    #[test]
    fn every_live_phase_can_be_deleted_and_nothing_comes_back() {
        for &phase in Phase::ALL {
            let is_live = !matches!(phase, Phase::Deleting | Phase::Deleted);
            assert_eq!(phase.may_become(Phase::Deleting), is_live, "{phase}");
            assert!(!Phase::Deleted.may_become(phase), "{phase}");
            assert!(!phase.may_become(phase), "{phase}");
            assert!(!phase.may_become(Phase::Requested), "{phase}");
        }
        assert!(Phase::Deleting.may_become(Phase::Deleted));
        let ways_out = Phase::ALL.iter().filter(|to| Phase::Deleting.may_become(**to)).count();
        assert_eq!(ways_out, 1, "a deletion is never taken back");
    }

    #[test]
    fn status_is_the_last_stable_value() {
        use Phase::{
            Deleted, Deleting, Error, Provisioning, Requested, Restarting, Running, Starting, Stopped, Stopping,
        };
        let walk = |phases: &[Phase]| {
            let mut status = Status::Provisioning;
            let mut before: Option<Phase> = None;
            for &phase in phases {
                assert!(
                    before.is_none_or(|from| from.may_become(phase)),
                    "{before:?} to {phase}"
                );
                status = Status::of(phase, status);
                before = Some(phase);
            }
            status
        };
        assert_eq!(walk(&[Requested]), Status::Provisioning);
        assert_eq!(walk(&[Requested, Provisioning, Starting]), Status::Provisioning);
        assert_eq!(walk(&[Requested, Provisioning, Starting, Running]), Status::Running);
        assert_eq!(
            walk(&[Requested, Provisioning, Starting, Running, Stopping]),
            Status::Running
        );
        assert_eq!(walk(&[Requested, Provisioning, Stopped, Starting]), Status::Stopped);
        assert_eq!(
            walk(&[Requested, Provisioning, Starting, Running, Restarting]),
            Status::Running
        );
        assert_eq!(walk(&[Requested, Provisioning, Error]), Status::Error);
        assert_eq!(walk(&[Requested, Provisioning, Error, Deleting]), Status::Error);
        assert_eq!(
            walk(&[Requested, Provisioning, Starting, Running, Deleting, Deleted]),
            Status::Running
        );
        assert_eq!(walk(&[Requested, Deleting]), Status::Provisioning);
    }

    #[test]
    fn words_are_read_back_and_others_refused() {
        for &phase in Phase::ALL {
            assert_eq!(phase.as_str().parse(), Ok(phase));
        }
        assert!("running".parse::<Phase>().is_err());
        assert!("".parse::<Status>().is_err());
    }
}
