//! A driver without machines: what it would run is written down in files, so it survives a killed worker and is shared
//! by all workers of one computer.
//!
//! Each machine is one append-only file of effects, and its state is nothing but their sum: what the file says happened
//! is what happened, so the same lines serve the driver as memory and the tests as oracle. A line is one write; a file
//! lock, which the kernel drops with its process, makes looking and acting one step for all processes.
//!
//! Strict about fencing, as few real providers are; [`Options::is_lax`] makes it let late calls land.

mod fenced;
mod ledger;
mod machine;

use std::{path::PathBuf, sync::Arc, time::Duration};

use bulkhead_kernel::clock::Clock;
use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;

pub use ledger::{Effect, Entry, Ledger};

use self::{fenced::Fenced, ledger::Session, machine::Machine};
use crate::driver::{
    Call, Capabilities, Cause, Class, Driver, DriverError, Existence, Fence, Found, Identity, Observation, Owned,
    OwnedPage, Plan, Power, PowerTarget, Progress, Resource, Seed, Spec, TaskState,
};

/// What configuration calls this driver.
pub const NAME: &str = "simulator";

/// How many things [`Driver::list_owned`] gives at a time.
const PAGE: usize = 1000;

/// How the simulator behaves.
#[derive(Clone, Default)]
pub struct Options {
    /// How long making a machine takes; with none the call itself finishes it.
    pub creation: Duration,
    /// How long a machine takes from power on to running.
    pub boot: Duration,
    /// Calls with an old epoch are not refused.
    pub is_lax: bool,
    /// Lets a test fail, hang or mute calls.
    pub hook: Option<Hook>,
}

/// Asked before every call; what it gives happens instead.
pub type Hook = Arc<dyn Fn(&Intercepted<'_>) -> Option<Injected> + Send + Sync>;

/// A call that is about to happen.
#[derive(Debug, Clone, Copy)]
pub struct Intercepted<'a> {
    /// The method of [`Driver`].
    pub method: &'static str,
    /// The machine, task or reference it is about.
    pub subject: &'a str,
}

/// What a test makes of a call.
#[derive(Debug, Clone)]
pub enum Injected {
    /// Nothing happens, and this is the answer.
    Fail(DriverError),
    /// It happens, but the answer is lost.
    LoseReply,
    /// It never answers, and nothing happens.
    Hang,
    /// It happens, but the answer comes only once the semaphore has a permit.
    Hold(Arc<Semaphore>),
}

/// The driver. Clones and other processes over the same folder share everything.
#[derive(Clone)]
pub struct Simulator {
    folder: PathBuf,
    clock: Clock,
    options: Options,
}

impl Simulator {
    /// A simulator that keeps its files in `folder`, which is made when needed.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, clock: Clock, options: Options) -> Self {
        Self {
            folder: folder.into(),
            clock,
            options,
        }
    }

    /// All that ever happened, for tests.
    pub fn ledger(&self) -> std::io::Result<Ledger> {
        Ledger::read(&self.folder)
    }

    /// Makes something happen that nobody asked for, such as a guest that powers itself off.
    pub fn intervene(&self, identity: &Identity, effect: Effect) -> Result<(), DriverError> {
        let mut session = Session::open(&self.folder, identity.as_str(), &self.clock)?;
        let epoch = session.machine.epoch;
        session.record(epoch, effect)
    }

    /// Runs `work` on a thread that may block, after the hook had its say.
    fn call<'a, T: Send + 'static>(
        &'a self,
        method: &'static str,
        subject: String,
        work: impl FnOnce(Self, String) -> Result<T, DriverError> + Send + 'static,
    ) -> Call<'a, T> {
        Box::pin(async move {
            let hook = self.options.hook.as_ref();
            let injected = hook.and_then(|hook| {
                hook(&Intercepted {
                    method,
                    subject: &subject,
                })
            });
            match &injected {
                Some(Injected::Fail(error)) => return Err(error.clone()),
                Some(Injected::Hang) => std::future::pending().await,
                Some(Injected::LoseReply | Injected::Hold(_)) | None => {}
            }
            let this = self.clone();
            let answer = tokio::task::spawn_blocking(move || work(this, subject))
                .await
                .map_err(|error| io_failed("join", &error))?;
            match injected {
                Some(Injected::LoseReply) => Err(DriverError::new(Class::Transient, "reply_lost").ambiguous()),
                Some(Injected::Hold(gate)) => {
                    let _permit = gate.acquire().await;
                    answer
                }
                _ => answer,
            }
        })
    }

    /// A mutating call: everything in `work` happens under the machine's lock and with the fence checked.
    fn mutate<'a, T: Send + 'static>(
        &'a self,
        method: &'static str,
        fence: &Fence,
        work: impl FnOnce(&Self, &mut Fenced) -> Result<T, DriverError> + Send + 'static,
    ) -> Call<'a, T> {
        let fence = *fence;
        self.call(method, fence.identity().as_str().to_owned(), move |this, identity| {
            let session = Session::open(&this.folder, &identity, &this.clock)?;
            let mut fenced = Fenced::new(session, fence);
            fenced.admit(this.options.is_lax)?;
            work(&this, &mut fenced)
        })
    }

    fn look<'a, T: Send + 'static>(
        &'a self,
        method: &'static str,
        subject: &str,
        work: impl FnOnce(&str, &Machine, DateTime<Utc>) -> T + Send + 'static,
    ) -> Call<'a, T> {
        self.call(method, subject.to_owned(), move |this, subject| {
            let identity = subject.rsplit(':').next().unwrap_or_default();
            let machine = ledger::look(&this.folder, identity)?;
            Ok(work(&subject, &machine, this.clock.now()))
        })
    }
}

