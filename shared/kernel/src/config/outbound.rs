//! `[outbound]`: calls to addresses that tenants name.

use super::{Section, mail::is_this_machine, mistakes::Mistakes, reader::SectionReader, template};

/// What may be called besides the public internet on ports 80 and 443.
#[derive(Debug, Clone, Default)]
pub struct Outbound {
    /// Further ports.
    pub extra_ports: Vec<u16>,
    /// Whether this very machine may be called, for development.
    pub is_loopback_allowed: bool,
}

impl Outbound {
    pub(super) fn read(section: &mut SectionReader<'_, '_>) -> Self {
        let ports = section.list("extra_ports");
        let parsed: Option<Vec<u16>> = ports
            .iter()
            .map(|port| port.parse().ok().filter(|&port| port > 0))
            .collect();
        Self {
            extra_ports: parsed.unwrap_or_else(|| {
                section.refuse("extra_ports", "must be ports, such as 8443,9443");
                Vec::new()
            }),
            is_loopback_allowed: section.flag("allow_loopback"),
        }
    }

    /// What tenants name must not be this machine where it serves anybody but its developer.
    pub(super) fn check_development(&self, public_url: &str, mistakes: &mut Mistakes) {
        if self.is_loopback_allowed && !is_this_machine(public_url) {
            let expected = "must be false, as BULKHEAD__SERVER__PUBLIC_URL is not this very machine: \
                            true lets tenants call what listens beside the worker, which is for development";
            let key = template::env_key(Section::Outbound.name(), "allow_loopback");
            mistakes.add_missing(Section::Outbound, key, expected);
        }
    }
}
