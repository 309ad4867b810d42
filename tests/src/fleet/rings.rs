//! Few first, then more.

use bulkhead_tenancy::fleet::{Options, RunState, TenantMigration};

use super::{NICK, Stage, all, options, patient};
use crate::harness::eventually;

#[tokio::test]
async fn a_ring_begins_when_the_one_before_has_ended() {
    let mut stage = Stage::with(40).await;
    let fleet = stage.fleet(&[NICK]);
    let canaries = vec!["tenant-7".to_owned(), stage.tenants[9].to_string()];
    let plan = fleet
        .plan(&Options {
            canaries: canaries.clone(),
            ..options()
        })
        .await
        .unwrap();
    assert_eq!(plan.rings, [2, 1, 3, 34]);
    let status = stage.migrate(&fleet, &Options { canaries, ..options() }).await;
    assert_eq!((status.state, status.counts.done), (RunState::Done, 40));
    let rings = sqlx::query!(
        r#"
        SELECT ring, count(*) AS "n!", min(started_at) AS "began!", max(finished_at) AS "ended!"
        FROM control.migration_tenants
        GROUP BY ring
        ORDER BY ring
        "#
    )
    .fetch_all(&mut stage.admin)
    .await
    .unwrap();
    let sizes: Vec<_> = rings.iter().map(|ring| ring.n).collect();
    assert_eq!(sizes, [2, 1, 3, 34]);
    for pair in rings.windows(2) {
        assert!(pair[0].ended <= pair[1].began, "ring {} began early", pair[1].ring);
    }
}

#[tokio::test]
async fn a_failed_canary_stops_the_run_until_somebody_accepts_it() {
    let mut stage = Stage::with(10).await;
    stage.poison(4).await;
    let fleet = stage.fleet(&[NICK]);
    let canaries = vec!["tenant-4".to_owned()];
    let status = stage.migrate(&fleet, &Options { canaries, ..options() }).await;
    assert_eq!(status.state, RunState::Stopped);
    assert_eq!(status.reason.as_deref(), Some("the canary tenant-4 failed"));
    assert_eq!(
        (status.counts.failed, status.counts.pending, status.counts.running),
        (1, 9, 0)
    );
    assert_eq!(stage.at_version(2).await, [0; 0]);

    let mut tx = stage.db.control().await.unwrap();
    bulkhead_tenancy::fleet::resume(&mut tx, status.id).await.unwrap();
    tx.commit().await.unwrap();
    let status = fleet.carry_out(status.id).await.unwrap();
    assert_eq!((status.state, status.counts.done), (RunState::Failed, 9));
}

#[tokio::test]
async fn a_pause_bites_between_two_tenants() {
    let mut stage = Stage::with(12).await;
    let fleet = stage.fleet(&[NICK]);
    let (run, _) = stage
        .start(
            &fleet,
            &Options {
                workers: 2,
                ..patient()
            },
        )
        .await
        .unwrap();
    let first = sqlx::query_scalar!("SELECT tenant_id FROM control.migration_tenants ORDER BY ring, position LIMIT 1")
        .fetch_one(&mut stage.admin)
        .await
        .unwrap();
    let first = stage.tenants.iter().position(|id| id.uuid() == first).unwrap();
    let mut gate = stage.gate(first).await;
    let running = tokio::spawn({
        let fleet = fleet.clone();
        async move { fleet.carry_out(run).await }
    });
    gate.until_somebody_waits().await;
    let mut tx = stage.db.control().await.unwrap();
    bulkhead_tenancy::fleet::pause(&mut tx, run).await.unwrap();
    tx.commit().await.unwrap();
    gate.open().await;
    let status = running.await.unwrap().unwrap();
    assert_eq!(status.state, RunState::Paused);
    assert_eq!((status.counts.done, status.counts.pending), (0, 12));
    assert!(!status.is_carried_out);

    let mut tx = stage.db.control().await.unwrap();
    bulkhead_tenancy::fleet::resume(&mut tx, run).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(fleet.carry_out(run).await.unwrap().state, RunState::Done);
    assert_eq!(stage.at_version(2).await, all(12));
}

#[tokio::test]
async fn a_run_tells_how_far_it_is() {
    let stage = Stage::with(30).await;
    let fleet = stage.fleet(&[NICK]);
    let (run, _) = stage
        .start(
            &fleet,
            &Options {
                canaries: vec!["tenant-0".into()],
                ..patient()
            },
        )
        .await
        .unwrap();
    let (status, _) = stage.look(run).await;
    assert_eq!(
        (status.counts.pending, status.remaining, status.ring),
        (30, None, Some(0))
    );
    // The last to be done in any case is in the widest ring; all but it get there.
    let mut admin = stage.test.connect("postgres").await;
    let last = sqlx::query_scalar!(
        "SELECT tenant_id FROM control.migration_tenants ORDER BY ring DESC, position DESC LIMIT 1"
    )
    .fetch_one(&mut admin)
    .await
    .unwrap();
    let last = stage.tenants.iter().position(|id| id.uuid() == last).unwrap();
    let gate = stage.gate(last).await;
    let running = tokio::spawn({
        let fleet = fleet.clone();
        async move { fleet.carry_out(run).await }
    });
    let status = eventually("all but one are done", async || {
        let (status, _) = stage.look(run).await;
        (status.counts.done == 29).then_some(status)
    })
    .await;
    assert_eq!(status.ring, Some(3));
    assert!(status.remaining.is_some() && status.is_carried_out, "{status:?}");
    gate.open().await;
    running.await.unwrap().unwrap();
    assert_eq!(TenantMigration::Done.as_str(), "done");
}
