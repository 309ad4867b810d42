//! Whether every tenant's schema is what its version says.
//!
//! What is expected is built: the first baseline and the migrations since, in a schema that is rolled back again. The
//! catalog of both is described in lines (`control.describe_schemas`); a hash is compared, and only where it differs the
//! lines are.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_kernel::ids::TenantId;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Fleet, FleetError, store::drift as rows};
use crate::{Lineage, OwnerTx, SchemaName, owner::Owners};

/// How many schemas are described at a time; their server process then ends and takes what it remembers along.
const BATCH: usize = 50;

/// How many batches at a time.
const LANES: usize = 4;

/// A tenant whose schema is not what its version says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Which tenant.
    pub tenant: TenantId,
    /// What people call it.
    pub slug: String,
    /// At which version it should be.
    pub version: i64,
    /// What differs: `- ` begins what is missing, `+ ` what is there instead or besides.
    pub differences: Vec<String>,
}

/// What came of looking at all tenants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// How many were looked at; tenants without a schema yet are not.
    pub n_tenants: usize,
    /// Those that differ, by slug.
    pub drifts: Vec<Drift>,
}

/// What a schema of some version looks like.
struct Expected {
    hash: String,
    lines: BTreeSet<String>,
}

impl Fleet {
    /// Compares every tenant's schema with what its version says.
    pub async fn drift(&self) -> Result<Report, FleetError> {
        let slots = self.db.owners("drift", LANES);
        let mut tx = OwnerTx::begin(&slots).await?;
        let tenants = rows::list_built(tx.conn()).await?;
        tx.commit().await?;
        let mut expected = BTreeMap::new();
        for version in tenants.iter().map(|tenant| tenant.version).collect::<BTreeSet<_>>() {
            if self.lineage.between(version, version).is_some() && version <= self.head() {
                expected.insert(version, expect(&slots, &self.lineage, version).await?);
            }
        }
        let batches = tenants.chunks(BATCH).map(|batch| compare(&slots, &expected, batch));
        let batches: Vec<_> = batches.collect();
        let found: Vec<Vec<Drift>> = stream::iter(batches).buffer_unordered(LANES).try_collect().await?;
        let mut drifts: Vec<_> = found.into_iter().flatten().collect();
        drifts.sort_by(|a, b| a.slug.cmp(&b.slug));
        Ok(Report {
            n_tenants: tenants.len(),
            drifts,
        })
    }

    /// What a schema at this version looks like, built from the first baseline on.
    pub async fn expected_catalog(&self, version: i64) -> Result<BTreeSet<String>, FleetError> {
        let slots = self.db.owners("drift", 1);
        Ok(expect(&slots, &self.lineage, version).await?.lines)
    }

    /// What a new tenant's schema looks like, built by the newest baseline alone.
    pub async fn newborn_catalog(&self) -> Result<BTreeSet<String>, FleetError> {
        let slots = self.db.owners("drift", 1);
        let files = [self.lineage.baseline()];
        Ok(build_and_describe(&slots, files.into_iter()).await?.lines)
    }
}

async fn expect(slots: &Owners, lineage: &Lineage, version: i64) -> Result<Expected, FleetError> {
    build_and_describe(slots, lineage.history(version)).await
}

/// Nothing of it is left: the transaction is dropped.
async fn build_and_describe(
    slots: &Owners,
    files: impl Iterator<Item = &crate::Migration>,
) -> Result<Expected, FleetError> {
    let scratch = TenantId::new();
    let mut tx = OwnerTx::begin(slots).await?;
    tx.create_tenant_role(scratch).await?;
    tx.create_tenant_schema(scratch).await?;
    for file in files {
        tx.apply_migration(scratch, file).await?;
    }
    tx.grant_tenant_tables(scratch).await?;
    let schema = SchemaName::from(scratch).to_string();
    let hashes = rows::list_hashes(tx.conn(), std::slice::from_ref(&schema)).await?;
    let lines = rows::list_lines(tx.conn(), &schema).await?;
    Ok(Expected {
        hash: hashes.get(&schema).cloned().unwrap_or_default(),
        lines: lines.into_iter().collect(),
    })
}

async fn compare(
    slots: &Owners,
    expected: &BTreeMap<i64, Expected>,
    batch: &[rows::Built],
) -> Result<Vec<Drift>, FleetError> {
    let mut tx = OwnerTx::begin(slots).await?;
    tx.retire();
    let schemas: Vec<_> = batch.iter().map(|one| SchemaName::from(one.id).to_string()).collect();
    let hashes = rows::list_hashes(tx.conn(), &schemas).await?;
    let mut drifts = Vec::new();
    for (tenant, schema) in batch.iter().zip(&schemas) {
        let differences = match (expected.get(&tenant.version), hashes.get(schema)) {
            (None, _) => vec![format!("version {} is unknown to this build", tenant.version)],
            (_, None) => vec!["- the schema".to_owned()],
            (Some(expected), Some(hash)) if expected.hash == *hash => continue,
            (Some(expected), Some(_)) => {
                let lines = rows::list_lines(tx.conn(), schema).await?;
                difference(&expected.lines, &lines.into_iter().collect())
            }
        };
        drifts.push(Drift {
            tenant: tenant.id,
            slug: tenant.slug.clone(),
            version: tenant.version,
            differences,
        });
    }
    tx.commit().await?;
    Ok(drifts)
}

/// What is missing and what is there instead, side by side where they are of one name.
fn difference(expected: &BTreeSet<String>, found: &BTreeSet<String>) -> Vec<String> {
    let missing = expected.difference(found).map(|line| (line, '-'));
    let besides = found.difference(expected).map(|line| (line, '+'));
    let all: BTreeSet<_> = missing.chain(besides).collect();
    all.into_iter().map(|(line, sign)| format!("{sign} {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_both_sides() {
        let set = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        let expected = set(&["column a.b text NOT NULL", "table a"]);
        let found = set(&["column a.b text", "table a", "table c"]);
        assert_eq!(
            difference(&expected, &found),
            ["+ column a.b text", "- column a.b text NOT NULL", "+ table c"]
        );
        assert!(difference(&expected, &expected).is_empty());
    }
}
