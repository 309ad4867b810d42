//! The drivers this process can use.

use std::{collections::BTreeMap, sync::Arc};

use super::Driver;

/// The configuration names a driver that this build does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no driver named {0:?}")]
pub struct UnknownDriver(pub String);

/// The drivers by name, and the one that new machines get.
#[derive(Clone)]
pub struct Drivers {
    by_name: BTreeMap<&'static str, Arc<dyn Driver>>,
    chosen: Arc<dyn Driver>,
}

impl Drivers {
    /// All of `drivers`; new machines go to the one called `chosen`.
    pub fn new(drivers: impl IntoIterator<Item = Arc<dyn Driver>>, chosen: &str) -> Result<Self, UnknownDriver> {
        let by_name: BTreeMap<_, _> = drivers.into_iter().map(|driver| (driver.name(), driver)).collect();
        let chosen = by_name
            .get(chosen)
            .cloned()
            .ok_or_else(|| UnknownDriver(chosen.into()))?;
        Ok(Self { by_name, chosen })
    }

    /// The driver of a machine that has been planned.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<dyn Driver>> {
        self.by_name.get(name)
    }

    /// The driver for new machines.
    #[must_use]
    pub fn chosen(&self) -> &Arc<dyn Driver> {
        &self.chosen
    }
}