impl Driver for Simulator {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            long_tasks: true,
            graceful_stop: true,
            cause_of_off: true,
            batch_observe: true,
            fencing_token: !self.options.is_lax,
            tags: true,
            ..Capabilities::default()
        }
    }

    fn probe(&self) -> Call<'_, ()> {
        self.call("probe", String::new(), |this, _| {
            std::fs::create_dir_all(&this.folder).map_err(|error| io_failed("probe", &error))
        })
    }

    fn plan<'a>(&'a self, spec: &'a Spec) -> Call<'a, Plan> {
        let plan = Plan {
            zone: "local".into(),
            image: spec.artefact.clone(),
            digest: format!("simulated:{}", spec.artefact),
            name: spec.name.clone(),
            cpu: spec.cpu,
            memory_gb: spec.memory_gb,
            disk_gb: spec.disk_gb,
            details: serde_json::Map::new(),
        };
        self.call("plan", Identity::new(spec.vm, 1).to_string(), move |_, _| {
            if plan.image.is_empty() {
                let text = "This template cannot be used here.";
                return Err(DriverError::new(Class::InvalidSpec, "artefact_missing").public(text));
            }
            Ok(plan)
        })
    }

    fn find<'a>(&'a self, identity: &'a Identity) -> Call<'a, Found> {
        self.look("find", identity.as_str(), |subject, machine, _| {
            match machine.instance {
                Some(_) => Found::One(resource(subject)),
                None => Found::None,
            }
        })
    }

    fn ensure_image<'a>(&'a self, fence: &'a Fence, plan: &'a Plan) -> Call<'a, Progress<Resource>> {
        let image = resource(&plan.image);
        self.mutate("ensure_image", fence, move |_, _| Ok(Progress::Done(image)))
    }

    fn ensure_network<'a>(&'a self, fence: &'a Fence, _plan: &'a Plan) -> Call<'a, Progress<Resource>> {
        self.mutate("ensure_network", fence, |_, fenced| fenced.network())
    }

    fn ensure_disk<'a>(&'a self, fence: &'a Fence, plan: &'a Plan) -> Call<'a, Progress<Resource>> {
        let disk_gb = plan.disk_gb;
        self.mutate("ensure_disk", fence, move |_, fenced| fenced.disk(disk_gb))
    }

    fn ensure_instance<'a>(
        &'a self,
        fence: &'a Fence,
        plan: &'a Plan,
        _seed: Option<&'a Seed>,
    ) -> Call<'a, Progress<Resource>> {
        let plan = plan.clone();
        self.mutate("ensure_instance", fence, move |this, fenced| {
            fenced.create(&this.options, plan)
        })
    }

    fn poll<'a>(&'a self, task: &'a str) -> Call<'a, TaskState> {
        self.look("poll", task, |task, machine, now| {
            let (ready_at, made) = match task.split_once(':') {
                Some(("create", identity)) => {
                    let ready_at = machine.instance.as_ref().map(|instance| instance.ready_at);
                    (ready_at, Some(identity.to_owned()))
                }
                Some(("boot", _)) => (machine.powered_on_at, None),
                _ => (None, None),
            };
            match ready_at.map(|at| remaining(at, now)) {
                None => TaskState::Unknown,
                Some(None) => TaskState::Succeeded(made),
                Some(Some(poll_after)) => TaskState::Running {
                    percent: None,
                    poll_after,
                },
            }
        })
    }

    fn observe<'a>(&'a self, instance: &'a str) -> Call<'a, Observation> {
        self.look("observe", instance, |_, machine, now| observation(machine, now))
    }

    fn observe_many<'a>(&'a self, instances: &'a [String]) -> Call<'a, Vec<Observation>> {
        let instances = instances.to_vec();
        self.call("observe_many", String::new(), move |this, _| {
            let now = this.clock.now();
            let observe = |name: &String| Ok(observation(&ledger::look(&this.folder, name)?, now));
            instances.iter().map(observe).collect()
        })
    }

    fn ensure_power<'a>(
        &'a self,
        fence: &'a Fence,
        _instance: &'a str,
        target: &'a PowerTarget,
    ) -> Call<'a, Progress<()>> {
        let target = target.clone();
        self.mutate("ensure_power", fence, move |this, fenced| {
            fenced.power(&this.options, &target)
        })
    }

    fn ensure_deleted<'a>(&'a self, fence: &'a Fence, _instance: Option<&'a str>) -> Call<'a, Progress<()>> {
        self.mutate("ensure_deleted", fence, |_, fenced| fenced.delete())
    }

    fn list_owned<'a>(&'a self, _installation: &'a str, cursor: Option<&'a str>) -> Call<'a, OwnedPage> {
        self.call("list_owned", cursor.unwrap_or_default().to_owned(), |this, cursor| {
            let mut names = ledger::names(&this.folder).map_err(|error| io_failed("list", &error))?;
            names.retain(|name| *name > cursor);
            names.sort();
            let next = names.get(PAGE).map(|_| names[PAGE - 1].clone());
            names.truncate(PAGE);
            let mut items = Vec::new();
            for identity in names {
                items.extend(owned(&identity, &ledger::look(&this.folder, &identity)?));
            }
            Ok(OwnedPage { items, next })
        })
    }
}

