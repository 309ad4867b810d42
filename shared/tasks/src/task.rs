//! What a tenant can submit: the catalogue, what each task needs, and how its parameters are read.

use std::time::Duration;

use bulkhead_iam::{ScopeError, permissions::Permission, standing::Standing};
use bulkhead_jobs::Job as _;
use bulkhead_kernel::fault::Violation;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::jobs::{ExportOwnTenant, ImportResources, ReportUsage, When};

/// A type of work that a tenant can submit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// A report over what the tenant has and does.
    Report,
    /// An archive of the tenant.
    Export,
    /// Many resources at once.
    Import,
}

impl Task {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Report, Self::Export, Self::Import];

    /// The name of the type, which is the kind of its job.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Report => ReportUsage::KIND,
            Self::Export => ExportOwnTenant::KIND,
            Self::Import => ImportResources::KIND,
        }
    }

    /// The task of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.as_str() == name)
    }

    /// What the task does is this to do.
    #[must_use]
    pub const fn permission(self) -> Permission {
        match self {
            Self::Report => Permission::UsageRead,
            Self::Export => Permission::TenantExport,
            Self::Import => Permission::ResourceCreate,
        }
    }

    /// Refuses who may not do what the task does. Asked when it is submitted, run again, looked into, and at work.
    pub fn require(self, standing: &Standing) -> Result<(), ScopeError> {
        standing.require(self.permission())?;
        match self {
            Self::Export => standing.require_owner(),
            Self::Report | Self::Import => Ok(()),
        }
    }
}

/// What somebody wants to have done.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// The name of the type.
    pub kind: String,
    /// Its parameters.
    pub params: Map<String, Value>,
    /// Not before this time.
    pub run_at: Option<DateTime<Utc>>,
    /// Of no use after this time.
    pub deadline: Option<DateTime<Utc>>,
}

/// A submission that was understood.
pub(crate) enum Wanted {
    Report(ReportUsage),
    Export(ExportOwnTenant),
    Import(ImportResources),
}

/// The most resources that one import takes.
const MAX_ROWS: usize = 10_000;

/// The longest period of one report.
const MAX_PERIOD: TimeDelta = TimeDelta::days(366);

/// The period of a report that names none.
const USUAL_PERIOD: TimeDelta = TimeDelta::days(30);

/// How far ahead a job can be put.
const MAX_AHEAD: TimeDelta = TimeDelta::days(366);

impl Submission {
    /// Which task it is; `None` when there is none of the name.
    pub(crate) fn task(&self) -> Result<Task, Vec<Violation>> {
        Task::find(&self.kind).ok_or_else(|| {
            let names = Task::ALL.map(Task::as_str).join(", ");
            vec![Violation::new("/type", format!("must be one of {names}"))]
        })
    }

    /// The job, or everything that is wrong with what was sent.
    pub(crate) fn parse(&self, task: Task, now: DateTime<Utc>) -> Result<Wanted, Vec<Violation>> {
        let mut violations = Vec::new();
        let when = self.when(now, &mut violations);
        let mut params = Params {
            members: &self.params,
            known: Vec::new(),
            violations: &mut violations,
        };
        let wanted = match task {
            Task::Report => {
                let (from, to) = params.period(now);
                Wanted::Report(ReportUsage { from, to, when })
            }
            Task::Export => Wanted::Export(ExportOwnTenant { when }),
            Task::Import => Wanted::Import(ImportResources {
                resources: params.rows(),
                when,
            }),
        };
        params.finish();
        if violations.is_empty() {
            Ok(wanted)
        } else {
            Err(violations)
        }
    }

    fn when(&self, now: DateTime<Utc>, violations: &mut Vec<Violation>) -> When {
        let run_at = self.run_at.unwrap_or(now).max(now);
        if run_at > now + MAX_AHEAD {
            violations.push(Violation::new("/run_at", "must be within 366 days"));
        }
        if self
            .deadline
            .is_some_and(|end| end <= run_at || end > now + MAX_AHEAD * 2)
        {
            violations.push(Violation::new(
                "/deadline",
                "must be after run_at and now, and within 732 days",
            ));
        }
        let until = |end: DateTime<Utc>| (end - now).to_std().unwrap_or(Duration::ZERO);
        When {
            delay: until(run_at),
            deadline: self.deadline.map(until),
        }
    }
}

/// The members of `params`, and what is wrong with them.
struct Params<'a> {
    members: &'a Map<String, Value>,
    known: Vec<&'static str>,
    violations: &'a mut Vec<Violation>,
}

