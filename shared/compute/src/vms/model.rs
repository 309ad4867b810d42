//! A VM as callers see it, and what a new one must look like.

use bulkhead_kernel::{
    fault::Violation,
    ids::{TemplateId, VmId},
    page::PageRequest,
};
use chrono::{DateTime, Utc};

use super::{
    error::VmError,
    phase::{Phase, Status, VmFault},
};
use crate::{operations::Operation, templates::Template};

/// The longest name, in characters.
pub const NAME_CHARS: usize = 63;

/// The longest search text, in characters.
const SEARCH_CHARS: usize = 100;

/// A VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// Also its identity at the provider, together with the incarnation.
    pub id: VmId,
    /// Unique among the tenant's live VMs, whatever its case.
    pub name: String,
    /// Where it is.
    pub phase: Phase,
    /// The status it last showed.
    pub last_stable: Status,
    /// Why it is in ERROR.
    pub fault: Option<VmFault>,
    /// Virtual processors.
    pub cpu: i32,
    /// Memory.
    pub memory_gb: i32,
    /// Size of the first disk.
    pub disk_gb: i32,
    /// Where it can be reached, once known.
    pub ip_address: Option<String>,
    /// What it was made from.
    pub template_name: Option<String>,
    /// Rises with every visible change.
    pub version: i64,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it last changed visibly.
    pub updated_at: DateTime<Utc>,
}

impl Vm {
    /// What the list shows.
    #[must_use]
    pub const fn status(&self) -> Status {
        Status::of(self.phase, self.last_stable)
    }
}

/// A VM as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmSummary {
    /// As in [`Vm`], and so are the others.
    pub id: VmId,
    /// Its name.
    pub name: String,
    /// What the list shows.
    pub status: Status,
    /// Virtual processors.
    pub cpu: i32,
    /// Memory.
    pub memory_gb: i32,
    /// Size of the first disk.
    pub disk_gb: i32,
    /// Where it can be reached, once known.
    pub ip_address: Option<String>,
    /// What it was made from.
    pub template_name: Option<String>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
}

impl From<Vm> for VmSummary {
    fn from(vm: Vm) -> Self {
        Self {
            id: vm.id,
            status: vm.status(),
            name: vm.name,
            cpu: vm.cpu,
            memory_gb: vm.memory_gb,
            disk_gb: vm.disk_gb,
            ip_address: vm.ip_address,
            template_name: vm.template_name,
            created_at: vm.created_at,
        }
    }
}

/// A VM and the operation that is under way or waits, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmDetail {
    /// The VM.
    pub vm: Vm,
    /// What is being done to it.
    pub operation: Option<Operation>,
}

impl VmDetail {
    /// What is happening now: the running step while it is being made, else the phase's own word.
    #[must_use]
    pub fn task(&self) -> Option<&str> {
        let step = self.operation.as_ref().and_then(|operation| operation.step.as_deref());
        match self.vm.phase {
            Phase::Provisioning if step.is_some() => step,
            phase => phase.task(),
        }
    }
}

/// What is wanted, as it came from the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVm {
    /// 1 to 63 characters after trimming, none of them a control character.
    pub name: String,
    /// `template` or `iso`.
    pub source_type: String,
    /// The id of the template, for that source.
    pub template_id: Option<String>,
    /// Where the image is, for that source.
    pub iso_url: Option<String>,
    /// 1 to 64.
    pub cpu: i64,
    /// 1 to 512.
    pub memory_gb: i64,
    /// 1 to 4096.
    pub disk_gb: i64,
}

/// A [`NewVm`] that breaks no rule by itself; its template is still to be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ValidVm {
    pub(crate) name: String,
    pub(crate) template: TemplateId,
    pub(crate) size: Size,
}

/// How big a VM is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Virtual processors.
    pub cpu: i32,
    /// Memory.
    pub memory_gb: i32,
    /// The first disk.
    pub disk_gb: i32,
}

