//! The port to whatever runs machines: a hypervisor, a cloud, the simulator.
//!
//! A driver is stateless between calls and never sleeps to wait: long work is handed back as a [`Progress::Pending`]
//! task, which the caller stores before it waits. Every mutating method is named `ensure_*`, can be repeated, and takes
//! a [`Fence`]; a driver with `capabilities().fencing_token` keeps the highest epoch and refuses lower ones.
//! The machine's identity is set at creation, atomically, so a lost reply is answered by [`Driver::find`].
//!
//! Absent: SQL, tenants, retries. What an error means is said by its [`Class`]; what is done about it is `reconcile`'s.

mod error;
mod model;
mod registry;

use std::{pin::Pin, time::Duration};

pub use error::{Class, DriverError};
pub use model::{
    Capabilities, Cause, ConsoleGrant, ConsoleKind, DriverEvent, Existence, Fence, Found, Identity, Limits,
    Observation, Owned, OwnedPage, Plan, Power, PowerTarget, Progress, Resource, Seed, Spec, StopMode, TaskState,
};
pub use registry::{Drivers, UnknownDriver};

/// What a driver's method gives: a future that can be kept in a `dyn Driver`.
pub type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T, DriverError>> + Send + 'a>>;

/// One way to run machines.
pub trait Driver: Send + Sync + 'static {
    /// As configuration and the column `provider` call it.
    fn name(&self) -> &'static str;

    /// What it can do beyond the minimum.
    fn capabilities(&self) -> Capabilities;

    /// Proves that the session works and may do what we need; without it an absence proves nothing.
    fn probe(&self) -> Call<'_, ()>;

    /// Decides where and from what the machine is made. No effect; the result is stored and never recomputed for this
    /// incarnation, or a retry could make a second machine elsewhere.
    fn plan<'a>(&'a self, spec: &'a Spec) -> Call<'a, Plan>;

    /// All machines that bear the identity. Many is an alarm, never a choice.
    fn find<'a>(&'a self, identity: &'a Identity) -> Call<'a, Found>;

    /// The plan's image is where the machine will be.
    fn ensure_image<'a>(&'a self, fence: &'a Fence, plan: &'a Plan) -> Call<'a, Progress<Resource>>;

    /// The machine's network identity, named after the machine so that a retry meets its own leftovers.
    fn ensure_network<'a>(&'a self, fence: &'a Fence, plan: &'a Plan) -> Call<'a, Progress<Resource>>;

    /// The machine's disk, named after the machine.
    fn ensure_disk<'a>(&'a self, fence: &'a Fence, plan: &'a Plan) -> Call<'a, Progress<Resource>>;

    /// The machine itself, powered off where the provider can.
    fn ensure_instance<'a>(
        &'a self,
        fence: &'a Fence,
        plan: &'a Plan,
        seed: Option<&'a Seed>,
    ) -> Call<'a, Progress<Resource>>;

    /// How a task handed back as pending is getting on.
    fn poll<'a>(&'a self, task: &'a str) -> Call<'a, TaskState>;

    /// What the provider says of a machine. Not being able to tell is an answer, not an error.
    fn observe<'a>(&'a self, instance: &'a str) -> Call<'a, Observation>;

    /// [`Driver::observe`] for many, in the order asked; a driver without a batch call asks one by one.
    fn observe_many<'a>(&'a self, instances: &'a [String]) -> Call<'a, Vec<Observation>>;

    /// Brings the power where it should be; being there already is done.
    fn ensure_power<'a>(
        &'a self,
        fence: &'a Fence,
        instance: &'a str,
        target: &'a PowerTarget,
    ) -> Call<'a, Progress<()>>;

    /// Removes machine, disks, network identity and seed, also without a reference. Finding nothing is done.
    fn ensure_deleted<'a>(&'a self, fence: &'a Fence, instance: Option<&'a str>) -> Call<'a, Progress<()>>;

    /// Everything at the provider that is tagged as this installation's, for the sweep.
    fn list_owned<'a>(&'a self, installation: &'a str, cursor: Option<&'a str>) -> Call<'a, OwnedPage>;

    /// Shows another name at the provider; best effort.
    fn rename<'a>(&'a self, _fence: &'a Fence, _instance: &'a str, _name: &'a str) -> Call<'a, ()> {
        unsupported("rename")
    }

    /// A one-time way to the machine's console, valid for `ttl` to connect.
    fn open_console<'a>(&'a self, _instance: &'a str, _kind: ConsoleKind, _ttl: Duration) -> Call<'a, ConsoleGrant> {
        unsupported("open_console")
    }

    /// Removes the user data from where the guest could still read it.
    fn scrub_seed<'a>(&'a self, _fence: &'a Fence, _instance: &'a str) -> Call<'a, ()> {
        unsupported("scrub_seed")
    }

    /// What happened at the provider since `cursor`: hints that make a machine due earlier, never facts.
    fn events<'a>(&'a self, _cursor: Option<&'a str>) -> Call<'a, Vec<DriverEvent>> {
        unsupported("events")
    }
}

fn unsupported<'a, T>(what: &'static str) -> Call<'a, T>
where
    T: Send + 'a,
{
    Box::pin(std::future::ready(Err(DriverError::new(
        Class::Unsupported,
        "unsupported",
    )
    .private(what))))
}
