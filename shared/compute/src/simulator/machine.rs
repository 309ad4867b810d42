//! What a simulated machine is: the sum of its effects.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::ledger::{Effect, Entry};
use crate::driver::Plan;

/// A machine and what hangs on it. The default is nothing at all.
#[derive(Debug, Default)]
pub(super) struct Machine {
    /// The highest epoch that acted here.
    pub(super) epoch: i64,
    /// Entries so far.
    pub(super) revision: u64,
    pub(super) address: Option<String>,
    pub(super) disk_gb: Option<i32>,
    pub(super) instance: Option<Instance>,
    /// When it runs or will run; `None` while it is off.
    pub(super) powered_on_at: Option<DateTime<Utc>>,
    pub(super) stopped_by_guest: bool,
    /// The tokens of the power cycles it went through.
    pub(super) cycles: BTreeSet<String>,
}

#[derive(Debug)]
pub(super) struct Instance {
    pub(super) plan: Plan,
    pub(super) ready_at: DateTime<Utc>,
}

impl Machine {
    pub(super) fn apply(&mut self, entry: Entry) {
        self.epoch = self.epoch.max(entry.epoch);
        self.revision += 1;
        match entry.effect {
            Effect::Fenced => {}
            Effect::NicCreated { address } => self.address = Some(address),
            Effect::DiskCreated { disk_gb } => self.disk_gb = Some(disk_gb),
            Effect::InstanceCreated { plan, ready_at } => self.instance = Some(Instance { plan, ready_at }),
            Effect::PowerOn { ready_at } => self.powered_on_at = Some(ready_at),
            Effect::PowerOff { by_guest, .. } => {
                self.powered_on_at = None;
                self.stopped_by_guest = by_guest;
            }
            Effect::PowerCycled { token, ready_at } => {
                self.powered_on_at = Some(ready_at);
                self.cycles.insert(token);
            }
            Effect::InstanceDeleted => {
                self.instance = None;
                self.powered_on_at = None;
            }
            Effect::DiskDeleted => self.disk_gb = None,
            Effect::NicDeleted => self.address = None,
        }
    }
}
