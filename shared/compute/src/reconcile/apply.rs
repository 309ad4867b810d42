//! Writing down what came of a call, and the transitions that follow from it.

use std::time::Duration;

use serde_json::json;

use super::{
    decide::interval,
    model::{Answer, Outcome, POWER_POSITION, PassError, Rest, Step},
    store,
    turn::Turn,
};
use crate::{
    driver::{Class, DriverError, Existence, Found, Observation, Plan, Power},
    events::Level,
    operations::{self, Kind, State, StepState},
    vms::{Desired, Phase, VmFault},
};

/// How soon to look again for power that is on its way.
const CHANGING_POLL: Duration = Duration::from_millis(300);

/// No task is asked for sooner, whatever the provider suggests.
const LEAST_POLL: Duration = Duration::from_millis(20);

impl Turn<'_> {
    /// Gives when to look again if there is nothing to decide now.
    pub(super) async fn apply(&mut self, outcome: Outcome) -> Result<Option<Rest>, PassError> {
        let Outcome { request, answer } = outcome;
        let running = self.subject.running.as_ref().map(|operation| operation.id);
        if running != request.operation {
            return Ok(None);
        }
        let (position, step) = (request.position, request.step);
        match answer {
            // The task goes on whether or not it can be asked for.
            Err(error) if request.task.is_some() && error.class != Class::Fenced => {
                tracing::warn!(vm.id = %self.lease.vm, step = step.name(), %error, "task cannot be polled");
                Ok(Some(Self::back_off(error.retry_after.unwrap_or_default())))
            }
            Err(error) | Ok(Answer::TaskFailed(error)) => self.failed(position, step, &error).await,
            Ok(Answer::Pending { task, poll_after }) => self.wait(position, &task, poll_after).await,
            Ok(Answer::Running { percent, poll_after }) => self.go_on(percent, poll_after).await,
            Ok(Answer::Forgotten) => self.redo(position).await.map(|()| None),
            Ok(Answer::Planned(plan)) => {
                self.planned(request.driver.name(), &plan).await?;
                self.complete(position, step).await
            }
            Ok(Answer::Done(reference)) => {
                if step == Step::Instance {
                    self.made(reference).await?;
                }
                self.complete(position, step).await
            }
            Ok(Answer::Observed(seen)) if step == Step::Look => self.looked(&seen).await,
            Ok(Answer::Observed(seen)) => self.confirm(position, &seen).await,
            Ok(Answer::Found(found)) => self.proved(position, &found).await,
        }
    }

    /// The task is stored before anybody waits for it.
    async fn wait(&mut self, position: i16, task: &str, poll_after: Duration) -> Result<Option<Rest>, PassError> {
        let id = self.running()?.id;
        let waiting = (StepState::Waiting, Some(task), None);
        operations::store::set_step(&mut self.tx, id, position, waiting, self.now).await?;
        Ok(Some(Rest::For(poll_after.max(LEAST_POLL))))
    }

    async fn go_on(&mut self, percent: Option<i16>, poll_after: Duration) -> Result<Option<Rest>, PassError> {
        if let Some(percent) = percent {
            let id = self.running()?.id;
            operations::store::set_percent(&mut self.tx, id, percent.clamp(0, 100)).await?;
        }
        Ok(Some(Rest::For(poll_after.max(LEAST_POLL))))
    }

    async fn complete(&mut self, position: i16, step: Step) -> Result<Option<Rest>, PassError> {
        self.set_done(position, step).await?;
        let told = match step {
            Step::Image => Some(("vm.image_ready", "The image is in place.")),
            Step::Network => Some(("vm.network_ready", "The network is in place.")),
            Step::Disk => Some(("vm.disk_ready", "The disk is in place.")),
            _ => None,
        };
        if let Some((code, message)) = told {
            self.record(Level::Info, code, message).await?;
        }
        self.reload().await
    }

    async fn reload(&mut self) -> Result<Option<Rest>, PassError> {
        self.subject = store::get(&mut self.tx, self.lease.vm).await?;
        Ok(None)
    }

    /// The step is called again, looking first for what the earlier call may have done.
    async fn redo(&mut self, position: i16) -> Result<(), PassError> {
        let id = self.running()?.id;
        let intent = (StepState::Intent, None, None);
        operations::store::set_step(&mut self.tx, id, position, intent, self.now).await?;
        self.reload().await.map(drop)
    }

    async fn planned(&mut self, provider: &str, plan: &Plan) -> Result<(), PassError> {
        let stored = serde_json::to_value(plan).map_err(crate::vms::VmError::from)?;
        Ok(store::set_plan(&mut self.tx, self.lease, provider, &stored).await?)
    }

    /// T3: the machine is there, powered off.
    async fn made(&mut self, reference: Option<String>) -> Result<(), PassError> {
        if self.subject.phase != Phase::Provisioning {
            return Ok(());
        }
        if let Some(reference) = reference {
            store::set_provider_ref(&mut self.tx, self.lease.vm, &reference).await?;
        }
        let disk_gb = self.subject.size.disk_gb;
        store::open_segment(&mut self.tx, self.lease.vm, "disk", disk_gb, self.now).await?;
        if self.subject.desired == Desired::Deleted {
            return Ok(());
        }
        if self.subject.desired == Desired::Stopped {
            self.enter(Phase::Stopped, None).await?;
            let operation = (self.running()?.id, self.running()?.target_gen);
            store::set_applied(&mut self.tx, self.lease.vm, operation.1).await?;
            self.record(Level::Info, "vm.stopped", "The machine was made and stays off.")
                .await?;
            return self.end(operation.0, State::Succeeded).await;
        }
        self.enter(Phase::Starting, None).await?;
        self.record(Level::Info, "vm.starting", "The machine was made and is starting.")
            .await
    }

    /// T4 as soon as the power is seen on; an address may come later.
    async fn confirm(&mut self, position: i16, seen: &Observation) -> Result<Option<Rest>, PassError> {
        if seen.is_running() {
            let (id, generation) = (self.running()?.id, self.running()?.target_gen);
            self.set_done(position, Step::Confirm).await?;
            self.run(seen).await?;
            store::set_applied(&mut self.tx, self.lease.vm, generation).await?;
            self.end(id, State::Succeeded).await?;
            return self.reload().await;
        }
        if seen.existence == Existence::Present && seen.power == Power::Off {
            self.redo(POWER_POSITION).await?;
            return Ok(Some(Self::back_off(CHANGING_POLL)));
        }
        if seen.existence == Existence::Present {
            return Ok(Some(Rest::For(CHANGING_POLL)));
        }
        Ok(Some(Self::back_off(CHANGING_POLL)))
    }

    /// The machine runs: meters and what is shown of it.
    async fn run(&mut self, seen: &Observation) -> Result<(), PassError> {
        let size = self.subject.size;
        let since = seen.power_since.map_or(self.now, |since| since.min(self.now));
        self.enter(Phase::Running, None).await?;
        store::open_segment(&mut self.tx, self.lease.vm, "compute", size.cpu, since).await?;
        store::open_segment(&mut self.tx, self.lease.vm, "memory", size.memory_gb, since).await?;
        self.record(Level::Info, "vm.running", "The machine is running.")
            .await?;
        self.see(seen).await
    }

    /// Stores what was seen if it differs from what was seen before.
    async fn see(&mut self, seen: &Observation) -> Result<(), PassError> {
        let words = json!({
            "existence": seen.existence.as_str(),
            "power": seen.power.as_str(),
            "cause": seen.cause.as_str(),
            "revision": seen.revision,
        });
        let is_known = |key: &str| self.subject.observed.get(key) == words.get(key);
        let known = self.subject.ip_address.clone();
        let address = seen.addresses.first().cloned().or_else(|| known.clone());
        if address == known && ["existence", "power", "cause", "revision"].into_iter().all(is_known) {
            return Ok(());
        }
        let mut observed = words;
        observed["at"] = json!(self.now);
        store::set_observed(&mut self.tx, self.lease.vm, &observed, address.as_deref(), self.now).await?;
        if let Some(address) = address.filter(|address| known.as_ref() != Some(address)) {
            self.record(Level::Info, "vm.address", &format!("The address is {address}."))
                .await?;
        }
        Ok(())
    }

    /// A look at a machine at rest, or at one whose start has failed.
    async fn looked(&mut self, seen: &Observation) -> Result<Option<Rest>, PassError> {
        if self.subject.running.is_some() {
            return self.settle_where_it_is(seen).await;
        }
        if seen.existence == Existence::Present {
            self.see(seen).await?;
        }
        self.reload().await?;
        let again = interval(&self.subject, self.reconciler.settings.observe_interval);
        Ok(Some(Rest::For(again)))
    }

    /// T13: the start has failed, and the VM goes where the machine really is.
    async fn settle_where_it_is(&mut self, seen: &Observation) -> Result<Option<Rest>, PassError> {
        let operation = self.running()?.clone();
        let error = operation.error.unwrap_or_default();
        if seen.is_running() {
            self.run(seen).await?;
        } else if seen.existence == Existence::Present && seen.power == Power::Off {
            self.enter(Phase::Stopped, None).await?;
            store::set_desired(&mut self.tx, self.lease.vm, Desired::Stopped).await?;
            self.record(
                Level::Warning,
                "vm.start_failed",
                "The machine did not start and is off.",
            )
            .await?;
        } else {
            self.enter(Phase::Error, Some((VmFault::Indeterminate, &error))).await?;
            self.record(Level::Error, "vm.indeterminate", "Where the machine is cannot be told.")
                .await?;
        }
        store::set_last_error(&mut self.tx, self.lease.vm, &error).await?;
        store::set_applied(&mut self.tx, self.lease.vm, operation.target_gen).await?;
        self.end(operation.id, State::Failed).await?;
        self.reload().await
    }

    /// Nothing may bear the identity any more; else it is removed again.
    async fn proved(&mut self, position: i16, found: &Found) -> Result<Option<Rest>, PassError> {
        if *found == Found::None {
            self.set_done(position, Step::Absent).await?;
            return self.reload().await;
        }
        self.redo(position - 1).await?;
        Ok(Some(Self::back_off(CHANGING_POLL)))
    }

    async fn failed(&mut self, position: i16, step: Step, error: &DriverError) -> Result<Option<Rest>, PassError> {
        if error.class == Class::Fenced {
            return Err(PassError::Lost);
        }
        tracing::warn!(vm.id = %self.lease.vm, step = step.name(), %error, is_ambiguous = error.is_ambiguous, "provider call failed");
        let at_least = error.retry_after.unwrap_or_default();
        if step == Step::Look {
            return Ok(Some(Self::back_off(at_least)));
        }
        let is_creation = self.running()?.kind == Kind::Create && self.running()?.error.is_none();
        if error.class.is_terminal() && is_creation {
            let id = self.running()?.id;
            let given_up = (StepState::Failed, None, None);
            operations::store::set_step(&mut self.tx, id, position, given_up, self.now).await?;
            self.fail_running(error.code, &error.public_text(), Some(step)).await?;
            return self.reload().await;
        }
        let is_first = self.lease.failures == 0;
        if is_first && error.class != Class::Busy {
            let message = format!(
                "The step {} failed and will be tried again. {}",
                step.name(),
                error.public_text()
            );
            self.record(Level::Warning, "provider.unavailable", &message).await?;
        }
        self.redo(position).await?;
        Ok(Some(Self::back_off(at_least)))
    }
}
