//! Migrations as they go over the wire.

use std::time::Duration;

use bulkhead_kernel::{fault::Violation, ids::TenantId};
use bulkhead_tenancy::fleet::{
    Budget, MigratedTenant, Options, Plan, PlannedVersion, RING_NAMES, RunStatus,
    drift::{Drift, Report},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::Problem;

/// How a migration is to be carried out; everything has a default.
#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({"canaries": ["acme"], "max_failures": "1%"}))]
pub struct StartMigration {
    /// The version to lead to; the newest one otherwise.
    target: Option<i64>,
    /// Who goes first, by id or slug; one that fails stops the run.
    canaries: Vec<String>,
    /// How many tenants may fail before the run stops: a number or a percentage. `1%` otherwise.
    max_failures: Option<String>,
    /// How many tenants at a time, 1 to 32; 4 otherwise.
    workers: Option<u8>,
    /// How often to try a tenant whose locks cannot be had, 1 to 20; 6 otherwise.
    max_attempts: Option<u8>,
    /// How long to wait for a lock; the tenant's requests wait as long. 500 otherwise.
    lock_timeout_ms: Option<u64>,
    /// For one statement; 30000 otherwise.
    statement_timeout_ms: Option<u64>,
}

impl StartMigration {
    /// What to carry out.
    pub(super) fn options(self) -> Result<Options, Problem> {
        let usual = Options::default();
        let budget = self.max_failures.as_deref().map(str::parse::<Budget>).transpose();
        let budget =
            budget.map_err(|error| Problem::invalid(vec![Violation::new("/max_failures", error.to_string())]))?;
        Ok(Options {
            target: self.target,
            canaries: self.canaries,
            budget: budget.unwrap_or(usual.budget),
            workers: self.workers.unwrap_or(usual.workers),
            max_attempts: self.max_attempts.unwrap_or(usual.max_attempts),
            lock_timeout: self.lock_timeout_ms.map_or(usual.lock_timeout, Duration::from_millis),
            statement_timeout: self
                .statement_timeout_ms
                .map_or(usual.statement_timeout, Duration::from_millis),
        })
    }
}

/// Which failed tenants to try again.
#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({"tenants": ["org_0190a1b2c3d4e5f60718293a4b5c6d7e"]}))]
pub struct RetryMigration {
    /// By id; all of them otherwise.
    #[schema(value_type = Option<Vec<String>>)]
    pub(super) tenants: Option<Vec<TenantId>>,
}

/// A migration of the fleet at a glance.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "mig_0190a1b2c3d4e5f60718293a4b5c6d7e", "target": 2, "state": "running", "reason": null,
    "principal": "usr_0190a1b2c3d4e5f60718293a4b5c6d7e", "workers": 4, "max_failures": 20, "is_carried_out": true,
    "ring": "10 %", "pending": 1700, "running": 32, "done": 268, "failed": 0, "skipped": 0, "at_target": 0,
    "remaining_secs": 8.5, "created_at": "2026-11-20T12:00:00Z", "finished_at": null}))]
pub struct MigrationBody {
    id: String,
    /// The version it leads to.
    target: i64,
    /// `running`, `paused`, `stopped`, `done`, `failed` or `superseded`.
    state: &'static str,
    /// Why it is paused, stopped or superseded.
    reason: Option<String>,
    /// Who started it.
    principal: String,
    workers: i16,
    /// More failed tenants than this stop it.
    max_failures: i32,
    /// Whether a process is at it right now.
    is_carried_out: bool,
    /// The ring under way: `canaries`, `1 %`, `10 %` or `100 %`.
    ring: Option<&'static str>,
    /// Tenants not begun, or to be tried again.
    pending: i64,
    /// Tenants under way.
    running: i64,
    /// Tenants that are at the target now.
    done: i64,
    /// Tenants given up.
    failed: i64,
    /// Tenants left out.
    skipped: i64,
    /// Tenants that were at the target before.
    at_target: i64,
    /// An estimate of how long the rest takes.
    remaining_secs: Option<f64>,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

impl From<RunStatus> for MigrationBody {
    fn from(run: RunStatus) -> Self {
        Self {
            id: run.id.to_string(),
            target: run.target,
            state: run.state.as_str(),
            reason: run.reason,
            principal: run.principal,
            workers: run.workers,
            max_failures: run.max_failures,
            is_carried_out: run.is_carried_out,
            ring: run.ring.and_then(ring_name),
            pending: run.counts.pending,
            running: run.counts.running,
            done: run.counts.done,
            failed: run.counts.failed,
            skipped: run.counts.skipped,
            at_target: run.counts.at_target,
            remaining_secs: run.remaining.map(|remaining| remaining.as_secs_f64()),
            created_at: run.created_at,
            finished_at: run.finished_at,
        }
    }
}

fn ring_name(ring: i16) -> Option<&'static str> {
    RING_NAMES.get(usize::try_from(ring).ok()?).copied()
}

