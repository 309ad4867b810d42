//! Sealing, attesting and retention: concurrent, interrupted, and in time.

use bulkhead_audit::chain;
use chrono::TimeDelta;
use tokio::task::JoinSet;

use super::{Lab, assert_gap_free};
use crate::harness::{eventually, run};

#[tokio::test]
async fn a_thousand_concurrent_writers_leave_a_chain_without_a_gap() {
    let lab = Lab::new().await;
    let mut writers = JoinSet::new();
    for n in 0..1_000 {
        let (db, scope) = (lab.db.clone(), lab.scope.clone());
        writers.spawn(async move {
            let mut tx = db.tenant(scope.tenant.id).await.unwrap();
            let event = scope.event("thing.make").on("thing", n);
            bulkhead_audit::record(&mut tx, event).await.unwrap();
            // Every seventh changes its mind.
            if n % 7 != 0 {
                tx.commit().await.unwrap();
            }
        });
    }
    // Two workers seal meanwhile.
    for _ in 0..20 {
        tokio::join!(lab.seal(), lab.seal());
    }
    writers.join_all().await;
    lab.seal().await;
    let (places, n_unsealed) = lab.places().await;
    assert_gap_free(&places, 857);
    assert_eq!(n_unsealed, 0);
    assert_eq!(lab.flaw().await, None);
}

#[tokio::test]
async fn a_row_that_commits_late_comes_later_and_breaks_nothing() {
    let lab = Lab::new().await;
    let mut late = lab.db.tenant(lab.tenant).await.unwrap();
    let event = lab.scope.event("thing.begin");
    bulkhead_audit::record(&mut late, event).await.unwrap();
    lab.clock.advance(TimeDelta::seconds(9));
    lab.record(2).await;
    lab.seal().await;
    assert_eq!(lab.places().await, (vec![1, 2], 0));
    late.commit().await.unwrap();
    lab.seal().await;
    assert_eq!(lab.places().await, (vec![1, 2, 3], 0));
    let actions = sqlx::query_scalar!("SELECT action FROM audit_events ORDER BY seq")
        .fetch_all(&mut lab.test.look_into(lab.tenant).await)
        .await
        .unwrap();
    assert_eq!(actions, ["thing.make", "thing.make", "thing.begin"]);
    assert_eq!(lab.flaw().await, None);
}

#[tokio::test]
async fn sealing_that_was_cut_off_is_done_by_the_next_worker() {
    let lab = Lab::new().await;
    lab.record(1).await;
    lab.seal().await;
    lab.record(3).await;
    let mut dying = lab.db.owner().await.unwrap();
    assert_eq!(chain::seal(&mut dying, lab.tenant).await.unwrap(), 3);
    // Somebody else neither waits nor seals the same rows.
    lab.record(1).await;
    lab.seal().await;
    assert_eq!(lab.places().await, (vec![1], 4));
    drop(dying);
    // The server notices a little later.
    eventually("the lock is free and everything is sealed", async || {
        lab.seal().await;
        (lab.places().await.1 == 0).then_some(())
    })
    .await;
    assert_eq!(lab.places().await, (vec![1, 2, 3, 4, 5], 0));
    assert_eq!(lab.flaw().await, None);
}

#[tokio::test]
async fn idle_tenants_are_left_alone_and_one_that_cannot_be_sealed_holds_nobody_up() {
    let lab = Lab::new().await;
    let broken = lab.test.tenant(&lab.db, "broken").await;
    lab.test.tenant(&lab.db, "idle").await;
    let sql = "INSERT INTO control.audit_outbox (id, tenant_id, event) \
               SELECT gen_random_uuid(), id, '{\"action\": \"no\"}' FROM control.tenants WHERE slug = 'broken'";
    run(&mut lab.test.connect("postgres").await, sql).await;
    lab.record(2).await;
    lab.seal().await;
    assert_eq!(lab.places().await, (vec![1, 2], 0));
    let mut tx = lab.db.control().await.unwrap();
    assert_eq!(chain::list_waiting(&mut tx, None, 10).await.unwrap(), [broken]);
}

#[tokio::test]
async fn old_rows_go_from_the_front_and_the_rest_stays_proved() {
    let lab = Lab::new().await;
    lab.record(4).await;
    lab.seal().await;
    lab.clock.advance(TimeDelta::days(100));
    lab.record(3).await;
    lab.seal().await;
    lab.trim().await;
    assert_eq!(lab.verify().await.n_rows, 7);
    lab.clock.advance(TimeDelta::days(266));
    lab.trim().await;
    let kept = lab.verify().await;
    assert_eq!((kept.first_seq, kept.last_seq, kept.flaw), (Some(5), 7, None));
    // What retention did not remove must still be there.
    lab.tamper("DELETE FROM audit_events WHERE seq = 5").await;
    assert_eq!(lab.flaw().await, Some((5, chain::Reason::FrontCut)));
}

#[tokio::test]
async fn each_tenant_says_how_long_its_rows_are_kept() {
    let lab = Lab::new().await;
    let set = |days: &str| {
        format!("UPDATE control.tenants SET settings = jsonb_build_object('audit_retention_days', '{days}'::jsonb)")
    };
    let mut admin = lab.test.connect("postgres").await;
    lab.record(2).await;
    lab.seal().await;
    lab.clock.advance(TimeDelta::days(400));
    for kept in ["500", "\"a\""] {
        run(&mut admin, &set(kept)).await;
        if kept == "500" {
            lab.trim().await;
            assert_eq!(lab.verify().await.n_rows, 2);
        }
    }
    // What is no number is as if it were not there.
    lab.trim().await;
    let verified = lab.verify().await;
    assert_eq!((verified.n_rows, verified.flaw), (0, None));
    // The chain goes on after it was emptied.
    lab.record(1).await;
    lab.seal().await;
    assert_eq!(lab.places().await, (vec![3], 0));
    assert_eq!(lab.flaw().await, None);
}

#[tokio::test]
async fn what_waits_for_a_tenant_that_is_gone_is_swept_away() {
    let lab = Lab::new().await;
    let mut admin = lab.test.connect("postgres").await;
    let orphan = "INSERT INTO control.audit_outbox (id, tenant_id) VALUES (gen_random_uuid(), gen_random_uuid())";
    run(&mut admin, orphan).await;
    lab.trim().await;
    let n_left = sqlx::query_scalar!(r#"SELECT count(*) AS "n!" FROM control.audit_outbox"#)
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert_eq!(n_left, 0);
}
