//! A template and the few that every installation starts with.

use std::collections::BTreeMap;

use bulkhead_kernel::ids::TemplateId;

use crate::{simulator, vms::Size};

/// One version of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Its id; another version has another.
    pub id: TemplateId,
    /// Such as `debian-12`.
    pub name: String,
    /// Counts from 1.
    pub version: i32,
    /// The operating system, for a person.
    pub os: String,
    /// A sentence for a person.
    pub description: String,
    /// The smallest VM it fits into.
    pub minimum: Size,
    /// What each driver boots for it, by the driver's name.
    pub artefacts: BTreeMap<String, String>,
    /// Not for new VMs any more.
    pub is_deprecated: bool,
}

/// A template about to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTemplate {
    /// Such as `debian-12`.
    pub name: String,
    /// Counts from 1.
    pub version: i32,
    /// The operating system, for a person.
    pub os: String,
    /// A sentence for a person.
    pub description: String,
    /// The smallest VM it fits into.
    pub minimum: Size,
    /// What each driver boots for it, by the driver's name.
    pub artefacts: BTreeMap<String, String>,
}

/// What every installation starts with.
#[must_use]
pub fn seeds() -> Vec<NewTemplate> {
    let seed = |name: &str, os: &str, description: &str, (cpu, memory_gb, disk_gb)| NewTemplate {
        name: name.into(),
        version: 1,
        os: os.into(),
        description: description.into(),
        minimum: Size {
            cpu,
            memory_gb,
            disk_gb,
        },
        artefacts: BTreeMap::from([(simulator::NAME.into(), name.into())]),
    };
    vec![
        seed(
            "alpine-3.20",
            "Alpine Linux 3.20",
            "Small and quick to boot.",
            (1, 1, 1),
        ),
        seed("debian-12", "Debian 12", "The stable all-rounder.", (1, 1, 10)),
        seed(
            "ubuntu-24.04",
            "Ubuntu 24.04 LTS",
            "Long-term support until 2029.",
            (1, 2, 20),
        ),
    ]
}

#[cfg(test)]
impl Template {
    pub(crate) fn example(minimum: Size) -> Self {
        Self {
            id: TemplateId::new(),
            name: "example".into(),
            version: 1,
            os: "Example".into(),
            description: String::new(),
            minimum,
            artefacts: BTreeMap::new(),
            is_deprecated: false,
        }
    }
}
