//! What goes over the wire about the audit log.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bulkhead_audit::{Entry, Filter, Position, chain::Flaw};
use bulkhead_iam::audit_log::{Checkpoint, Verification};
use bulkhead_kernel::{fault::Violation, page::PageRequest};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::problem::Problem;

/// Which entries.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LogFilter {
    /// The id of who did it
    actor: Option<String>,
    /// What was done, such as `vm.create`
    action: Option<String>,
    /// The id of what it was done to
    target: Option<String>,
    /// `done` or `refused`
    outcome: Option<String>,
    /// Not before this time, RFC 3339
    from: Option<String>,
    /// Before this time, RFC 3339
    to: Option<String>,
}

impl TryFrom<LogFilter> for Filter {
    type Error = Problem;

    fn try_from(wanted: LogFilter) -> Result<Self, Problem> {
        let mut violations = Vec::new();
        if !matches!(wanted.outcome.as_deref(), None | Some("done" | "refused")) {
            violations.push(Violation::new("outcome", "must be done or refused"));
        }
        for (name, text) in [
            ("actor", &wanted.actor),
            ("action", &wanted.action),
            ("target", &wanted.target),
        ] {
            if text
                .as_ref()
                .is_some_and(|text| text.len() > 200 || text.contains('\0'))
            {
                violations.push(Violation::new(name, "must have up to 200 characters"));
            }
        }
        let mut time = |name: &str, text: Option<&str>| {
            let time = text.map(DateTime::parse_from_rfc3339).transpose();
            time.unwrap_or_else(|_| {
                violations.push(Violation::new(name, "must be a time as in RFC 3339"));
                None
            })
        };
        let from = time("from", wanted.from.as_deref());
        let to = time("to", wanted.to.as_deref());
        if !violations.is_empty() {
            return Err(Problem::invalid(violations));
        }
        Ok(Self {
            actor: wanted.actor,
            action: wanted.action,
            target: wanted.target,
            outcome: wanted.outcome,
            from: from.map(|time| time.to_utc()),
            to: to.map(|time| time.to_utc()),
        })
    }
}

/// Where to go on.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CursorQuery {
    /// `next_cursor` of the part before; `page` does not count then
    cursor: Option<String>,
}

impl CursorQuery {
    pub(super) fn position(&self) -> Result<Option<Position>, Problem> {
        let malformed = || Problem::invalid(vec![Violation::new("cursor", "is none of ours")]);
        let parsed = self.cursor.as_deref().map(|text| parse(text).ok_or_else(malformed));
        parsed.transpose()
    }
}

fn parse(cursor: &str) -> Option<Position> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (micros, id) = text.split_once(' ')?;
    Some(Position {
        at: DateTime::from_timestamp_micros(micros.parse().ok()?)?,
        id: id.parse().ok()?,
    })
}

fn cursor(position: Position) -> String {
    URL_SAFE_NO_PAD.encode(format!("{} {}", position.at.timestamp_micros(), position.id))
}

/// How an export is written.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FormatQuery {
    /// `csv` or `ndjson`
    #[param(default = "ndjson")]
    pub(super) format: Option<String>,
}

/// A part of the log.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditLog)]
pub struct LogPage {
    items: Vec<LogItem>,
    /// How many there are in all; not told where a cursor was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 1)]
    total: Option<i64>,
    #[schema(example = 1)]
    page: u32,
    #[schema(example = 20)]
    limit: u32,
    /// For the part after this one; null at the end.
    #[schema(example = json!(null))]
    next_cursor: Option<String>,
}

impl LogPage {
    pub(super) fn new(entries: Vec<Entry>, total: Option<i64>, request: PageRequest) -> Self {
        let is_full = entries.len() == request.limit() as usize;
        let next_cursor = entries.last().filter(|_| is_full).map(|entry| cursor(entry.position()));
        Self {
            items: entries.into_iter().map(LogItem::from).collect(),
            total,
            page: request.page(),
            limit: request.limit(),
            next_cursor,
        }
    }
}

/// Something that was done or refused.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry, example = json!({"id": "evt_0190a1b2c3d4e5f60718293a4b5c6d7e", "seq": 7, "occurred_at": "2026-11-20T12:00:00Z",
    "action": "vm.create", "outcome": "done", "actor": {"type": "member", "id": "usr_0190a1b2c3d4e5f60718293a4b5c6d7e"},
    "targets": [{"type": "vm", "id": "vm_0190a1b2c3d4e5f60718293a4b5c6d7e"}],
    "changes": {"name": {"before": null, "after": "web-1"}},
    "context": {"request_id": "0190a1b2c3d4e5f60718293a4b5c6d7e", "address": "192.0.2.7", "agent": "curl/8.0"},
    "hash": "Q29tcHV0ZWQgb3ZlciBldmVyeXRoaW5nIGFib3ZlLi4"}))]
