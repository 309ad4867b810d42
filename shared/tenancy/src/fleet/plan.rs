//! What a run would do, and starting one.

use bulkhead_kernel::{
    fault::Violation,
    ids::{MigrationRunId, TenantId},
};

use super::{
    Fleet, FleetError, Options, Plan, PlannedVersion, RunState,
    model::RING_ENDS,
    store::{self, LockedRun},
};
use crate::{ControlTx, Lineage, SERVED_VERSIONS};

impl Fleet {
    /// The newest version this build leads to.
    #[must_use]
    pub fn head(&self) -> i64 {
        self.lineage.head()
    }

    /// What a run with these options would do now. Changes nothing.
    pub async fn plan(&self, options: &Options) -> Result<Plan, FleetError> {
        let target = self.target(options)?;
        let mut tx = self.db.control().await?;
        let n_canaries = canaries(&mut tx, &options.canaries).await?.len();
        let standing = store::list_versions(tx.conn()).await?;
        tx.commit().await?;
        let unbuilt = standing
            .iter()
            .filter(|one| one.version.is_none())
            .map(|one| one.n)
            .sum();
        let versions: Vec<PlannedVersion> = standing
            .iter()
            .filter_map(|one| Some(planned(&self.lineage, one.version?, target, one)))
            .collect();
        let behind = versions.iter().filter(|one| one.version < target);
        let n_behind: i64 = behind.map(|one| one.tenants - one.deleting).sum();
        Ok(Plan {
            target,
            unbuilt,
            rings: rings(n_behind, i64::try_from(n_canaries).unwrap_or(i64::MAX)),
            versions,
        })
    }

    /// Starts a run, or takes up the open one to the same target; gives whether it is new. An open run to an older
    /// version gives way, unless somebody carries it out or has paused it.
    pub async fn start(
        &self,
        tx: &mut ControlTx,
        options: &Options,
        principal: &str,
    ) -> Result<(MigrationRunId, bool), FleetError> {
        let target = self.target(options)?;
        check(options)?;
        if let Some(open) = store::lock_open_run(tx.conn()).await? {
            if open.target == target && open.state == RunState::Running {
                return Ok((open.id, false));
            }
            give_way(tx, &open, target).await?;
        }
        let migrations: Vec<_> = self.lineage.history(target).collect();
        if let Some(name) = store::find_changed(tx.conn(), &migrations).await? {
            return Err(FleetError::Changed(name));
        }
        let canaries: Vec<_> = canaries(tx, &options.canaries).await?;
        let canaries: Vec<_> = canaries.into_iter().map(TenantId::uuid).collect();
        let run = MigrationRunId::new();
        store::insert_run(tx.conn(), run, target, &canaries, options, principal).await?;
        Ok((run, true))
    }

    fn target(&self, options: &Options) -> Result<i64, FleetError> {
        let target = options.target.unwrap_or_else(|| self.head());
        if (1..=self.head()).contains(&target) {
            return Ok(target);
        }
        let detail = format!("must be 1 to {}, the newest version of this build", self.head());
        Err(FleetError::Invalid(vec![Violation::new("/target", detail)]))
    }
}

async fn give_way(tx: &mut ControlTx, open: &LockedRun, target: i64) -> Result<(), FleetError> {
    // To a newer version it is a newer build's, whose word counts.
    if open.target >= target || open.is_leased || open.state == RunState::Paused {
        return Err(FleetError::Open);
    }
    let reason = format!("a run to version {target} came first");
    Ok(store::set_state(tx.conn(), open.id, RunState::Superseded, Some(&reason)).await?)
}

fn check(options: &Options) -> Result<(), FleetError> {
    let mut violations = Vec::new();
    let mut require = |is_kept: bool, pointer: &str, detail: &str| {
        if !is_kept {
            violations.push(Violation::new(pointer, detail));
        }
    };
    require((1..=32).contains(&options.workers), "/workers", "must be 1 to 32");
    require(
        (1..=20).contains(&options.max_attempts),
        "/max_attempts",
        "must be 1 to 20",
    );
    require(
        (1..=60_000).contains(&options.lock_timeout.as_millis()),
        "/lock_timeout_ms",
        "must be 1 to 60000",
    );
    require(
        (1..=3_600_000).contains(&options.statement_timeout.as_millis()),
        "/statement_timeout_ms",
        "must be 1 to 3600000",
    );
    if violations.is_empty() {
        Ok(())
    } else {
        Err(FleetError::Invalid(violations))
    }
}

/// The tenants behind these ids and slugs; each must exist.
async fn canaries(tx: &mut ControlTx, names: &[String]) -> Result<Vec<TenantId>, FleetError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<_> = names
        .iter()
        .filter_map(|name| Some(name.parse::<TenantId>().ok()?.uuid()))
        .collect();
    let found = store::find_tenants(tx.conn(), &ids, names).await?;
    let is_known = |name: &String| found.iter().any(|(id, slug)| slug == name || id.to_string() == *name);
    let unknown = names.iter().enumerate().filter(|(_, name)| !is_known(name));
    let violations: Vec<_> = unknown
        .map(|(index, name)| Violation::new(format!("/canaries/{index}"), format!("there is no tenant {name}")))
        .collect();
    if violations.is_empty() {
        Ok(found.into_iter().map(|(id, _)| id).collect())
    } else {
        Err(FleetError::Invalid(violations))
    }
}

fn planned(lineage: &Lineage, version: i64, target: i64, standing: &store::Standing) -> PlannedVersion {
    let missing = lineage.between(version, target);
    PlannedVersion {
        version,
        tenants: standing.n,
        deleting: standing.n_deleting,
        migrations: missing.map(|steps| steps.map(|step| step.name.to_string()).collect()),
        is_served: SERVED_VERSIONS.contains(&version),
    }
}

/// How many tenants each ring has; the same rule that writes the rows.
fn rings(n_behind: i64, n_canaries: i64) -> [i64; 4] {
    let canaries = n_canaries.min(n_behind);
    let others = n_behind - canaries;
    let [first, second] = RING_ENDS.map(|reached| reached_of(others, reached));
    [canaries, first, second - first, others - second]
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "numbers of tenants are small"
)]
fn reached_of(n: i64, part: f64) -> i64 {
    (n as f64 * part).ceil() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_hold_everybody_once() {
        assert_eq!(rings(2_000, 0), [0, 20, 180, 1_800]);
        assert_eq!(rings(2_001, 1), [1, 20, 180, 1_800]);
        assert_eq!(rings(3, 2), [2, 1, 0, 0]);
        assert_eq!(rings(0, 2), [0, 0, 0, 0]);
        for n in 0..300 {
            assert_eq!(rings(n, 5).iter().sum::<i64>(), n);
        }
    }
}
