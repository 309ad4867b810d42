//! One thing that happened, and the log of them.

use bulkhead_kernel::{
    ids::{ApiKeyId, AuditEventId, IdentityId, SupportAccessId, TenantId},
    origin::Origin,
    page::PageRequest,
};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

/// What a field is called whose value is nobody's to read; only that it changed is told.
const SECRETS: [&str; 8] = [
    "password",
    "secret",
    "token",
    "credential",
    "api_key",
    "apikey",
    "private_key",
    "authorization",
];

/// The kind of those who run the platform.
const OPERATOR: &str = "operator";

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `member`, `api_key`, `operator` or `system`.
    pub kind: &'static str,
    /// The id as the API shows it, of an operator inside a tenant that of the support access; empty for the system.
    pub id: String,
}

impl Actor {
    /// A member of the tenant.
    #[must_use]
    pub fn member(identity: IdentityId) -> Self {
        Self {
            kind: "member",
            id: identity.to_string(),
        }
    }

    /// Who runs the platform, by the principal of the request; from a terminal it is the system.
    #[must_use]
    pub fn operator(origin: &Origin) -> Self {
        match origin.principal.parse::<IdentityId>() {
            Ok(identity) => Self {
                kind: OPERATOR,
                id: identity.to_string(),
            },
            Err(_) => Self::of(origin),
        }
    }

    /// Whether it is somebody who runs the platform.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.kind == OPERATOR
    }

    /// Who asked for the work, long ago or just now: a member, a key, an operator in the tenant for support, or the system
    /// by itself.
    #[must_use]
    pub fn of(origin: &Origin) -> Self {
        let principal = &origin.principal;
        let (kind, id) = if principal.parse::<IdentityId>().is_ok() {
            ("member", principal.clone())
        } else if principal.parse::<ApiKeyId>().is_ok() {
            ("api_key", principal.clone())
        } else if principal.parse::<SupportAccessId>().is_ok() {
            (OPERATOR, principal.clone())
        } else {
            ("system", String::new())
        };
        Self { kind, id }
    }
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
    /// That of the transaction where it is left out.
    pub(crate) at: Option<DateTime<Utc>>,
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
            at: Some(at),
            ..Self::now(action, actor, origin)
        }
    }

    /// [`Event::new`] at the time of the transaction.
    #[must_use]
    pub fn now(action: &'static str, actor: Actor, origin: &Origin) -> Self {
        Self {
            at: None,
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
    #[expect(clippy::needless_pass_by_value, reason = "ids are small, and calls read better")]
    pub fn on(mut self, kind: &'static str, id: impl ToString) -> Self {
        let id = id.to_string();
        self.targets.push(Target { kind, id });
        self
    }

    /// A field's values before and after; nothing is told of one that stayed as it was. Null before means new, null after
    /// gone. Of what is called like a secret, here or within a value, only that it changed is told.
    #[must_use]
    pub fn change(mut self, field: &str, before: impl Into<Value>, after: impl Into<Value>) -> Self {
        let (before, after) = (before.into(), after.into());
        if before != after {
            let (before, after) = (covered(field, before), covered(field, after));
            self.changes
                .insert(field.to_owned(), json!({ "before": before, "after": after }));
        }
        self
    }

    /// [`Event::change`] of every member of an object that is not the same on both sides, as `field.member`.
    #[must_use]
    pub fn change_members(mut self, field: &str, before: &Map<String, Value>, after: &Map<String, Value>) -> Self {
        let added = after.keys().filter(|name| !before.contains_key(*name));
        for name in before.keys().chain(added) {
            let value = |of: &Map<String, Value>| of.get(name).cloned().unwrap_or_default();
            self = self.change(&format!("{field}.{name}"), value(before), value(after));
        }
        self
    }

    /// Everything but the id, as it waits for its way into the tenant's log; without a time it has none.
    pub(crate) fn document(&self) -> Value {
        let mut document = json!({
            "action": self.action,
            "outcome": self.outcome.as_str(),
            "actor_kind": self.actor.kind,
            "actor_id": self.actor.id,
            "targets": self.targets_document(),
            "changes": self.changes,
            "request_id": self.origin.request_id,
            "address": self.origin.address,
            "agent": self.origin.agent,
        });
        if let Some(at) = self.at {
            document["occurred_at"] = json!(at);
        }
        document
    }

    pub(crate) fn targets_document(&self) -> Value {
        let targets = self
            .targets
            .iter()
            .map(|target| json!({"kind": target.kind, "id": target.id}));
        Value::Array(targets.collect())
    }

    /// Whether it belongs into the log of the platform, too.
    pub(crate) fn is_of_operator(&self) -> bool {
        self.actor.is_operator()
    }

    /// The same with this tenant among the targets.
    pub(crate) fn about(self, tenant: TenantId) -> Self {
        if self.targets.iter().any(|target| target.kind == "tenant") {
            self
        } else {
            self.on("tenant", tenant)
        }
    }

    /// It was asked for and refused.
    #[must_use]
    pub const fn refused(mut self) -> Self {
        self.outcome = Outcome::Refused;
        self
    }
}

/// The value without what is called like a secret.
fn covered(field: &str, value: Value) -> Value {
    let name = field.to_ascii_lowercase();
    match value {
        Value::Null => Value::Null,
        _ if SECRETS.iter().any(|secret| name.contains(secret)) => "***".into(),
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| {
                let value = covered(&name, value);
                (name, value)
            });
            Value::Object(members.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(|item| covered("", item)).collect()),
        value => value,
    }
}

