//! Telling tenants by HTTP what happened (docs/webhooks.md): where they want to be told, and what became of it.
//!
//! - What is sent follows Standard Webhooks: an id that stays the same however often it is sent, a time, and a signature
//!   under a secret that only the tenant's endpoint and we have.
//! - A secret is shown when it is made and never again. It is kept wrapped, bound to its tenant and row, under a key that
//!   the database does not have. While it is rotated, the old and the new one both sign.
//! - A delivery is tried again over days; its waits are in the table, and each attempt is kept with what came back. It
//!   reaches an endpoint at least once, in no promised order, or is given up in sight.
//! - What an endpoint answers, or does not, tells its owner nothing about our network, and no endpoint holds others up.
//! - An endpoint that is gone, or has done nothing but fail for days, is disabled, which stands in the audit log.
//!
//! Absent: no address is dialled but by the crate outbound, and no event is made here but the one that tests an endpoint.

mod courier;
mod error;
mod idempotency;
pub mod jobs;
mod model;
mod places;
mod replays;
mod schedule;
mod secret;
pub mod service;
mod store;
mod verdict;

use bulkhead_iam::signing_keys::Vault;
use bulkhead_kernel::config;
use bulkhead_outbound::Policy;

pub use courier::Courier;
pub use error::WebhookError;
pub use model::{
    Answered, Attempt, Changes, Delivery, DeliveryFilter, MAX_OVERLAP_SECS, Minted, NewWebhook, Replayed, State,
    Webhook,
};
pub use replays::{replay, replay_since};
pub use service::close_imported;

/// What the use cases need besides the database.
pub struct Webhooks {
    settings: config::Webhooks,
    policy: Policy,
    vault: Vault,
}

impl Webhooks {
    /// With the limits of the settings, and this way to wrap secrets.
    #[must_use]
    pub fn new(settings: config::Webhooks, outbound: &config::Outbound, vault: Vault) -> Self {
        Self {
            settings,
            policy: Policy::new(outbound),
            vault,
        }
    }
}
