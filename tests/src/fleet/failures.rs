//! Tenants that cannot be migrated, and what that does to the others.

use std::time::Duration;

use bulkhead_tenancy::fleet::{self, Budget, Options, RunState};

use super::{NICK, Stage, all, options};
use crate::harness::eventually;

fn without(n: usize, places: &[usize]) -> Vec<usize> {
    all(n).into_iter().filter(|place| !places.contains(place)).collect()
}

#[tokio::test]
async fn poisoned_tenants_are_named_and_the_rest_finish() {
    let mut stage = Stage::with(20).await;
    for place in [3, 8, 15] {
        stage.poison(place).await;
    }
    let migrations = stage.fleet(&[NICK]);
    let status = stage.migrate(&migrations, &options()).await;
    assert_eq!(
        (status.state, status.counts.done, status.counts.failed),
        (RunState::Failed, 17, 3)
    );
    assert_eq!(stage.failed(status.id).await, [3, 8, 15]);
    let (_, named) = stage.look(status.id).await;
    for tenant in &named {
        let error = tenant.error.as_deref();
        assert_eq!(error, Some(r#"0002_step: relation "notes" already exists (42P07)"#));
        // Trying again would not help, so nobody did.
        assert_eq!(tenant.attempts, 1);
    }
    // Nothing of a failed migration stays, not even what went well.
    assert_eq!(stage.at_version(2).await, without(20, &[3, 8, 15]));
    assert_eq!(stage.with_nick().await, without(20, &[3, 8, 15]));

    stage.heal(3).await;
    stage.heal(8).await;
    let mut tx = stage.db.control().await.unwrap();
    let only = [stage.tenants[3], stage.tenants[15]];
    assert_eq!(fleet::retry(&mut tx, status.id, Some(&only)).await.unwrap(), 2);
    tx.commit().await.unwrap();
    assert_eq!(migrations.carry_out(status.id).await.unwrap().state, RunState::Failed);
    assert_eq!(stage.failed(status.id).await, [8, 15]);

    stage.heal(15).await;
    let mut tx = stage.db.control().await.unwrap();
    assert_eq!(fleet::retry(&mut tx, status.id, None).await.unwrap(), 2);
    tx.commit().await.unwrap();
    assert_eq!(migrations.carry_out(status.id).await.unwrap().state, RunState::Done);
    assert_eq!(stage.at_version(2).await, all(20));
}

#[tokio::test]
async fn a_run_stops_when_its_failure_budget_is_spent() {
    let mut stage = Stage::with(12).await;
    for place in [1, 5, 6] {
        stage.poison(place).await;
    }
    let migrations = stage.fleet(&[NICK]);
    let one_may_fail = Options {
        budget: Budget::Count(1),
        workers: 1,
        ..options()
    };
    let status = stage.migrate(&migrations, &one_may_fail).await;
    assert_eq!((status.state, status.counts.failed), (RunState::Stopped, 2));
    assert_eq!(
        status.reason.as_deref(),
        Some("2 tenants failed, and no more than 1 may")
    );
    assert_eq!(status.finished_at, None);
    assert_eq!(stage.failed(status.id).await.len(), 2);
    // Stopped is stopped: carrying it out again does nothing.
    let again = migrations.carry_out(status.id).await.unwrap();
    assert_eq!((again.state, again.counts), (RunState::Stopped, status.counts));

    let mut tx = stage.db.control().await.unwrap();
    fleet::resume(&mut tx, status.id).await.unwrap();
    tx.commit().await.unwrap();
    let status = migrations.carry_out(status.id).await.unwrap();
    assert_eq!((status.state, status.counts.done), (RunState::Failed, 9));
    assert_eq!(stage.failed(status.id).await, [1, 5, 6]);
    assert_eq!(stage.at_version(2).await, without(12, &[1, 5, 6]));
}

#[tokio::test]
async fn a_part_of_the_fleet_may_fail() {
    let stage = Stage::with(10).await;
    stage.poison(2).await;
    let ten_percent = Options {
        budget: Budget::Percent(10),
        ..options()
    };
    let status = stage.migrate(&stage.fleet(&[NICK]), &ten_percent).await;
    assert_eq!((status.state, status.max_failures), (RunState::Failed, 1));
    assert_eq!(status.counts.done, 9);
}

#[tokio::test]
async fn a_tenant_whose_locks_cannot_be_had_is_tried_a_few_times_and_holds_nobody_up() {
    let mut stage = Stage::with(8).await;
    let busy = stage.reader(5, "members").await;
    let migrations = stage.fleet(&[NICK]);
    let hasty = Options {
        lock_timeout: Duration::from_millis(20),
        max_attempts: 3,
        ..options()
    };
    let status = stage.migrate(&migrations, &hasty).await;
    assert_eq!((status.state, status.counts.done), (RunState::Failed, 7));
    let (_, named) = stage.look(status.id).await;
    assert_eq!((named[0].id, named[0].attempts), (stage.tenants[5], 3));
    let error = named[0].error.as_deref();
    assert_eq!(
        error,
        Some("0002_step: canceling statement due to lock timeout (55P03)")
    );
    busy.open().await;
    let mut tx = stage.db.control().await.unwrap();
    fleet::retry(&mut tx, status.id, None).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(migrations.carry_out(status.id).await.unwrap().state, RunState::Done);
    assert_eq!(stage.at_version(2).await, all(8));
}

#[tokio::test]
async fn a_lock_that_comes_free_costs_an_attempt_and_no_more() {
    let mut stage = Stage::with(4).await;
    let busy = stage.reader(1, "members").await;
    let migrations = stage.fleet(&[NICK]);
    let stubborn = Options {
        lock_timeout: Duration::from_millis(20),
        max_attempts: 20,
        ..options()
    };
    let (run, _) = stage.start(&migrations, &stubborn).await.unwrap();
    let running = tokio::spawn({
        let migrations = migrations.clone();
        async move { migrations.carry_out(run).await }
    });
    eventually("it was tried in vain", async || {
        let tried = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT FROM control.migration_tenants WHERE state = 'pending' AND attempts > 0) AS "is!""#
        );
        tried.fetch_one(&mut stage.admin).await.unwrap().then_some(())
    })
    .await;
    busy.open().await;
    let status = running.await.unwrap().unwrap();
    assert_eq!((status.state, status.counts.done), (RunState::Done, 4));
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_given_up() {
    let stage = Stage::with(2).await;
    let short = Options {
        statement_timeout: Duration::from_millis(50),
        max_attempts: 1,
        ..options()
    };
    let status = stage.migrate(&stage.fleet(&["SELECT pg_sleep(60)"]), &short).await;
    assert_eq!((status.state, status.counts.failed), (RunState::Failed, 2));
    let (_, named) = stage.look(status.id).await;
    assert!(
        named[0].error.as_deref().unwrap().contains("statement timeout (57014)"),
        "{named:?}"
    );
}

/// A server's detail may quote rows; what an operator reads must not.
#[tokio::test]
async fn an_error_tells_nothing_of_the_tenants_data() {
    let stage = Stage::with(1).await;
    let mut inside = stage.test.look_into(stage.tenants[0]).await;
    let twins = "INSERT INTO roles (id, name, description, is_system) \
                 SELECT gen_random_uuid(), name, 'secret', false FROM (VALUES ('a'), ('b')) AS names (name)";
    crate::harness::run(&mut inside, twins).await;
    let status = stage
        .migrate(
            &stage.fleet(&["CREATE UNIQUE INDEX roles_description_key ON roles (description)"]),
            &options(),
        )
        .await;
    let (_, named) = stage.look(status.id).await;
    let error = named[0].error.as_deref().unwrap();
    assert!(
        error.contains("could not create unique index") && !error.contains("secret"),
        "{error}"
    );
}