/// A tenant that failed or was left out.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "org_0190a1b2c3d4e5f60718293a4b5c6d7e", "slug": "acme", "ring": "1 %", "state": "failed",
    "attempts": 1, "error": "0002_nick: column \"nick\" of relation \"members\" already exists (42701)"}))]
pub struct TenantBody {
    id: String,
    slug: String,
    ring: Option<&'static str>,
    /// `failed` or `skipped`.
    state: &'static str,
    /// How often it was tried.
    attempts: i16,
    /// Why.
    error: Option<String>,
}

impl From<MigratedTenant> for TenantBody {
    fn from(tenant: MigratedTenant) -> Self {
        Self {
            id: tenant.id.to_string(),
            slug: tenant.slug,
            ring: ring_name(tenant.ring),
            state: tenant.state.as_str(),
            attempts: tenant.attempts,
            error: tenant.error,
        }
    }
}

/// A migration with the tenants that somebody should look at.
#[derive(Serialize, ToSchema)]
pub struct MigrationDetail {
    #[serde(flatten)]
    run: MigrationBody,
    /// Tenants that failed or were skipped, at most 1,000.
    tenants: Vec<TenantBody>,
}

impl MigrationDetail {
    pub(super) fn new(run: RunStatus, named: Vec<MigratedTenant>) -> Self {
        Self {
            run: run.into(),
            tenants: named.into_iter().map(TenantBody::from).collect(),
        }
    }
}

/// What a migration would do now.
#[derive(Serialize, ToSchema)]
pub struct PlanBody {
    /// The version it would lead to.
    target: i64,
    /// The versions at which tenants stand, the oldest first.
    versions: Vec<VersionBody>,
    /// Tenants without a schema yet; they are born at the newest version.
    unbuilt: i64,
    /// How many tenants each ring would have.
    rings: Vec<RingBody>,
}

/// The tenants at one version.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"version": 1, "tenants": 2000, "deleting": 3, "migrations": ["0002_nick"], "is_served": true}))]
pub struct VersionBody {
    version: i64,
    tenants: i64,
    /// Those among them that are being deleted and would be skipped.
    deleting: i64,
    /// What would run there; null when they are too old for this build.
    migrations: Option<Vec<String>>,
    /// Whether this build serves them as they are.
    is_served: bool,
}

/// A part of the fleet that goes together.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"name": "1 %", "tenants": 20}))]
pub struct RingBody {
    name: &'static str,
    tenants: i64,
}

impl From<PlannedVersion> for VersionBody {
    fn from(version: PlannedVersion) -> Self {
        Self {
            version: version.version,
            tenants: version.tenants,
            deleting: version.deleting,
            migrations: version.migrations,
            is_served: version.is_served,
        }
    }
}

impl From<Plan> for PlanBody {
    fn from(plan: Plan) -> Self {
        let rings = RING_NAMES.into_iter().zip(plan.rings);
        Self {
            target: plan.target,
            versions: plan.versions.into_iter().map(VersionBody::from).collect(),
            unbuilt: plan.unbuilt,
            rings: rings.map(|(name, tenants)| RingBody { name, tenants }).collect(),
        }
    }
}

/// What came of comparing all schemas.
#[derive(Serialize, ToSchema)]
pub struct DriftBody {
    /// How many were looked at.
    tenants: usize,
    /// Those that are not what their version says.
    drifts: Vec<TenantDrift>,
}

/// A tenant whose schema is not what its version says.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "org_0190a1b2c3d4e5f60718293a4b5c6d7e", "slug": "acme", "version": 1,
    "differences": ["+ column members.email text", "- column members.email text NOT NULL"]}))]
pub struct TenantDrift {
    id: String,
    slug: String,
    version: i64,
    /// `- ` begins what is missing, `+ ` what is there instead or besides.
    differences: Vec<String>,
}

impl From<Drift> for TenantDrift {
    fn from(drift: Drift) -> Self {
        Self {
            id: drift.tenant.to_string(),
            slug: drift.slug,
            version: drift.version,
            differences: drift.differences,
        }
    }
}

impl From<Report> for DriftBody {
    fn from(report: Report) -> Self {
        Self {
            tenants: report.n_tenants,
            drifts: report.drifts.into_iter().map(TenantDrift::from).collect(),
        }
    }
}