fn owned(identity: &str, machine: &Machine) -> Vec<Owned> {
    let kinds = [
        ("instance", machine.instance.is_some()),
        ("disk", machine.disk_gb.is_some()),
        ("nic", machine.address.is_some()),
    ];
    let existing = kinds.into_iter().filter(|(_, exists)| *exists);
    existing
        .map(|(kind, _)| Owned {
            identity: identity.to_owned(),
            kind,
            reference: format!("{kind}:{identity}"),
        })
        .collect()
}

fn observation(machine: &Machine, now: DateTime<Utc>) -> Observation {
    let Some(instance) = &machine.instance else {
        return Observation {
            existence: Existence::Absent,
            ..Observation::default()
        };
    };
    let (power, cause) = match machine.powered_on_at {
        Some(at) if at <= now => (Power::On, Cause::Api),
        Some(_) => (Power::Changing, Cause::Api),
        None if machine.stopped_by_guest => (Power::Off, Cause::Guest),
        None => (Power::Off, Cause::Api),
    };
    Observation {
        existence: Existence::Present,
        power,
        cause,
        power_since: machine.powered_on_at.filter(|_| power == Power::On),
        addresses: machine.address.iter().filter(|_| power == Power::On).cloned().collect(),
        size: Some((instance.plan.cpu, instance.plan.memory_gb, instance.plan.disk_gb)),
        revision: Some(machine.revision.to_string()),
    }
}

fn resource(reference: &str) -> Resource {
    Resource {
        reference: reference.to_owned(),
    }
}

/// How long until then; `None` when it has come.
fn remaining(then: DateTime<Utc>, now: DateTime<Utc>) -> Option<Duration> {
    (then - now).to_std().ok().filter(|left| !left.is_zero())
}

/// The files themselves failed, so nobody knows what happened.
fn io_failed(what: &'static str, error: &dyn std::error::Error) -> DriverError {
    DriverError::new(Class::Transient, "simulator_io")
        .private(format!("{what}: {error}"))
        .ambiguous()
}

#[cfg(test)]
mod tests;
