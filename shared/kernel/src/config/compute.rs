//! `[compute]`: virtual machines.

use std::{path::PathBuf, time::Duration};

use super::reader::SectionReader;

/// What runs the machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DriverKind {
    /// Machines that exist only as files, for development and tests.
    #[default]
    Simulator,
}

/// How machines are run and watched.
#[derive(Debug, Clone)]
pub struct Compute {
    /// What runs them.
    pub driver: DriverKind,
    /// Where the simulator keeps its machines.
    pub simulator_dir: PathBuf,
    /// How long a simulated machine boots; may be zero.
    pub simulator_boot: Duration,
    /// Between two looks at a machine at rest.
    pub observe_interval: Duration,
    /// How long a machine is held without a sign of life.
    pub lease: Duration,
    /// Between two looks for machines with work to do without notice.
    pub poll: Duration,
}

impl Compute {
    pub(super) fn read(section: &mut SectionReader<'_, '_>) -> Self {
        Self {
            driver: section.choice("driver", &[("simulator", DriverKind::Simulator)]),
            simulator_dir: section.path("simulator_dir"),
            simulator_boot: section.millis("simulator_boot_ms", 0..=3_600_000),
            observe_interval: section.millis("observe_interval_ms", 1..=3_600_000),
            lease: section.millis("lease_ms", 100..=3_600_000),
            poll: section.millis("poll_ms", 1..=3_600_000),
        }
    }
}
