//! A job as operators see it, and how things stand.

use bulkhead_kernel::ids::{JobId, TenantId};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::State;

/// A job as operators see it.
#[derive(Debug, Clone, PartialEq)]
pub struct AnyJob {
    /// Its id.
    pub id: JobId,
    /// The name of its type.
    pub kind: String,
    /// Which sort of work it is.
    pub queue: String,
    /// Whose it is; `None` is the platform's own.
    pub tenant: Option<TenantId>,
    /// Where it is.
    pub state: State,
    /// Whether its tenant sees it.
    pub is_visible: bool,
    /// How often it was started.
    pub attempt: i16,
    /// How often it may be.
    pub max_attempts: i16,
    /// How often its worker died over it.
    pub lost_leases: i16,
    /// What the last attempt failed with.
    pub last_error: Option<String>,
    /// The last worker that claimed it.
    pub worker: Option<String>,
    /// Who caused it.
    pub principal: String,
    /// The request that caused it.
    pub request_id: String,
    /// When it was enqueued.
    pub created_at: DateTime<Utc>,
    /// When it was or is due.
    pub run_at: DateTime<Utc>,
    /// When the last attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// What it works on, as it may be shown; only where one job is asked for.
    pub payload: Option<Value>,
}

/// Which jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnyFilter {
    /// Of this tenant alone.
    pub tenant: Option<TenantId>,
    /// Of this type alone.
    pub kind: Option<String>,
    /// In this state alone.
    pub state: Option<State>,
    /// Of this queue alone.
    pub queue: Option<String>,
    /// Those that come after this one, the newest first.
    pub after: Option<JobId>,
}

/// Jobs of one type.
#[derive(Debug, Clone, PartialEq)]
pub struct KindDepth {
    /// Which sort of work it is.
    pub queue: String,
    /// The name of the type.
    pub kind: String,
    /// Due and waiting.
    pub queued: i64,
    /// Waiting for their time.
    pub scheduled: i64,
    /// Waiting for their tenant.
    pub parked: i64,
    /// At work.
    pub running: i64,
    /// Given up and kept.
    pub failed: i64,
    /// How long the oldest one that is due has waited, in seconds.
    pub oldest_wait: Option<f64>,
}

/// Jobs of one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantDepth {
    /// Whose; `None` is the platform's own.
    pub tenant: Option<TenantId>,
    /// Waiting, due or not.
    pub queued: i64,
    /// At work.
    pub running: i64,
}

/// A worker that lives, or was heard of within the last day and was not told to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSeen {
    /// Fresh with every start.
    pub name: String,
    /// The release it runs.
    pub version: String,
    /// How many jobs it runs at a time.
    pub concurrency: i32,
    /// How many jobs it has.
    pub running: i64,
    /// When it last gave a sign of life.
    pub last_seen_at: DateTime<Utc>,
}

/// How the queues of one cluster stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Overview {
    /// By queue and type.
    pub kinds: Vec<KindDepth>,
    /// The tenants with the most waiting jobs, at most 20.
    pub tenants: Vec<TenantDepth>,
    /// The workers that have jobs.
    pub workers: Vec<WorkerSeen>,
}

/// What came of running dead jobs again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bulk {
    /// They wait.
    pub retried: i64,
    /// A live job does the same.
    pub skipped: i64,
    /// Dead ones that are left for another call.
    pub left: i64,
}

/// How deep a payload is shown.
const MAX_DEPTH: usize = 4;

/// The most members of an array that are shown.
const MAX_ITEMS: usize = 20;

/// What is kept of a payload: its form, ids, times and numbers. Whatever else is
/// text may be a tenant's, a secret or a link.
pub(super) fn redact(payload: &Value) -> Value {
    redact_at(payload, 0)
}

fn redact_at(value: &Value, depth: usize) -> Value {
    match value {
        Value::Object(_) | Value::Array(_) if depth == MAX_DEPTH => json!("…"),
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(name, value)| (name.clone(), redact_at(value, depth + 1)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        // What a tenant sent in bulk is the tenant's.
        Value::Array(items) if items.len() > MAX_ITEMS || items.iter().any(Value::is_object) => {
            json!(format!("… {} items", items.len()))
        }
        Value::Array(items) => items.iter().map(|item| redact_at(item, depth + 1)).collect(),
        Value::String(text) if is_shown(text) => value.clone(),
        Value::String(_) => json!("…"),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// An id of ours or a time.
fn is_shown(text: &str) -> bool {
    let is_id = text.split_once('_').is_some_and(|(prefix, hex)| {
        let is_prefix = (1..=4).contains(&prefix.len()) && prefix.bytes().all(|byte| byte.is_ascii_lowercase());
        is_prefix && hex.len() == 32 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    });
    is_id || DateTime::parse_from_rfc3339(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_numbers_are_shown_and_texts_and_lists_of_things_are_not() {
        let id = JobId::new().to_string();
        let payload = json!({
            "to": id,
            "at": "2026-11-21T00:00:00Z",
            "n": 7,
            "template": {"password_reset": {"link": "https://example.com/#secret", "name": "Ada"}},
            "resources": [{"type": "disk", "name": "secret"}],
            "ids": [id, "secret"],
        });
        let shown = redact(&payload);
        assert_eq!(
            shown,
            json!({
                "to": id,
                "at": "2026-11-21T00:00:00Z",
                "n": 7,
                "template": {"password_reset": {"link": "…", "name": "…"}},
                "resources": "… 1 items",
                "ids": [id, "…"],
            })
        );
        let deep = json!({"a": {"b": {"c": {"d": {"e": 1}}}}});
        assert_eq!(redact(&deep), json!({"a": {"b": {"c": {"d": "…"}}}}));
        assert_eq!(redact(&json!(vec![1; 21])), json!("… 21 items"));
    }
}