/// A row of a tenant's log, or of the platform's, which has no chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its id.
    pub id: AuditEventId,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// `noun.verb`.
    pub action: String,
    /// `done` or `refused`.
    pub outcome: String,
    /// `member`, `api_key`, `operator` or `system`.
    pub actor_kind: String,
    /// The actor's id as the API shows it.
    pub actor_id: String,
    /// `[{kind, id}]`.
    pub targets: Value,
    /// `{field: {before, after}}`.
    pub changes: Value,
    /// The request, in every answer and every line of the log.
    pub request_id: String,
    /// The client's network address.
    pub address: Option<String>,
    /// What the client called itself.
    pub agent: Option<String>,
    /// Its place in the chain, once it is sealed.
    pub seq: Option<i64>,
    /// What seals it.
    pub hash: Option<Vec<u8>>,
}

impl Entry {
    /// Where a list goes on after this entry.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position {
            at: self.at,
            id: self.id,
        }
    }
}

/// A place in a list, the newest entry first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// When the last entry seen happened.
    pub at: DateTime<Utc>,
    /// Its id.
    pub id: AuditEventId,
}

/// Which entries; what is left out does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The id of who did it.
    pub actor: Option<String>,
    /// `noun.verb`.
    pub action: Option<String>,
    /// The id of what it was done to.
    pub target: Option<String>,
    /// `done` or `refused`.
    pub outcome: Option<String>,
    /// Not before this.
    pub from: Option<DateTime<Utc>>,
    /// Before this.
    pub to: Option<DateTime<Utc>>,
}

/// Which part of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A page, counted.
    Page(PageRequest),
    /// At most so many entries after a place in the list, or from its beginning on.
    After(Option<Position>, u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_like_a_secret_is_covered_wherever_it_is() {
        let actor = Actor {
            kind: "system",
            id: String::new(),
        };
        let event = Event::new("thing.change", actor, &Origin::system("r"), DateTime::default())
            .change("password_hash", "one", "two")
            .change("name", "a", "b")
            .change("same", 1, 1)
            .change(
                "config",
                json!(null),
                json!({"Api_Key": "three", "deep": [{"token": "four", "port": 5}]}),
            )
            .change_members(
                "attributes",
                json!({"gone": 1, "kept": 2}).as_object().unwrap(),
                json!({"kept": 2, "secret": "six"}).as_object().unwrap(),
            );
        let told = event.document()["changes"].clone();
        assert_eq!(
            told,
            json!({
                "password_hash": {"before": "***", "after": "***"},
                "name": {"before": "a", "after": "b"},
                "config": {"before": null, "after": {"Api_Key": "***", "deep": [{"token": "***", "port": 5}]}},
                "attributes.gone": {"before": 1, "after": null},
                "attributes.secret": {"before": null, "after": "***"},
            })
        );
    }
}
