//! Runners that die, or that believe in a lease they have lost.

use std::time::Duration;

use bulkhead_tenancy::fleet::{Counts, FleetError, RunState};
use sqlx::Executor;

use super::{NICK, Stage, all, patient};
use crate::harness::{eventually, run};

/// Cuts a runner off between a tenant's migration and its row: then neither is there, and the next runner does both.
#[tokio::test]
async fn a_migration_and_its_row_are_one() {
    let mut stage = Stage::with(6).await;
    let fleet = stage.fleet(&[NICK]);
    let (id, _) = stage.start(&fleet, &patient()).await.unwrap();
    // Somebody holds the row of the run's first tenant, so that a runner has migrated it and cannot write that down.
    let first = sqlx::query_scalar!("SELECT tenant_id FROM control.migration_tenants ORDER BY ring, position LIMIT 1")
        .fetch_one(&mut stage.admin)
        .await
        .unwrap();
    let place = stage.tenants.iter().position(|one| one.uuid() == first).unwrap();
    let mut holder = stage.test.connect("postgres").await;
    run(&mut holder, "BEGIN").await;
    sqlx::query!("SELECT id FROM control.tenants WHERE id = $1 FOR UPDATE", first)
        .fetch_one(&mut holder)
        .await
        .unwrap();
    let mut gate = super::Gate::of(holder, &stage.test).await;
    let running = tokio::spawn({
        let fleet = fleet.clone();
        async move { fleet.carry_out(id).await }
    });
    gate.until_somebody_waits().await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    gate.open().await;
    eventually("the runner's sessions are out of their transactions", async || {
        let busy = sqlx::query_scalar!(
            r#"
            SELECT count(*) AS "n!" FROM pg_stat_activity
            WHERE datname = current_database() AND usename = 'postgres' AND application_name = 'bulkhead'
              AND state <> 'idle'
            "#
        );
        (busy.fetch_one(&mut stage.admin).await.unwrap() == 0).then_some(())
    })
    .await;
    assert_eq!(stage.with_nick().await, stage.at_version(2).await);
    let done = sqlx::query_scalar!("SELECT tenant_id FROM control.migration_tenants WHERE state = 'done'")
        .fetch_all(&mut stage.admin)
        .await
        .unwrap();
    assert_eq!(done.len(), stage.at_version(2).await.len());
    assert!(!stage.at_version(2).await.contains(&place));

    // The lease of the dead is over first.
    run(
        &mut stage.admin,
        "UPDATE control.migration_runs SET lease_until = now() - interval '1 second'",
    )
    .await;
    let ended = tokio::time::timeout(Duration::from_secs(60), fleet.carry_out(id)).await;
    let status = ended.expect("the heir takes up what the dead had claimed").unwrap();
    assert_eq!((status.state, status.counts.done), (RunState::Done, 6));
    assert_eq!(stage.at_version(2).await, all(6));
    assert_eq!(stage.with_nick().await, all(6));
}

/// A runner that stood still for longer than its lease wakes up in the middle of a tenant: here it is the test. The one
/// that has taken the run over comes to the same tenant, waits, and finds it done.
#[tokio::test]
async fn two_runners_with_one_tenant_do_not_collide() {
    let mut stage = Stage::with(3).await;
    let fleet = stage.fleet(&[NICK]);
    let (id, _) = stage.start(&fleet, &patient()).await.unwrap();
    let mut slow = stage.gate(1).await;
    let schema = super::schema_of(stage.tenants[1]);
    let halfway = format!(
        "SET LOCAL search_path = {schema}; {NICK}\n; \
         UPDATE control.tenants SET schema_version = 2 WHERE slug = 'tenant-1'"
    );
    run(&mut slow.holder, &halfway).await;
    let quick = tokio::spawn({
        let fleet = fleet.clone();
        async move { fleet.carry_out(id).await }
    });
    slow.until_somebody_waits().await;
    slow.commit().await;
    let status = quick.await.unwrap().unwrap();
    let counts = Counts {
        done: 3,
        ..Counts::default()
    };
    assert_eq!((status.state, status.counts), (RunState::Done, counts));
    assert_eq!(stage.at_version(2).await, all(3));
    assert_eq!(stage.look(id).await.1, []);
}

#[tokio::test]
async fn a_run_that_somebody_carries_out_is_left_to_them() {
    let stage = Stage::with(2).await;
    let fleet = stage.fleet(&[NICK]);
    let (id, _) = stage.start(&fleet, &patient()).await.unwrap();
    let mut gate = stage.gate(0).await;
    let running = tokio::spawn({
        let fleet = fleet.clone();
        async move { fleet.carry_out(id).await }
    });
    gate.until_somebody_waits().await;
    let refused = fleet.carry_out(id).await.unwrap_err();
    assert!(matches!(refused, FleetError::Leased(run) if run == id), "{refused}");
    gate.open().await;
    assert_eq!(running.await.unwrap().unwrap().state, RunState::Done);
}

/// One session of many lost is one attempt of one tenant.
#[tokio::test]
async fn a_lost_connection_costs_an_attempt() {
    let mut stage = Stage::with(4).await;
    let fleet = stage.fleet(&[NICK]);
    let (id, _) = stage.start(&fleet, &patient()).await.unwrap();
    let mut reader = stage.reader(2, "members").await;
    let running = tokio::spawn({
        let fleet = fleet.clone();
        async move { fleet.carry_out(id).await }
    });
    reader.until_somebody_waits().await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE datname = current_database() AND wait_event_type = 'Lock'";
    stage.admin.execute(sqlx::raw_sql(kill)).await.unwrap();
    reader.open().await;
    let status = running.await.unwrap().unwrap();
    assert_eq!((status.state, status.counts.done), (RunState::Done, 4));
    assert_eq!(stage.at_version(2).await, all(4));
}
