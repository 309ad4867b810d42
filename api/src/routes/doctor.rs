//! `/platform/doctor`: operators have the deployment examined.

use axum::extract::State;
use bulkhead_audit::{Actor, Event};
use bulkhead_kernel::fault::{Code, Violation};
use bulkhead_tenancy::doctor::{self, Check, Order, Report, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    extract::{Json, Operator, OptionalJson, SignedIn},
    openapi::{OPERATOR, codes},
    problem::Problem,
    state::AppState,
};

/// The rounds of an examination that does not say how many.
pub const ROUNDS: u32 = 1_000;

/// The most rounds of one request; the command takes any number.
const MOST_ROUNDS: u32 = 10_000;

/// How much to examine.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"rounds": 1000}))]
pub struct OrderIsolation {
    /// 1 to 10,000; 1,000 otherwise. Fewer are done when two thirds of the time of a request are over.
    rounds: Option<u32>,
}

/// What was found. `passed` is false as soon as one check failed; the answer is 200 all the same.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"passed": true, "server_version": "15.18", "pooler": {"name": "PgBouncer in transaction mode",
    "mode": "transaction", "evidence": ["Two clients that were connected at one time were served by one server process."]},
    "rounds": 1000, "entries": 1334, "meetings": 1333, "searches": 2000, "checks": [{"name": "own_rows_only",
    "verdict": "passed", "detail": "No tenant saw or changed a row of the other.", "advice": null}]}))]
pub struct IsolationReport {
    passed: bool,
    /// As the server calls itself.
    server_version: String,
    pooler: PoolerBody,
    /// Rounds that were carried out.
    rounds: u32,
    /// How often a tenant was entered and looked around.
    entries: u32,
    /// How often that was on a server process on which the other tenant had been last.
    meetings: u32,
    /// How often a server process was searched for what was left on it.
    searches: u32,
    checks: Vec<CheckBody>,
}

/// What lies between the product and the server.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"name": "PgBouncer in transaction mode", "mode": "transaction",
    "evidence": ["Two clients that were connected at one time were served by one server process."]}))]
pub struct PoolerBody {
    /// As people call it.
    name: String,
    /// `direct`, `session`, `transaction` or `statement`.
    mode: &'static str,
    /// What that was inferred from.
    evidence: Vec<String>,
}

/// One thing examined.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"name": "own_rows_only", "verdict": "passed",
    "detail": "No tenant saw or changed a row of the other.", "advice": null}))]
pub struct CheckBody {
    name: String,
    /// `passed`, `noted` (worth knowing; tenants are isolated all the same) or `failed`.
    verdict: &'static str,
    detail: String,
    /// What to do about it.
    advice: Option<String>,
}

impl From<Report> for IsolationReport {
    fn from(report: Report) -> Self {
        Self {
            passed: report.is_passed(),
            pooler: PoolerBody {
                name: report.pooler.describe(),
                mode: report.pooler.mode.as_str(),
                evidence: report.pooler.evidence,
            },
            server_version: report.server_version,
            rounds: report.rounds.done,
            entries: report.rounds.entries,
            meetings: report.rounds.meetings,
            searches: report.rounds.searches,
            checks: report.checks.into_iter().map(CheckBody::from).collect(),
        }
    }
}

impl From<Check> for CheckBody {
    fn from(check: Check) -> Self {
        Self {
            name: check.name,
            verdict: match check.verdict {
                Verdict::Passed => "passed",
                Verdict::Noted => "noted",
                Verdict::Failed => "failed",
            },
            detail: check.detail,
            advice: check.advice,
        }
    }
}

/// Examine the isolation of tenants
///
/// Builds two throw-away tenants in the deployed database, interleaves them through the deployed pooler in every way that
/// can go wrong, and removes them. Takes seconds.
#[utoipa::path(post, path = "/doctor/isolation", operation_id = "examine_isolation", tag = "platform",
    request_body = Option<OrderIsolation>, responses((status = 200, body = IsolationReport)),
    extensions(("x-permission" = json!(OPERATOR)), ("x-problem-codes" = json!(codes(&[Code::DoctorBusy])))))]
pub async fn isolation(
    State(state): State<AppState>,
    Operator(caller): Operator,
    OptionalJson(order): OptionalJson<OrderIsolation>,
) -> Result<Json<IsolationReport>, Problem> {
    let rounds = order.rounds.unwrap_or(ROUNDS);
    if !(1..=MOST_ROUNDS).contains(&rounds) {
        let violation = Violation::new("/rounds", "must be from 1 to 10000");
        return Err(Problem::invalid(vec![violation]));
    }
    let order = Order {
        rounds,
        budget: state.server().request_timeout * 2 / 3,
    };
    record(&state, &caller, rounds).await?;
    let report = doctor::isolation(state.db(), order).await?;
    Ok(Json(report.into()))
}

/// An examination builds and removes tenants, so that it was ordered is told before it begins.
async fn record(state: &AppState, caller: &SignedIn, rounds: u32) -> Result<(), Problem> {
    let event = Event::now("doctor.examine", Actor::operator(&caller.origin), &caller.origin);
    let mut tx = state.db().control().await?;
    bulkhead_audit::record_of_platform(&mut tx, event.change("rounds", Value::Null, rounds)).await?;
    Ok(tx.commit().await?)
}