impl NewVm {
    /// Reports everything that is wrong at once.
    pub(crate) fn validate(&self) -> Result<ValidVm, VmError> {
        let mut violations = Vec::new();
        let name = self.name.trim();
        if name.is_empty() || name.chars().count() > NAME_CHARS {
            violations.push(Violation::new("/name", "must have 1 to 63 characters"));
        }
        if name.chars().any(char::is_control) {
            violations.push(Violation::new("/name", "must not contain control characters"));
        }
        let size = Size {
            cpu: within(self.cpu, 64, "/cpu", &mut violations),
            memory_gb: within(self.memory_gb, 512, "/memory_gb", &mut violations),
            disk_gb: within(self.disk_gb, 4096, "/disk_gb", &mut violations),
        };
        self.check_source(&mut violations);
        if !violations.is_empty() {
            return Err(VmError::Invalid(violations));
        }
        if self.source_type == "iso" {
            return Err(VmError::SourceUnsupported);
        }
        let template = self.template_id.as_ref().and_then(|id| id.parse().ok());
        Ok(ValidVm {
            name: name.to_owned(),
            template: template.ok_or(VmError::TemplateUnavailable)?,
            size,
        })
    }

    fn check_source(&self, violations: &mut Vec<Violation>) {
        let mut refuse = |pointer, detail| violations.push(Violation::new(pointer, detail));
        match self.source_type.as_str() {
            "template" => {
                if self.template_id.is_none() {
                    refuse("/template_id", "is needed for the source template");
                }
                if self.iso_url.is_some() {
                    refuse("/iso_url", "does not go with the source template");
                }
            }
            "iso" => {
                if self.iso_url.is_none() {
                    refuse("/iso_url", "is needed for the source iso");
                }
                if self.template_id.is_some() {
                    refuse("/template_id", "does not go with the source iso");
                }
            }
            _ => refuse("/source_type", "must be template or iso"),
        }
    }
}

impl ValidVm {
    /// Refuses a VM that its template would not fit into.
    pub(crate) fn check_fits(&self, template: &Template) -> Result<(), VmError> {
        let (size, minimum) = (self.size, template.minimum);
        let checks = [
            ("/cpu", size.cpu, minimum.cpu),
            ("/memory_gb", size.memory_gb, minimum.memory_gb),
            ("/disk_gb", size.disk_gb, minimum.disk_gb),
        ];
        let too_small = checks.into_iter().filter(|(_, wanted, least)| wanted < least);
        let violations: Vec<Violation> = too_small
            .map(|(pointer, _, least)| Violation::new(pointer, format!("the template needs at least {least}")))
            .collect();
        if violations.is_empty() {
            Ok(())
        } else {
            Err(VmError::BelowTemplateMinimum(violations))
        }
    }
}

fn within(value: i64, most: i32, pointer: &str, violations: &mut Vec<Violation>) -> i32 {
    match i32::try_from(value) {
        Ok(value) if (1..=most).contains(&value) => value,
        _ => {
            violations.push(Violation::new(pointer, format!("must be 1 to {most}")));
            0
        }
    }
}

/// Which VMs are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmQuery {
    /// Which part of the list.
    pub page: PageRequest,
    /// Part of the name, whatever its case.
    pub search: Option<String>,
    /// Only those that show this status.
    pub status: Option<Status>,
}