impl Params<'_> {
    fn take(&mut self, name: &'static str) -> Option<&Value> {
        self.known.push(name);
        self.members.get(name).filter(|value| !value.is_null())
    }

    fn refuse(&mut self, place: &str, detail: impl Into<String>) {
        self.violations.push(Violation::new(format!("/params/{place}"), detail));
    }

    fn time(&mut self, name: &'static str) -> Option<DateTime<Utc>> {
        let text = self.take(name)?.as_str().unwrap_or_default().to_owned();
        let time = DateTime::parse_from_rfc3339(&text).ok().map(|time| time.to_utc());
        if time.is_none() {
            self.refuse(name, "must be a time as in RFC 3339");
        }
        time
    }

    fn period(&mut self, now: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
        let to = self.time("to").unwrap_or(now);
        let from = self.time("from").unwrap_or(to - USUAL_PERIOD);
        if from >= to {
            self.refuse("from", "must be before to");
        } else if to - from > MAX_PERIOD {
            self.refuse("from", "must be at most 366 days before to");
        }
        (from, to)
    }

    fn rows(&mut self) -> Vec<Value> {
        let rows = self.take("resources").and_then(Value::as_array).cloned();
        match rows {
            Some(rows) if (1..=MAX_ROWS).contains(&rows.len()) => rows,
            _ => {
                self.refuse("resources", format!("must be an array of 1 to {MAX_ROWS} resources"));
                Vec::new()
            }
        }
    }

    /// What nobody asked for is a mistake.
    fn finish(self) {
        for name in self.members.keys().filter(|name| !self.known.contains(&name.as_str())) {
            // RFC 6901, section 3
            let place = name.replace('~', "~0").replace('/', "~1");
            let violation = Violation::new(format!("/params/{place}"), "is not a parameter of this type");
            self.violations.push(violation);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn submission(kind: &str, params: Value) -> Submission {
        Submission {
            kind: kind.into(),
            params: match params {
                Value::Object(params) => params,
                other => panic!("{other} is no object"),
            },
            run_at: None,
            deadline: None,
        }
    }

    fn pointers(submission: &Submission) -> Vec<String> {
        let parsed = submission
            .task()
            .and_then(|task| submission.parse(task, now()).map(|_| ()));
        let violations = parsed.err().unwrap_or_default();
        violations.into_iter().map(|violation| violation.pointer).collect()
    }

    #[test]
    fn every_task_is_found_by_its_name() {
        for task in Task::ALL {
            assert_eq!(Task::find(task.as_str()), Some(task));
        }
        assert_eq!(pointers(&submission("mail.send", json!({}))), ["/type"]);
    }

    #[test]
    fn everything_wrong_is_named_with_its_place() {
        let report = |params: Value| pointers(&submission("usage.report", params));
        assert_eq!(report(json!({})), [""; 0]);
        assert_eq!(
            report(json!({"from": "2026-01-01T00:00:00Z", "to": "2027-01-01T00:00:00Z"})),
            [""; 0]
        );
        assert_eq!(
            report(json!({"from": "yesterday", "to": 7})),
            ["/params/to", "/params/from"]
        );
        assert_eq!(
            report(json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z", "a/b": 1})),
            ["/params/from", "/params/a~1b"]
        );
        assert_eq!(
            report(json!({"from": "2024-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"})),
            ["/params/from"]
        );
        assert_eq!(pointers(&submission("tenant.export", json!({"x": 1}))), ["/params/x"]);
        let import = |rows: Value| pointers(&submission("resources.import", json!({ "resources": rows })));
        assert_eq!(import(json!([{}])), [""; 0]);
        for wrong in [json!([]), json!({}), json!(null), json!(vec![0; MAX_ROWS + 1])] {
            assert_eq!(import(wrong), ["/params/resources"]);
        }
    }

    #[test]
    fn it_is_due_when_it_is_told_and_of_use_after_that() {
        let at = |run_at: Option<i64>, deadline: Option<i64>| Submission {
            run_at: run_at.map(|secs| now() + TimeDelta::seconds(secs)),
            deadline: deadline.map(|secs| now() + TimeDelta::seconds(secs)),
            ..submission("tenant.export", json!({}))
        };
        assert_eq!(pointers(&at(None, Some(1))), [""; 0]);
        assert_eq!(pointers(&at(Some(-60), None)), [""; 0]);
        assert_eq!(pointers(&at(None, Some(0))), ["/deadline"]);
        assert_eq!(pointers(&at(Some(60), Some(60))), ["/deadline"]);
        assert_eq!(pointers(&at(Some(400 * 86_400), None)), ["/run_at"]);
        let mut violations = Vec::new();
        let when = at(Some(60), Some(90)).when(now(), &mut violations);
        assert_eq!(when.delay, Duration::from_mins(1));
        assert_eq!(when.deadline, Some(Duration::from_secs(90)));
    }

    #[test]
    fn only_owners_carry_the_tenant_away() {
        use bulkhead_iam::permissions::PermissionSet;
        let mut standing = Standing {
            permissions: PermissionSet::ALL,
            is_owner: false,
        };
        assert!(Task::Import.require(&standing).is_ok());
        assert!(Task::Export.require(&standing).is_err());
        standing.is_owner = true;
        assert!(Task::Export.require(&standing).is_ok());
        standing.permissions = PermissionSet::EMPTY;
        assert!(Task::ALL.iter().all(|task| task.require(&standing).is_err()));
    }
}
