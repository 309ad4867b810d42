//! What the holder of an epoch does to a machine, under the machine's lock.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Options,
    ledger::{Effect, Session},
    machine::Machine,
    remaining, resource,
};
use crate::driver::{Class, DriverError, Fence, Plan, PowerTarget, Progress, Resource, StopMode};

/// A machine under its lock, acted upon by the holder of an epoch.
pub(super) struct Fenced {
    session: Session,
    fence: Fence,
}

impl Fenced {
    pub(super) const fn new(session: Session, fence: Fence) -> Self {
        Self { session, fence }
    }

    /// Refuses an old epoch, and remembers a new one even if the call has nothing to do.
    pub(super) fn admit(&mut self, is_lax: bool) -> Result<(), DriverError> {
        let highest = self.session.machine.epoch;
        if self.fence.epoch < highest && !is_lax {
            let text = format!("epoch {} after {highest}", self.fence.epoch);
            return Err(DriverError::new(Class::Fenced, "stale_epoch").private(text));
        }
        if self.fence.epoch > highest {
            self.record(Effect::Fenced)?;
        }
        Ok(())
    }

    fn machine(&self) -> &Machine {
        &self.session.machine
    }

    fn record(&mut self, effect: Effect) -> Result<(), DriverError> {
        self.session.record(self.fence.epoch, effect)
    }

    /// Done with the machine itself once `ready_at` has passed, else the named task.
    fn until<T>(&self, task: &str, ready_at: DateTime<Utc>, done: T) -> Progress<T> {
        match remaining(ready_at, self.session.now) {
            None => Progress::Done(done),
            Some(poll_after) => Progress::Pending {
                task: format!("{task}:{}", self.fence.identity()),
                poll_after,
            },
        }
    }

    pub(super) fn power(&mut self, options: &Options, target: &PowerTarget) -> Result<Progress<()>, DriverError> {
        let Some(instance) = &self.machine().instance else {
            return Err(DriverError::new(Class::NotFound, "instance_missing"));
        };
        if let Some(left) = remaining(instance.ready_at, self.session.now) {
            return Err(DriverError {
                retry_after: Some(left),
                ..DriverError::new(Class::Busy, "instance_not_ready")
            });
        }
        let ready_at = after(self.session.now, options.boot);
        match target {
            PowerTarget::On => {
                if self.machine().powered_on_at.is_none() {
                    self.record(Effect::PowerOn { ready_at })?;
                }
            }
            PowerTarget::Off(mode) => {
                if self.machine().powered_on_at.is_some() {
                    self.record(Effect::PowerOff {
                        by_guest: false,
                        is_forced: *mode == StopMode::Force,
                    })?;
                }
                return Ok(Progress::Done(()));
            }
            PowerTarget::Cycle { token } => {
                if !self.machine().cycles.contains(token) {
                    self.record(Effect::PowerCycled {
                        token: token.clone(),
                        ready_at,
                    })?;
                }
            }
        }
        Ok(self.until("boot", self.machine().powered_on_at.unwrap_or(ready_at), ()))
    }

    pub(super) fn delete(&mut self) -> Result<Progress<()>, DriverError> {
        if self.machine().instance.is_some() {
            self.record(Effect::InstanceDeleted)?;
        }
        if self.machine().disk_gb.is_some() {
            self.record(Effect::DiskDeleted)?;
        }
        if self.machine().address.is_some() {
            self.record(Effect::NicDeleted)?;
        }
        Ok(Progress::Done(()))
    }

    pub(super) fn create(&mut self, options: &Options, plan: Plan) -> Result<Progress<Resource>, DriverError> {
        let machine = self.machine();
        let ready_at = match &machine.instance {
            Some(existing) if existing.plan != plan => {
                return Err(DriverError::new(Class::IdentityExists, "identity_collision"));
            }
            Some(existing) => existing.ready_at,
            None if machine.disk_gb.is_none() || machine.address.is_none() => {
                return Err(DriverError::new(Class::NotFound, "dependent_missing"));
            }
            None => {
                let ready_at = after(self.session.now, options.creation);
                self.record(Effect::InstanceCreated { plan, ready_at })?;
                ready_at
            }
        };
        Ok(self.until("create", ready_at, resource(self.fence.identity().as_str())))
    }

    pub(super) fn network(&mut self) -> Result<Progress<Resource>, DriverError> {
        if self.machine().address.is_none() {
            let address = address_of(&self.fence);
            self.record(Effect::NicCreated { address })?;
        }
        Ok(Progress::Done(resource(&format!("nic:{}", self.fence.identity()))))
    }

    pub(super) fn disk(&mut self, disk_gb: i32) -> Result<Progress<Resource>, DriverError> {
        if self.machine().disk_gb.is_none() {
            self.record(Effect::DiskCreated { disk_gb })?;
        }
        Ok(Progress::Done(resource(&format!("disk:{}", self.fence.identity()))))
    }
}

/// The same address for the same machine every time, somewhere in 10.0.0.0/8.
fn address_of(fence: &Fence) -> String {
    let [.., a, b, c] = *fence.vm.uuid().as_bytes();
    format!("10.{a}.{b}.{}", u16::from(c) % 254 + 1)
}

fn after(now: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    now + TimeDelta::from_std(wait).unwrap_or_default()
}
