//! What drivers and their callers tell each other.

use std::{fmt, time::Duration};

use bulkhead_kernel::ids::VmId;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What a machine is called at its provider: the VM's id and incarnation, as in `vm-0190…-1`. Safe as a file name, a
/// client token and a resource name (lower case, digits, dashes, under 64 bytes).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity(String);

impl Identity {
    /// The identity of one incarnation of a VM.
    #[must_use]
    pub fn new(vm: VmId, incarnation: i32) -> Self {
        Self(format!("vm-{}-{incarnation}", vm.uuid().simple()))
    }

    /// The text as providers see it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose turn it is with a machine. A call with a lower epoch than one already seen comes from a worker that lost its
/// lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// The machine.
    pub vm: VmId,
    /// Rises when the machine is made anew after the previous one was proved absent.
    pub incarnation: i32,
    /// Rises with every lease on the machine.
    pub epoch: i64,
}

impl Fence {
    /// What the machine is called at the provider.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity::new(self.vm, self.incarnation)
    }
}

/// What a machine should be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The machine.
    pub vm: VmId,
    /// The name its owner gave it.
    pub name: String,
    /// What this driver boots, from the template's artefacts.
    pub artefact: String,
    /// Virtual processors.
    pub cpu: i32,
    /// Memory.
    pub memory_gb: i32,
    /// Size of the first disk.
    pub disk_gb: i32,
}

/// Where and from what a machine is made; stored with the VM, the same for every retry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The part of the provider it lives in.
    pub zone: String,
    /// What it boots.
    pub image: String,
    /// The image's content, so that a republished image cannot change a retry.
    pub digest: String,
    /// The name its owner gave it.
    pub name: String,
    /// Virtual processors.
    pub cpu: i32,
    /// Memory.
    pub memory_gb: i32,
    /// Size of the first disk.
    pub disk_gb: i32,
    /// What else the driver has to remember.
    #[serde(default)]
    pub details: serde_json::Map<String, serde_json::Value>,
}

/// What a machine reads at its first boot (cloud-init).
pub struct Seed {
    /// The user data; secret, so there is no `Debug`.
    pub user_data: Vec<u8>,
    /// Lines for `authorized_keys`.
    pub ssh_keys: Vec<String>,
}

/// Something that exists at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The provider's own handle of it.
    pub reference: String,
}

/// Whether a mutating call has finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress<T> {
    /// It is as asked.
    Done(T),
    /// The provider is at it.
    Pending {
        /// To be stored, then given to [`super::Driver::poll`].
        task: String,
        /// When polling makes sense.
        poll_after: Duration,
    },
}

/// How a pending task is getting on.
#[derive(Debug)]
pub enum TaskState {
    /// Still at it.
    Running {
        /// 0 to 100, only where the provider reports it.
        percent: Option<i16>,
        /// When polling makes sense again.
        poll_after: Duration,
    },
    /// It is as asked; the reference of what was made, where something was.
    Succeeded(Option<String>),
    /// It ended otherwise.
    Failed(super::DriverError),
    /// The provider has forgotten the task: [`super::Driver::find`] tells what came of it.
    Unknown,
}

/// Which machines bear an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// None, as far as a healthy session can see.
    None,
    /// The one.
    One(Resource),
    /// More than one: somebody has to look.
    Many(Vec<Resource>),
}

/// Where the power should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PowerTarget {
    /// Running.
    On,
    /// Not running.
    Off(StopMode),
    /// Off and on once per token, however often it is asked.
    Cycle {
        /// The operation that wants it.
        token: String,
    },
}

/// How a machine is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// The guest is asked.
    Graceful,
    /// The plug is pulled.
    Force,
}

/// Whether a machine is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existence {
    /// It is.
    Present,
    /// It was not found; twice in a row from a healthy session makes it gone.
    Absent,
    /// The provider could not say.
    #[default]
    Indeterminate,
}

/// Where the power is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Power {
    /// Running.
    On,
    /// Not running.
    Off,
    /// Held with its memory.
    Paused,
    /// On the way.
    Changing,
    /// The machine died.
    Crashed,
    /// A word of the provider's that we do not know.
    #[default]
    Unknown,
}

/// Why the power is where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cause {
    /// We asked for it.
    Api,
    /// The guest did it.
    Guest,
    /// The host or the machine failed.
    Failure,
    /// The provider took it back.
    Preempted,
    /// The provider does not say.
    #[default]
    Unknown,
}

macro_rules! words {
    ($($type:ident { $($variant:ident = $word:literal),* })*) => {$(
        impl $type {
            /// The word for it in records.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    )*};
}

words! {
    Existence { Present = "present", Absent = "absent", Indeterminate = "indeterminate" }
    Power { On = "on", Off = "off", Paused = "paused", Changing = "changing", Crashed = "crashed", Unknown = "unknown" }
    Cause { Api = "api", Guest = "guest", Failure = "failure", Preempted = "preempted", Unknown = "unknown" }
}

/// What the provider says of a machine. The default says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observation {
    /// Whether it is there.
    pub existence: Existence,
    /// Where its power is.
    pub power: Power,
    /// Why.
    pub cause: Cause,
    /// When the power got there, where the provider says.
    pub power_since: Option<DateTime<Utc>>,
    /// Its addresses; link-local and loopback ones are left out.
    pub addresses: Vec<String>,
    /// Its size as it is (cpu, memory in GB, disk in GB), where the provider says.
    pub size: Option<(i32, i32, i32)>,
    /// Changes whenever the machine does, where the provider has such a mark.
    pub revision: Option<String>,
}

impl Observation {
    /// The machine is there and runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.existence == Existence::Present && self.power == Power::On
    }
}

/// What a driver can do beyond the minimum.
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent flags, read one at a time"
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Calls may hand back tasks.
    pub long_tasks: bool,
    /// Tasks report a percentage.
    pub progress: bool,
    /// A task can be called off.
    pub cancel: bool,
    /// The guest can be asked to stop.
    pub graceful_stop: bool,
    /// An observation says why the power is off.
    pub cause_of_off: bool,
    /// Many machines can be observed in one call.
    pub batch_observe: bool,
    /// Changes are pushed.
    pub push_events: bool,
    /// Lower epochs are refused.
    pub fencing_token: bool,
    /// The seed can be removed after the first boot.
    pub seed_scrub: bool,
    /// Machines carry the installation's tag.
    pub tags: bool,
    /// The name can change while it runs.
    pub online_rename: bool,
    /// The consoles it has.
    pub consoles: &'static [ConsoleKind],
    /// What it does not take.
    pub limits: Limits,
}

/// What a driver does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// The longest user data; 0 when it takes none.
    pub seed_bytes: u32,
    /// The longest name; 0 when it does not matter.
    pub name_bytes: u32,
}

/// A sort of console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsoleKind {
    /// Text.
    Serial,
    /// A remote frame buffer.
    Vnc,
    /// The provider's own page.
    Web,
}

/// A one-time way to a console. Stays on the server, which proxies it.
pub struct ConsoleGrant {
    /// Where to connect.
    pub url: String,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

/// Something at the provider that is tagged as ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Whose it says it is.
    pub identity: String,
    /// `instance`, `disk`, `nic` or `seed`.
    pub kind: &'static str,
    /// The provider's handle of it.
    pub reference: String,
}

/// Part of what is ours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnedPage {
    /// The things.
    pub items: Vec<Owned>,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
}

/// A hint that something happened to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverEvent {
    /// The machine.
    pub identity: String,
    /// Where to go on reading.
    pub cursor: String,
}