impl VmQuery {
    /// Trims the search text; an empty one asks for nothing.
    pub(crate) fn search(&self) -> Result<Option<&str>, VmError> {
        let Some(text) = self.search.as_deref().map(str::trim).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        if text.chars().count() > SEARCH_CHARS || text.chars().any(char::is_control) {
            let detail = "must have at most 100 characters, none of them a control character";
            return Err(VmError::Invalid(vec![Violation::new("search", detail)]));
        }
        Ok(Some(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_vm() -> NewVm {
        NewVm {
            name: " web 1 ".into(),
            source_type: "template".into(),
            template_id: Some(TemplateId::new().to_string()),
            iso_url: None,
            cpu: 2,
            memory_gb: 4,
            disk_gb: 20,
        }
    }

    fn pointers(new: &NewVm) -> Vec<String> {
        match new.validate() {
            Err(VmError::Invalid(violations)) => violations.into_iter().map(|violation| violation.pointer).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_good_one_is_taken_and_its_name_trimmed() {
        let valid = new_vm().validate().unwrap();
        assert_eq!(valid.name, "web 1");
        assert_eq!(valid.size.disk_gb, 20);
    }

    #[test]
    fn the_limits_themselves_are_taken() {
        for (cpu, memory_gb, disk_gb) in [(1, 1, 1), (64, 512, 4096)] {
            let name = "é".repeat(63);
            let new = NewVm {
                name,
                cpu,
                memory_gb,
                disk_gb,
                ..new_vm()
            };
            assert!(new.validate().is_ok());
        }
    }

    #[test]
    fn all_mistakes_are_reported_together() {
        let new = NewVm {
            name: "  ".into(),
            cpu: 0,
            memory_gb: 513,
            disk_gb: i64::MAX,
            ..new_vm()
        };
        assert_eq!(pointers(&new), ["/name", "/cpu", "/memory_gb", "/disk_gb"]);
    }

    #[test]
    fn names_that_no_one_could_type_are_refused() {
        for name in [
            "a\u{0}b",
            "a\nb",
            "\u{1b}[0m",
            &"x".repeat(64),
            &"x".repeat(1 << 20),
            "",
        ] {
            assert_eq!(
                pointers(&NewVm {
                    name: name.into(),
                    ..new_vm()
                })[0],
                "/name"
            );
        }
    }

    #[test]
    fn the_source_must_be_told_in_one_way() {
        let iso = Some("https://example.com/a.iso".to_owned());
        assert_eq!(
            pointers(&NewVm {
                source_type: "disk".into(),
                ..new_vm()
            }),
            ["/source_type"]
        );
        assert_eq!(
            pointers(&NewVm {
                template_id: None,
                ..new_vm()
            }),
            ["/template_id"]
        );
        assert_eq!(
            pointers(&NewVm {
                iso_url: iso.clone(),
                ..new_vm()
            }),
            ["/iso_url"]
        );
        let from_iso = NewVm {
            source_type: "iso".into(),
            template_id: None,
            iso_url: iso,
            ..new_vm()
        };
        assert!(matches!(from_iso.validate(), Err(VmError::SourceUnsupported)));
    }

    #[test]
    fn an_id_that_is_none_looks_like_an_unknown_template() {
        let new = NewVm {
            template_id: Some("tpl_x".into()),
            ..new_vm()
        };
        assert!(matches!(new.validate(), Err(VmError::TemplateUnavailable)));
    }

    #[test]
    fn smaller_than_the_template_is_refused() {
        let template = Template::example(Size {
            cpu: 2,
            memory_gb: 8,
            disk_gb: 40,
        });
        let valid = new_vm().validate().unwrap();
        let Err(VmError::BelowTemplateMinimum(violations)) = valid.check_fits(&template) else {
            panic!()
        };
        let pointers: Vec<_> = violations.iter().map(|violation| violation.pointer.as_str()).collect();
        assert_eq!(pointers, ["/memory_gb", "/disk_gb"]);
    }

    #[test]
    fn a_search_is_trimmed_and_bounded() {
        let page = PageRequest::new(1, 20).unwrap();
        let query = |text: &str| VmQuery {
            page,
            search: Some(text.into()),
            status: None,
        };
        assert_eq!(query("  ").search().unwrap(), None);
        assert_eq!(query(" we% ").search().unwrap(), Some("we%"));
        assert!(query("a\u{0}").search().is_err());
        assert!(query(&"x".repeat(101)).search().is_err());
    }
}