pub struct LogItem {
    id: String,
    /// Its place in the chain; null until it is sealed, within a minute.
    seq: Option<i64>,
    occurred_at: DateTime<Utc>,
    /// `noun.verb`.
    action: String,
    /// `done` or `refused`.
    outcome: String,
    actor: Party,
    targets: Vec<Party>,
    /// Fields with their values before and after.
    #[schema(value_type = Object)]
    changes: Value,
    context: Context,
    /// SHA-256 over the row and the hash before it, base64url; null until it is sealed.
    hash: Option<String>,
}

/// Somebody or something.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditParty, example = json!({"type": "member", "id": "usr_0190a1b2c3d4e5f60718293a4b5c6d7e"}))]
pub struct Party {
    /// `member`, `api_key`, `operator` or `system`; of a target its noun.
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

/// Where it came from.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditContext, example = json!({"request_id": "0190a1b2c3d4e5f60718293a4b5c6d7e", "address": "192.0.2.7",
    "agent": "curl/8.0"}))]
pub struct Context {
    request_id: String,
    address: Option<String>,
    agent: Option<String>,
}

impl From<Entry> for LogItem {
    fn from(entry: Entry) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let targets = entry.targets.as_array().into_iter().flatten();
        Self {
            id: entry.id.to_string(),
            seq: entry.seq,
            occurred_at: entry.at,
            action: entry.action,
            outcome: entry.outcome,
            actor: Party {
                kind: entry.actor_kind,
                id: entry.actor_id,
            },
            targets: targets
                .map(|target| Party {
                    kind: text(&target["kind"]),
                    id: text(&target["id"]),
                })
                .collect(),
            changes: entry.changes,
            context: Context {
                request_id: entry.request_id,
                address: entry.address,
                agent: entry.agent,
            },
            hash: entry.hash.map(|hash| URL_SAFE_NO_PAD.encode(hash)),
        }
    }
}

impl LogItem {
    /// Its columns as an export writes them.
    pub(super) fn columns(&self) -> [String; 12] {
        let targets: Vec<String> = self
            .targets
            .iter()
            .map(|target| format!("{}:{}", target.kind, target.id))
            .collect();
        let optional = |text: &Option<String>| text.clone().unwrap_or_default();
        [
            self.id.clone(),
            self.seq.map(|seq| seq.to_string()).unwrap_or_default(),
            self.occurred_at.to_rfc3339(),
            self.action.clone(),
            self.outcome.clone(),
            self.actor.kind.clone(),
            self.actor.id.clone(),
            targets.join(" "),
            self.changes.to_string(),
            self.context.request_id.clone(),
            optional(&self.context.address),
            optional(&self.context.agent),
        ]
    }
}

/// What came of walking along the whole log.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditVerification, example = json!({"ok": false, "rows": 6, "first_seq": 1, "last_seq": 6, "unsealed": 0,
    "checkpoint": {"seq": 9, "at": "2026-11-20T12:00:00Z"},
    "flaw": {"seq": 7, "id": null, "reason": "tail_cut", "detail": "From this row on the end of the log is gone."}}))]
pub struct VerificationBody {
    /// Whether the log says what was sealed, as far as anybody can tell.
    ok: bool,
    /// Rows looked at, up to the first that is wrong.
    rows: u64,
    first_seq: Option<i64>,
    last_seq: i64,
    /// Entries that are not sealed yet.
    unsealed: i64,
    /// The newest signed word on where the log ended.
    checkpoint: Option<CheckpointBody>,
    flaw: Option<FlawBody>,
}

/// A signed word on where the log ended.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditCheckpoint, example = json!({"seq": 9, "at": "2026-11-20T12:00:00Z"}))]
pub struct CheckpointBody {
    seq: i64,
    at: DateTime<Utc>,
}

impl From<Checkpoint> for CheckpointBody {
    fn from(checkpoint: Checkpoint) -> Self {
        Self {
            seq: checkpoint.end.seq,
            at: checkpoint.at,
        }
    }
}

/// The first thing that is wrong.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditFlaw, example = json!({"seq": 7, "id": null, "reason": "tail_cut",
    "detail": "From this row on the end of the log is gone."}))]
pub struct FlawBody {
    /// Its place in the chain.
    seq: i64,
    /// The entry there; null where there is none.
    id: Option<String>,
    /// `altered`, `missing`, `unlinked`, `rewritten`, `front_cut`, `tail_cut` or `added`.
    reason: &'static str,
    detail: &'static str,
}

impl From<Flaw> for FlawBody {
    fn from(flaw: Flaw) -> Self {
        Self {
            seq: flaw.seq,
            id: flaw.id.map(|id| id.to_string()),
            reason: flaw.reason.as_str(),
            detail: flaw.reason.title(),
        }
    }
}

impl VerificationBody {
    pub(super) fn new(found: Verification, unsealed: i64) -> Self {
        Self {
            ok: found.flaw.is_none(),
            rows: found.n_rows,
            first_seq: found.first_seq,
            last_seq: found.last_seq,
            unsealed,
            checkpoint: found.checkpoint.map(CheckpointBody::from),
            flaw: found.flaw.map(FlawBody::from),
        }
    }
}
