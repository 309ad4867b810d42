//! What is written down, and for whom.

use bulkhead_events::{Event, Role, emit};
use bulkhead_kernel::ids::{RoleId, TenantId};
use bulkhead_webhooks::{Changes, service};

use super::{Receiver, Scene, count, made, names};
use crate::harness::eventually;

const WRITTEN: &str = "SELECT (SELECT count(*) FROM webhook_messages) + (SELECT count(*) FROM webhook_deliveries) \
                       + (SELECT count(*) FROM control.jobs WHERE kind = 'webhooks.deliver')";

#[tokio::test]
async fn nothing_is_written_where_nobody_listens() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    scene.emit("one").await;
    let (id, _) = scene.webhook(&receiver.url, &["role.created", "vm.deleted"]).await;
    scene.emit("two").await;
    let all = Changes {
        event_types: Some(Vec::new()),
        is_enabled: Some(false),
        ..Changes::default()
    };
    scene.update(id, all).await;
    scene.emit("three").await;
    assert_eq!(count(&mut scene.rows().await, WRITTEN).await, 0);
    let enabled = Changes {
        is_enabled: Some(true),
        ..Changes::default()
    };
    scene.update(id, enabled).await;
    scene.emit("four").await;
    assert_eq!(count(&mut scene.rows().await, WRITTEN).await, 3);
    assert_eq!(names(&receiver.wait_for(1).await), ["four"]);
}

#[tokio::test]
async fn each_webhook_gets_the_types_it_wants_under_one_id() {
    let scene = Scene::new().await;
    let (all, some) = (Receiver::start().await, Receiver::start().await);
    scene.webhook(&all.url, &[]).await;
    scene.webhook(&some.url, &["vm.created"]).await;
    scene.emit("one").await;
    let mut tx = scene.db.tenant(scene.tenant).await.unwrap();
    let role = Role {
        id: RoleId::new(),
        name: "deployers".into(),
        permissions: vec!["vm:read".into()],
    };
    let (origin, now) = (&scene.scope.origin, scene.clock.now());
    emit(origin, &mut tx, now, &Event::RoleCreated(role)).await.unwrap();
    tx.commit().await.unwrap();
    scene.settled().await;
    let (to_all, to_some) = (all.messages(), some.messages());
    assert_eq!((to_all.len(), to_some.len()), (2, 1));
    let same = to_all.iter().find(|message| message.id() == to_some[0].id()).unwrap();
    assert_eq!(same.body, to_some[0].body);
    let other = to_all.iter().find(|message| message.id() != to_some[0].id()).unwrap();
    assert_eq!(other.json()["type"], "role.created");
}

#[tokio::test]
async fn what_did_not_happen_is_not_told() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    scene.webhook(&receiver.url, &[]).await;
    let mut tx = scene.db.tenant(scene.tenant).await.unwrap();
    let (origin, now) = (&scene.scope.origin, scene.clock.now());
    emit(origin, &mut tx, now, &made("undone")).await.unwrap();
    drop(tx);
    scene.emit("done").await;
    scene.settled().await;
    assert_eq!(names(&receiver.messages()), ["done"]);
    assert_eq!(count(&mut scene.rows().await, WRITTEN).await, 3);
}

#[tokio::test]
async fn a_tenant_tells_its_own_webhooks_alone() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    scene.webhook(&receiver.url, &[]).await;
    let other: TenantId = scene.test.tenant(&scene.db, "bolt").await;
    let mut tx = scene.db.tenant(other).await.unwrap();
    emit(&scene.scope.origin, &mut tx, scene.clock.now(), &made("foreign"))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    scene.emit("own").await;
    scene.settled().await;
    assert_eq!(names(&receiver.messages()), ["own"]);
}

#[tokio::test]
async fn a_webhook_that_is_being_deleted_breaks_nothing_that_happens() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    let (id, _) = scene.webhook(&receiver.url, &[]).await;
    let mut deletion = scene.db.tenant(scene.tenant).await.unwrap();
    service::delete(&scene.scope, &mut deletion, id, None).await.unwrap();
    let committing = async {
        let mut admin = scene.test.connect("postgres").await;
        eventually("the event waits for the deletion", async || {
            let waiting = "SELECT count(*) FROM pg_stat_activity \
                           WHERE datname = current_database() AND wait_event_type = 'Lock'";
            (count(&mut admin, waiting).await == 1).then_some(())
        })
        .await;
        deletion.commit().await.unwrap();
    };
    tokio::join!(scene.emit("unheard"), committing);
    assert_eq!(count(&mut scene.rows().await, WRITTEN).await, 0);
}
