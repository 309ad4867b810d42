//! One transaction of a pass: write down what came of the last call, decide, write down the next call, commit.

use std::{sync::Arc, time::Duration};

use bulkhead_events::Event;
use bulkhead_kernel::{ids::OperationId, origin::Origin};
use bulkhead_tenancy::TenantTx;
use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    Reconciler,
    decide::decide,
    model::{CREATE, DELETE, Decision, Lease, PassError, Request, Rest, Step, Subject},
    store,
};
use crate::{
    driver::{Driver, Fence, Spec},
    events::{self, Level, NewEvent},
    operations::{self, Kind, Operation, State, StepState},
    templates,
    vms::{Phase, VmFault},
};

/// A VM under the lock of its row and the epoch of its lease.
pub(super) struct Turn<'a> {
    pub(super) reconciler: &'a Reconciler,
    pub(super) lease: &'a Lease,
    pub(super) tx: TenantTx,
    pub(super) subject: Subject,
    pub(super) now: DateTime<Utc>,
}

/// What a turn ends with.
pub(super) enum Next {
    Rest(Rest),
    Call(Box<Request>),
}

impl<'a> Turn<'a> {
    /// Refused when the lease is another worker's. `None` when the VM is purged. Which tenants' machines are looked after
    /// is decided by what is leased: those of read-only tenants are, and those of a tenant being purged.
    pub(super) async fn begin(reconciler: &'a Reconciler, lease: &'a Lease) -> Result<Option<Self>, PassError> {
        let mut tx = reconciler.db.tenant_for_platform(lease.tenant).await?;
        if !store::lock(&mut tx, lease, reconciler.settings.lease).await? {
            return Ok(None);
        }
        let subject = store::get(&mut tx, lease.vm).await?;
        Ok(Some(Self {
            reconciler,
            lease,
            tx,
            subject,
            now: reconciler.clock.now(),
        }))
    }

    /// Decides until there is a call to make or nothing to do. Decisions that need no provider take effect here.
    pub(super) async fn advance(&mut self) -> Result<Next, PassError> {
        loop {
            match decide(&self.subject, self.now) {
                Decision::Rest(rest) => return Ok(Next::Rest(rest)),
                Decision::Call {
                    position,
                    step,
                    is_resumed,
                } => {
                    self.intend(position, step).await?;
                    return Ok(Next::Call(Box::new(
                        self.request(position, step, is_resumed, None).await?,
                    )));
                }
                Decision::Poll { position, step, task } => {
                    return Ok(Next::Call(Box::new(
                        self.request(position, step, true, Some(task)).await?,
                    )));
                }
                Decision::Look if self.subject.provider_ref.is_none() => return Ok(Next::Rest(Rest::Never)),
                Decision::Look => return Ok(Next::Call(Box::new(self.request(0, Step::Look, false, None).await?))),
                Decision::Begin => self.start().await?,
                Decision::Cancel => self.cancel().await?,
                Decision::Expire => {
                    self.fail_running("deadline", "It was not finished in time.", None)
                        .await?;
                }
                Decision::Skip(position, step) => {
                    self.intend(position, step).await?;
                    self.set_done(position, step).await?;
                }
                Decision::Finish => self.finish().await?,
            }
            self.subject = store::get(&mut self.tx, self.lease.vm).await?;
        }
    }

    /// The waiting operation begins: T2 for a creation, T14 for a deletion.
    async fn start(&mut self) -> Result<(), PassError> {
        let Some(pending) = self.subject.pending.take() else {
            return Ok(());
        };
        let steps = if pending.kind == Kind::Delete { DELETE } else { CREATE };
        let total = i32::try_from(steps.len()).unwrap_or_default();
        operations::store::set_running(&mut self.tx, pending.id, total, self.now).await?;
        self.subject.running = Some(pending);
        if self.running()?.kind == Kind::Delete {
            self.enter(Phase::Deleting, None).await?;
            return self
                .record(Level::Info, "vm.deleting", "The machine is being deleted.")
                .await;
        }
        self.enter(Phase::Provisioning, None).await?;
        self.record(Level::Info, "vm.provisioning", "The machine is being made.")
            .await
    }

    /// The running operation is called off between two of its steps; the deletion that waits takes over.
    async fn cancel(&mut self) -> Result<(), PassError> {
        let (id, kind) = (self.running()?.id, self.running()?.kind);
        let end = if kind == Kind::Create {
            State::Cancelled
        } else {
            State::Superseded
        };
        operations::store::set_ended(&mut self.tx, id, end, self.now).await?;
        let message = format!("The operation {kind} was called off.");
        self.record(Level::Info, "operation.cancelled", &message).await
    }

    /// All steps are behind: a deletion is proved (T14), a failed creation is cleaned up (T12).
    async fn finish(&mut self) -> Result<(), PassError> {
        let operation = self.running()?.clone();
        store::close_segments(&mut self.tx, self.lease.vm, self.now).await?;
        store::delete_allocation(&mut self.tx, self.lease.vm).await?;
        if operation.kind == Kind::Delete {
            self.enter(Phase::Deleted, None).await?;
            store::set_applied(&mut self.tx, self.lease.vm, operation.target_gen).await?;
            self.record(Level::Info, "vm.deleted", "The machine is gone.").await?;
            return self.end(operation.id, State::Succeeded).await;
        }
        let error = operation.error.clone().unwrap_or_else(|| json!({"code": "unknown"}));
        self.enter(Phase::Error, Some((VmFault::CreateFailed, &error))).await?;
        let message = "The machine could not be made; nothing of it is left.";
        self.record(Level::Error, "vm.create_failed", message).await?;
        self.end(operation.id, State::Failed).await
    }

