//! Plans, runs and drift as text for a terminal.

use std::fmt::Write as _;

use bulkhead_tenancy::fleet::{MigratedTenant, Plan, PlannedVersion, RING_NAMES, RunStatus, drift::Report};

/// What a run would do.
pub(super) fn plan(plan: &Plan) -> String {
    let mut text = format!("target: version {}\n", plan.target);
    for version in &plan.versions {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", planned(version, plan.target));
    }
    if plan.unbuilt > 0 {
        let _ = writeln!(
            text,
            "without a schema yet, born at the newest version: {}",
            plan.unbuilt
        );
    }
    let rings = RING_NAMES.iter().zip(plan.rings);
    let rings: Vec<_> = rings.map(|(name, n)| format!("{name}: {n}")).collect();
    let _ = writeln!(text, "rings: {}", rings.join(", "));
    text
}

fn planned(version: &PlannedVersion, target: i64) -> String {
    let what = match &version.migrations {
        _ if version.version > target => "stay beyond it".to_owned(),
        _ if version.version == target => "are there".to_owned(),
        Some(names) => format!("run {}", names.join(", ")),
        None => "are too old for this build".to_owned(),
    };
    let mut text = format!("version {}: {} tenants {what}", version.version, version.tenants);
    if version.deleting > 0 {
        let _ = write!(text, "; {} are being deleted and skipped", version.deleting);
    }
    if !version.is_served {
        text.push_str("; this build does not serve them");
    }
    text
}

/// One line while a run is under way.
pub(super) fn progress(status: &RunStatus) -> String {
    let counts = &status.counts;
    let all = counts.pending + counts.running + counts.done + counts.failed + counts.skipped;
    let mut text = format!("{} of {all} done", counts.done);
    if counts.failed > 0 {
        let _ = write!(text, ", {} failed", counts.failed);
    }
    if let Some(name) = status.ring.and_then(|ring| RING_NAMES.get(usize::try_from(ring).ok()?)) {
        let _ = write!(text, ", ring {name}");
    }
    if let Some(remaining) = status.remaining {
        let _ = write!(text, ", about {} s left", remaining.as_secs());
    }
    text
}

/// A run with those of its tenants that somebody should look at.
pub(super) fn status(status: &RunStatus, named: &[MigratedTenant]) -> String {
    let mut text = format!(
        "{} to version {} is {}",
        status.id,
        status.target,
        status.state.as_str()
    );
    if let Some(reason) = &status.reason {
        let _ = write!(text, ": {reason}");
    }
    if !status.state.is_finished() && !status.is_carried_out {
        text.push_str("; nobody carries it out");
    }
    let counts = &status.counts;
    let _ = writeln!(
        text,
        "\n{} done, {} failed, {} skipped, {} left, {} were there before",
        counts.done,
        counts.failed,
        counts.skipped,
        counts.pending + counts.running,
        counts.at_target,
    );
    for tenant in named {
        let reason = tenant.error.as_deref().unwrap_or_default();
        let state = tenant.state.as_str();
        let _ = writeln!(text, "{state}: {} ({}): {reason}", tenant.slug, tenant.id);
    }
    text
}

/// What differs, tenant by tenant.
pub(super) fn drift(report: &Report) -> String {
    let mut text = String::new();
    for drift in &report.drifts {
        let _ = writeln!(text, "{} ({}), version {}:", drift.slug, drift.tenant, drift.version);
        for difference in &drift.differences {
            let _ = writeln!(text, "  {difference}");
        }
    }
    let n_good = report.n_tenants - report.drifts.len();
    let _ = writeln!(
        text,
        "{n_good} of {} tenants are what their version says",
        report.n_tenants
    );
    text
}
