//! A run from its start to its end.

use bulkhead_tenancy::{
    Lineage,
    fleet::{Counts, FleetError, Options, RunState},
};
use sqlx::Executor;

use super::{NICK, Stage, all, lineage, options, patient, schema_of};
use crate::harness::run;

#[tokio::test]
async fn everybody_with_a_schema_is_led_to_the_head() {
    let mut stage = Stage::with(25).await;
    let update =
        |place: usize, change: &str| format!("UPDATE control.tenants SET {change} WHERE slug = 'tenant-{place}'");
    run(
        &mut stage.admin,
        &update(1, "status = 'suspended', suspension = 'full'"),
    )
    .await;
    run(
        &mut stage.admin,
        &update(2, "status = 'suspended', suspension = 'read_only'"),
    )
    .await;
    run(&mut stage.admin, &update(3, "status = 'deleting'")).await;
    run(&mut stage.admin, &update(4, "status = 'pending'")).await;
    run(
        &mut stage.admin,
        "INSERT INTO control.tenants (id, slug, name) VALUES (gen_random_uuid(), 'unborn', 'Unborn')",
    )
    .await;
    let fleet = stage.fleet(&[NICK]);

    let plan = fleet.plan(&Options::default()).await.unwrap();
    assert_eq!((plan.target, plan.unbuilt, plan.rings), (2, 1, [0, 1, 2, 21]));
    assert_eq!(plan.versions.len(), 1);
    assert_eq!((plan.versions[0].tenants, plan.versions[0].deleting), (25, 1));
    assert_eq!(
        plan.versions[0].migrations.as_deref(),
        Some(&["0002_step".to_owned()][..])
    );

    let status = stage.migrate(&fleet, &options()).await;
    assert_eq!(status.state, RunState::Done);
    let counts = Counts {
        done: 24,
        skipped: 1,
        ..Counts::default()
    };
    assert_eq!(status.counts, counts);
    let (_, named) = stage.look(status.id).await;
    assert_eq!(named.len(), 1);
    assert_eq!(named[0].slug, "tenant-3");
    assert_eq!(named[0].error.as_deref(), Some("it is being deleted"));
    let mut expected = all(25);
    expected.remove(3);
    assert_eq!(stage.at_version(2).await, expected);
    assert_eq!(stage.with_nick().await, expected);

    // What a migration makes belongs to the tenant like the rest.
    let mut tx = stage.db.tenant(stage.tenants[0]).await.unwrap();
    let note = "INSERT INTO notes (id, text) VALUES (gen_random_uuid(), 'hello')";
    tx.conn().execute(sqlx::raw_sql(note)).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn with_nothing_to_do_a_run_is_over_when_it_begins() {
    let stage = Stage::with(3).await;
    let fleet = stage.fleet(&[]);
    let (run, is_new) = stage.start(&fleet, &options()).await.unwrap();
    let (status, named) = stage.look(run).await;
    assert!(is_new && named.is_empty());
    assert_eq!((status.state, status.counts.at_target), (RunState::Done, 3));
    assert_eq!(fleet.carry_out(run).await.unwrap(), status);
}

#[tokio::test]
async fn several_versions_are_taken_one_by_one() {
    const FILL: &str = "ALTER TABLE members ADD COLUMN pen_name text";
    let mut stage = Stage::with(6).await;
    let half = stage.fleet(&[NICK]);
    assert_eq!(stage.migrate(&half, &options()).await.state, RunState::Done);
    let late = stage.test.tenant(&stage.db, "late").await;
    stage.tenants.push(late);
    let fleet = stage.fleet(&[NICK, FILL]);
    let status = stage.migrate(&fleet, &options()).await;
    assert_eq!(
        (status.state, status.target, status.counts.done),
        (RunState::Done, 3, 7)
    );
    assert_eq!(stage.at_version(3).await, all(7));
    // An older build leaves newer tenants where they are.
    let status = stage.migrate(&half, &options()).await;
    assert_eq!((status.counts.done, status.counts.at_target), (0, 7));
}

#[tokio::test]
async fn a_tenant_built_meanwhile_is_born_at_the_head_or_is_brought_there() {
    let mut stage = Stage::with(5).await;
    let fleet = stage.fleet(&[NICK]);
    let (id, _) = stage.start(&fleet, &patient()).await.unwrap();
    let mut gate = stage.gate(0).await;
    let running = tokio::spawn({
        let fleet = fleet.clone();
        async move { fleet.carry_out(id).await }
    });
    gate.until_somebody_waits().await;
    // One is built by a process of the release before, one by a process of this release.
    let old = stage.test.tenant(&stage.db, "built-by-the-old").await;
    let new = bulkhead_kernel::ids::TenantId::new();
    let insert =
        "INSERT INTO control.tenants (id, slug, name, status) VALUES ($1, 'built-by-the-new', 'New', 'active')";
    sqlx::query(insert)
        .bind(new.uuid())
        .execute(&mut stage.admin)
        .await
        .unwrap();
    let mut tx = stage.db.owner().await.unwrap();
    tx.create_tenant_role(new).await.unwrap();
    tx.create_tenant_schema(new).await.unwrap();
    tx.build_tenant_schema(new, &lineage(&[NICK])).await.unwrap();
    tx.commit().await.unwrap();
    gate.open().await;

    let status = running.await.unwrap().unwrap();
    assert_eq!((status.state, status.counts.done), (RunState::Done, 6));
    stage.tenants.extend([old, new]);
    assert_eq!(stage.at_version(2).await, all(7));
    assert_eq!(stage.with_nick().await, all(7));
    assert!(schema_of(new).starts_with("t_"));
}

#[tokio::test]
async fn one_run_is_open_at_a_time() {
    let stage = Stage::with(2).await;
    let fleet = stage.fleet(&[NICK]);
    let (first, _) = stage.start(&fleet, &options()).await.unwrap();
    assert_eq!(stage.start(&fleet, &options()).await.unwrap(), (first, false));

    let mut tx = stage.db.control().await.unwrap();
    bulkhead_tenancy::fleet::pause(&mut tx, first).await.unwrap();
    tx.commit().await.unwrap();
    assert!(matches!(stage.start(&fleet, &options()).await, Err(FleetError::Open)));
    let further = stage.fleet(&[NICK, "ALTER TABLE members ADD COLUMN pen_name text"]);
    assert!(matches!(stage.start(&further, &options()).await, Err(FleetError::Open)));

    let mut tx = stage.db.control().await.unwrap();
    bulkhead_tenancy::fleet::resume(&mut tx, first).await.unwrap();
    tx.commit().await.unwrap();
    let (second, is_new) = stage.start(&further, &options()).await.unwrap();
    assert!(is_new && second != first);
    assert_eq!(stage.look(first).await.0.state, RunState::Superseded);
    // A build that does not know where a run leads leaves it alone.
    let error = fleet.carry_out(second).await.unwrap_err();
    assert!(
        matches!(error, FleetError::UnknownTarget { target: 3, head: 2 }),
        "{error}"
    );
}

#[tokio::test]
async fn a_migration_that_was_changed_after_it_ran_is_refused() {
    let stage = Stage::with(1).await;
    stage.migrate(&stage.fleet(&[NICK]), &options()).await;
    let changed = stage.fleet(&["ALTER TABLE members ADD COLUMN nickname text"]);
    let refused = stage.start(&changed, &options()).await;
    assert!(matches!(refused, Err(FleetError::Changed(name)) if name == "0002_step"));
}

#[tokio::test]
async fn what_cannot_be_carried_out_is_not_started() {
    let stage = Stage::with(1).await;
    let fleet = stage.fleet(&[]);
    for wrong in [
        Options {
            target: Some(2),
            ..options()
        },
        Options {
            target: Some(0),
            ..options()
        },
        Options {
            workers: 0,
            ..options()
        },
        Options {
            max_attempts: 21,
            ..options()
        },
        Options {
            canaries: vec!["tenant-0".into(), "nobody".into()],
            ..options()
        },
    ] {
        let refused = stage.start(&fleet, &wrong).await;
        assert!(matches!(refused, Err(FleetError::Invalid(_))), "{wrong:?}");
    }
    assert_eq!(Lineage::product().head(), 1);
}
