//! Schemas that are not what their version says.

use bulkhead_tenancy::{Lineage, fleet::Fleet};

use super::{NICK, Stage, lineage, options, schema_of};
use crate::harness::{TestDb, run};

#[tokio::test]
async fn a_new_tenant_has_what_the_migrations_lead_to() {
    let test = TestDb::new().await;
    let product = Fleet::new(test.db(&[]), Lineage::product().clone());
    let long = product.expected_catalog(product.head()).await.unwrap();
    assert!(long.len() > 100, "{long:?}");
    assert_eq!(product.newborn_catalog().await.unwrap(), long);
    for line in &long {
        assert!(!line.contains("t_0"), "{line} names the schema");
    }
}

#[tokio::test]
async fn a_baseline_that_was_forgotten_is_seen() {
    let test = TestDb::new().await;
    let first = Lineage::product().baseline().sql.clone();
    let files = [
        ("0001_baseline.sql", first.clone()),
        ("0002_step.sql", NICK.into()),
        ("0002_baseline.sql", first),
    ];
    let files = files.map(|(name, sql)| (name.to_owned(), sql));
    let forgotten = Fleet::new(test.db(&[]), Lineage::of_files(files.into()).unwrap());
    let long = forgotten.expected_catalog(2).await.unwrap();
    let short = forgotten.newborn_catalog().await.unwrap();
    let lost: Vec<_> = long.difference(&short).map(String::as_str).collect();
    assert!(lost.contains(&"column members.nick text"), "{lost:?}");
    assert_eq!(lost.len(), 8, "{lost:?}");
}

#[tokio::test]
async fn every_kind_of_difference_is_named() {
    let stage = Stage::with(9).await;
    let fleet = stage.fleet(&[NICK]);
    let clean = fleet.drift().await.unwrap();
    assert_eq!((clean.n_tenants, clean.drifts.len()), (9, 0));

    let role = schema_of(stage.tenants[5]);
    let planted = [
        (
            "ALTER TABLE members ALTER COLUMN email DROP NOT NULL".to_owned(),
            vec!["+ column members.email text", "- column members.email text NOT NULL"],
        ),
        (
            "DROP INDEX vms_list_idx".to_owned(),
            vec!["- index CREATE INDEX vms_list_idx ON vms"],
        ),
        (
            "ALTER TABLE vms DROP CONSTRAINT vms_size_check".to_owned(),
            vec!["- constraint vms.vms_size_check CHECK"],
        ),
        ("CREATE TABLE extra ()".to_owned(), vec!["+ table extra"]),
        (
            "ALTER TABLE vms DISABLE TRIGGER vms_transition".to_owned(),
            vec![
                "+ trigger CREATE TRIGGER vms_transition",
                "- trigger CREATE TRIGGER vms_transition",
            ],
        ),
        (
            format!("REVOKE DELETE ON members FROM {role}"),
            vec![
                "- grant DELETE, INSERT, SELECT, UPDATE on members to the tenant",
                "+ grant INSERT, SELECT, UPDATE on members to the tenant",
            ],
        ),
        (
            "CREATE OR REPLACE FUNCTION check_vm_transition() RETURNS trigger LANGUAGE plpgsql \
             SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN NEW; END'"
                .to_owned(),
            vec![
                "+ function check_vm_transition() with",
                "- function check_vm_transition() with",
            ],
        ),
        (
            "ALTER TABLE members ALTER COLUMN status SET DEFAULT 'inactive'".to_owned(),
            vec![
                "- column members.status text NOT NULL DEFAULT 'active'",
                "+ column members.status text NOT NULL DEFAULT 'inactive'",
            ],
        ),
    ];
    for (place, (sql, _)) in planted.iter().enumerate() {
        let mut inside = stage.test.look_into(stage.tenants[place]).await;
        run(&mut inside, sql).await;
    }
    let report = fleet.drift().await.unwrap();
    assert_eq!(report.drifts.len(), planted.len());
    for (place, (sql, expected)) in planted.iter().enumerate() {
        let drift = &report.drifts[place];
        assert_eq!(
            (drift.tenant, drift.slug.as_str()),
            (stage.tenants[place], format!("tenant-{place}").as_str())
        );
        let told: Vec<&str> = drift.differences.iter().map(String::as_str).collect();
        assert_eq!(told.len(), expected.len(), "{sql}: {told:?}");
        for begin in expected {
            assert!(told.iter().any(|line| line.starts_with(begin)), "{sql}: {told:?}");
        }
    }
}

#[tokio::test]
async fn a_tenant_is_compared_with_its_own_version() {
    let mut stage = Stage::with(4).await;
    stage.poison(1).await;
    let fleet = stage.fleet(&[NICK]);
    stage.migrate(&fleet, &options()).await;
    let report = fleet.drift().await.unwrap();
    let slugs: Vec<_> = report
        .drifts
        .iter()
        .map(|drift| (drift.slug.as_str(), drift.version))
        .collect();
    assert_eq!(slugs, [("tenant-1", 1)]);
    assert_eq!(report.drifts[0].differences, ["+ table notes"]);
    run(
        &mut stage.admin,
        &format!("DROP SCHEMA {} CASCADE", schema_of(stage.tenants[2])),
    )
    .await;
    run(
        &mut stage.admin,
        "UPDATE control.tenants SET schema_version = 9 WHERE slug = 'tenant-3'",
    )
    .await;
    let report = fleet.drift().await.unwrap();
    let told: Vec<_> = report.drifts.iter().map(|drift| drift.differences.join("; ")).collect();
    assert_eq!(
        told,
        ["+ table notes", "- the schema", "version 9 is unknown to this build"]
    );
    // Looking leaves nothing behind.
    let left = sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM pg_namespace WHERE nspname LIKE 't\_%' AND obj_description(oid) = 'scratch'"#
    );
    assert_eq!(left.fetch_one(&mut stage.admin).await.unwrap(), 0);
    assert_eq!(lineage(&[NICK]).head(), 2);
}