    /// The running operation will fail; what it made is cleaned up first.
    pub(super) async fn fail_running(
        &mut self,
        code: &str,
        message: &str,
        step: Option<Step>,
    ) -> Result<(), PassError> {
        let id = self.running()?.id;
        let error = json!({"code": code, "message": message, "step": step.map(Step::name), "at": self.now});
        operations::store::set_error(&mut self.tx, id, &error).await?;
        self.record(Level::Error, "operation.failing", message).await
    }

    /// Write-ahead: committed before the call that it announces.
    async fn intend(&mut self, position: i16, step: Step) -> Result<(), PassError> {
        let id = self.running()?.id;
        let epoch = self.lease.epoch;
        operations::store::upsert_intent(&mut self.tx, id, (position, step.name()), epoch, self.now).await?;
        let done = self
            .subject
            .steps
            .iter()
            .filter(|row| row.state == StepState::Done && row.position < position);
        let done = i32::try_from(done.count()).unwrap_or_default();
        let done = done.min(self.running()?.steps_total);
        Ok(operations::store::set_progress(&mut self.tx, id, step.name(), done).await?)
    }

    pub(super) async fn set_done(&mut self, position: i16, step: Step) -> Result<(), PassError> {
        let id = self.running()?.id;
        tracing::debug!(vm.id = %self.lease.vm, step = step.name(), "step done");
        let outcome = (StepState::Done, None, None);
        Ok(operations::store::set_step(&mut self.tx, id, position, outcome, self.now).await?)
    }

    async fn request(
        &mut self,
        position: i16,
        step: Step,
        is_resumed: bool,
        task: Option<String>,
    ) -> Result<Request, PassError> {
        let driver = self.driver()?;
        let spec = match step {
            Step::Plan => Some(self.spec(driver.name()).await?),
            _ => None,
        };
        let subject = &self.subject;
        Ok(Request {
            fence: Fence {
                vm: subject.vm,
                incarnation: subject.incarnation,
                epoch: self.lease.epoch,
            },
            operation: subject.running.as_ref().map(|operation| operation.id),
            task: task.or_else(|| subject.leftover.clone().filter(|_| step == Step::Await)),
            plan: subject.plan.clone(),
            reference: subject.provider_ref.clone(),
            driver,
            position,
            step,
            is_resumed,
            spec,
        })
    }

    fn driver(&self) -> Result<Arc<dyn Driver>, PassError> {
        let drivers = &self.reconciler.drivers;
        match &self.subject.provider {
            None => Ok(Arc::clone(drivers.chosen())),
            Some(name) => drivers
                .find(name)
                .cloned()
                .ok_or_else(|| PassError::NoDriver(name.clone())),
        }
    }

    async fn spec(&mut self, driver: &str) -> Result<Spec, PassError> {
        let template = match self.subject.template {
            Some(id) => templates::store::find(&mut self.tx, id).await?,
            None => None,
        };
        let artefact = template.and_then(|mut template| template.artefacts.remove(driver));
        let subject = &self.subject;
        Ok(Spec {
            vm: subject.vm,
            name: subject.name.clone(),
            // A driver refuses an empty one as an invalid spec, which is the right end for such a VM.
            artefact: artefact.unwrap_or_default(),
            cpu: subject.size.cpu,
            memory_gb: subject.size.memory_gb,
            disk_gb: subject.size.disk_gb,
        })
    }

    /// The running operation; a decision that needs one was made because there is one.
    pub(super) fn running(&self) -> Result<&Operation, PassError> {
        self.subject.running.as_ref().ok_or(PassError::Moved)
    }

    pub(super) async fn enter(
        &mut self,
        to: Phase,
        fault: Option<(VmFault, &serde_json::Value)>,
    ) -> Result<(), PassError> {
        let before = self.subject.last_stable;
        store::set_phase(&mut self.tx, &mut self.subject, to, fault, self.now).await?;
        if to == Phase::Deleted || self.subject.last_stable != before {
            self.tell(to).await?;
        }
        Ok(())
    }

    /// Tells the tenant's webhooks that the status is another one, or that the machine is gone.
    async fn tell(&mut self, phase: Phase) -> Result<(), PassError> {
        let told = bulkhead_events::Vm {
            id: self.subject.vm,
            name: self.subject.name.clone(),
            status: self.subject.last_stable.as_str(),
        };
        let event = if phase == Phase::Deleted {
            Event::VmDeleted(told)
        } else {
            Event::VmUpdated(told)
        };
        let mut origin = Origin::system("reconciler");
        if let Some(operation) = &self.subject.running {
            origin.principal.clone_from(&operation.principal);
            origin.request_id.clone_from(&operation.request_id);
        }
        Ok(bulkhead_events::emit(&origin, &mut self.tx, self.now, &event).await?)
    }

    pub(super) async fn end(&mut self, id: OperationId, state: State) -> Result<(), PassError> {
        Ok(operations::store::set_ended(&mut self.tx, id, state, self.now).await?)
    }

    /// Appends to the timeline on behalf of whoever asked for the running operation.
    pub(super) async fn record(&mut self, level: Level, code: &str, message: &str) -> Result<(), PassError> {
        let operation = self.subject.running.as_ref();
        let event = NewEvent {
            at: self.now,
            level,
            code,
            message,
            phase: self.subject.phase,
            principal: operation.map_or("system", |operation| &operation.principal),
            operation: operation.map(|operation| operation.id),
            request_id: operation.map_or("reconciler", |operation| &operation.request_id),
        };
        Ok(events::store::insert(&mut self.tx, self.lease.vm, &event).await?)
    }

    pub(super) const fn back_off(at_least: Duration) -> Rest {
        Rest::BackOff { at_least }
    }
}
