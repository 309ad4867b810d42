//! What a job is: a payload with a stable name, and its policy beside it.

use std::time::Duration;

use bulkhead_kernel::ids::TenantId;
use serde::{Serialize, de::DeserializeOwned};

/// A unit of background work. The payload names things by their ids; the handler loads them.
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// `noun.verb`. Stored in the table: a released name is kept, and its handler stays for one release after its last
    /// enqueue.
    const KIND: &'static str;

    /// Which sort of work it is, for metrics.
    const QUEUE: Queue = Queue::Default;

    /// How often it may be started before it is dead, at least 1. Putting it off and handing it back do not count.
    const MAX_ATTEMPTS: u16 = 8;

    /// Higher runs first.
    const PRIORITY: i16 = 0;

    /// Whether its tenant sees it among its jobs, with its events, progress and result. A job of the platform never is.
    const IS_VISIBLE: bool = false;

    /// While a job of this kind and key is waiting or running, the same tenant gets no second one. A handler must
    /// therefore look at the data after it starts and not trust the moment of the enqueue.
    fn unique_key(&self) -> Option<String> {
        None
    }

    /// Whether a row that names this tenant, or none, can be a job of this kind and payload. One that cannot is dead and
    /// never runs: its handler would work for somebody else than whom the row is accounted to. A handler that takes its
    /// tenant from [`crate::Run`] alone needs no more than the default.
    fn may_belong_to(&self, _tenant: Option<TenantId>) -> bool {
        true
    }

    /// How long after the commit it is due, to the poll interval of the workers.
    fn delay(&self) -> Duration {
        Duration::ZERO
    }

    /// How long after the commit it is still of use. After that it is not started any more, and a running attempt is told
    /// to end; either way it is dead.
    fn deadline(&self) -> Option<Duration> {
        None
    }
}

/// Sorts of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Short work that somebody may be waiting for.
    Default,
    /// Building tenants and machines.
    Provision,
    /// Cleaning up, which can wait.
    Maintenance,
}

impl Queue {
    /// The name in the table and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Provision => "provision",
            Self::Maintenance => "maintenance",
        }
    }

    /// The label of metrics for what a row says.
    pub(crate) fn label(name: &str) -> &'static str {
        let known = [Self::Default, Self::Provision, Self::Maintenance].map(Self::as_str);
        known.into_iter().find(|known| *known == name).unwrap_or("unknown")
    }
}
