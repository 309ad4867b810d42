//! One thing that happened.

use bulkhead_kernel::origin::Origin;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `member`, `api_key`, `operator` or `system`.
    pub kind: &'static str,
    /// The id as the API shows it; empty for the system.
    pub id: String,
}

/// What it was done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The noun, such as `role`.
    pub kind: &'static str,
    /// The id as the API shows it.
    pub id: String,
}

/// Whether it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was asked for and refused.
    Refused,
}

impl Outcome {
    /// The word in the database and over the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }
}

/// One thing that happened, to be recorded in the transaction that does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub(crate) at: DateTime<Utc>,
    pub(crate) action: &'static str,
    pub(crate) actor: Actor,
    pub(crate) origin: Origin,
    pub(crate) outcome: Outcome,
    pub(crate) targets: Vec<Target>,
    pub(crate) changes: Map<String, Value>,
}

impl Event {
    /// What was done: `action` is `noun.verb`, such as `role.create`.
    #[must_use]
    pub fn new(action: &'static str, actor: Actor, origin: &Origin, at: DateTime<Utc>) -> Self {
        Self {
            at,
            action,
            actor,
            origin: origin.clone(),
            outcome: Outcome::Done,
            targets: Vec::new(),
            changes: Map::new(),
        }
    }

    /// What it was done to; an event may have several targets.
    #[must_use]
    pub fn on(mut self, kind: &'static str, id: impl ToString) -> Self {
        let id = id.to_string();
        self.targets.push(Target { kind, id });
        self
    }

    /// A field's values before and after; nothing is told of one that stayed as it was. Null before means new, null after
    /// gone.
    #[must_use]
    pub fn change(mut self, field: &str, before: impl Into<Value>, after: impl Into<Value>) -> Self {
        let (before, after) = (before.into(), after.into());
        if before != after {
            self.changes
                .insert(field.to_owned(), json!({ "before": before, "after": after }));
        }
        self
    }

    /// It was asked for and refused.
    #[must_use]
    pub const fn refused(mut self) -> Self {
        self.outcome = Outcome::Refused;
        self
    }
}
