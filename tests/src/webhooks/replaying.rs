//! Sending again, and the event that tests an endpoint.

use bulkhead_kernel::ids::{MessageId, WebhookId};
use bulkhead_webhooks::{Changes, Delivery, Replayed, State, WebhookError, replay_since, service};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{Receiver, Reply, Scene, names};

async fn replay(scene: &Scene, id: WebhookId, message: MessageId, key: Option<&str>) -> Result<Delivery, WebhookError> {
    let mut tx = scene.db.tenant(scene.tenant).await.unwrap();
    let replayed = service::replay_delivery(&scene.scope, &mut tx, id, message, key).await?;
    tx.commit().await.unwrap();
    Ok(replayed)
}

async fn replay_all(scene: &Scene, id: WebhookId, since: DateTime<Utc>) -> Replayed {
    let mut tx = scene.db.tenant(scene.tenant).await.unwrap();
    let replayed = replay_since(&scene.scope, &mut tx, id, since, None).await.unwrap();
    tx.commit().await.unwrap();
    replayed
}

#[tokio::test]
async fn a_delivery_is_sent_again_under_the_same_id_as_often_as_asked() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    let (id, _) = scene.webhook(&receiver.url, &[]).await;
    scene.emit("web-1").await;
    let (delivery, _) = scene.attempted(id, 1).await;
    for n in 2..=4 {
        let again = replay(&scene, id, delivery.message, None).await.unwrap();
        assert_eq!((again.state, again.n_attempts), (State::Pending, n - 1));
        let (delivery, _) = scene.attempted(id, usize::try_from(n).unwrap()).await;
        assert_eq!((delivery.state, delivery.n_attempts), (State::Succeeded, n));
    }
    let messages = receiver.wait_for(4).await;
    assert!(messages.iter().all(|message| message.id() == messages[0].id()));
    let missing = replay(&scene, id, MessageId::new(), None).await;
    assert!(matches!(missing, Err(WebhookError::NotFound)));
}

#[tokio::test]
async fn a_replay_under_a_key_is_one_and_what_is_pending_goes_on_as_it_does() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    let (id, _) = scene.webhook(&receiver.url, &[]).await;
    scene.emit("web-1").await;
    let (delivery, _) = scene.attempted(id, 1).await;
    let first = replay(&scene, id, delivery.message, Some("key-1")).await.unwrap();
    scene.attempted(id, 2).await;
    assert_eq!(
        replay(&scene, id, delivery.message, Some("key-1")).await.unwrap(),
        first
    );
    scene.settled().await;
    assert_eq!(receiver.messages().len(), 2);
    receiver.say([Reply::Status(500, "")]);
    replay(&scene, id, delivery.message, None).await.unwrap();
    let (pending, _) = scene.attempted(id, 3).await;
    let asked = replay(&scene, id, delivery.message, None).await.unwrap();
    assert_eq!(asked, pending);
    scene.pass(id).await;
    let (done, attempts) = scene.attempted(id, 4).await;
    assert_eq!((done.state, attempts.len()), (State::Succeeded, 4));
    scene.settled().await;
    assert_eq!(receiver.messages().len(), 4);
}

#[tokio::test]
async fn all_that_failed_since_a_time_is_sent_again_and_nothing_else() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    let (id, _) = scene.webhook(&receiver.url, &[]).await;
    let fail = Changes {
        is_enabled: Some(false),
        ..Changes::default()
    };
    let enable = Changes {
        is_enabled: Some(true),
        ..Changes::default()
    };
    receiver.always_say(Reply::Status(500, ""));
    for name in ["early", "late-1", "late-2"] {
        scene.emit(name).await;
        scene.clock.advance(TimeDelta::seconds(1));
    }
    receiver.wait_for(3).await;
    scene.update(id, fail).await;
    scene.due().await;
    scene.settled().await;
    receiver.always_say(Reply::Status(204, ""));
    scene.update(id, enable).await;
    scene.emit("fine").await;
    scene.settled().await;
    let since = scene.clock.now() - TimeDelta::seconds(2);
    let replayed = replay_all(&scene, id, since).await;
    assert_eq!((replayed.n_deliveries, replayed.since), (2, since));
    let messages = receiver.wait_for(6).await;
    scene.settled().await;
    let mut again = names(&messages[4..]);
    again.sort();
    assert_eq!(again, ["late-1", "late-2"]);
    let failed = scene
        .deliveries(id)
        .await
        .into_iter()
        .filter(|one| one.state == State::Failed);
    assert_eq!(
        failed.map(|one| one.data["name"].clone()).collect::<Vec<_>>(),
        [json!("early")]
    );
    assert_eq!(replay_all(&scene, id, since).await.n_deliveries, 0);
}

#[tokio::test]
async fn an_endpoint_is_tested_whatever_it_wants() {
    let scene = Scene::new().await;
    let (tested, other) = (Receiver::start().await, Receiver::start().await);
    let (id, secret) = scene.webhook(&tested.url, &["vm.deleted"]).await;
    scene.webhook(&other.url, &[]).await;
    let mut tx = scene.db.tenant(scene.tenant).await.unwrap();
    let delivery = service::test(&scene.scope, &mut tx, id, Some("key-1")).await.unwrap();
    let again = service::test(&scene.scope, &mut tx, id, Some("key-1")).await.unwrap();
    assert_eq!(again, delivery);
    tx.commit().await.unwrap();
    scene.settled().await;
    let messages = tested.messages();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].id(), delivery.message.to_string());
    assert_eq!(messages[0].signed_by(&secret), [0]);
    assert_eq!(
        (&messages[0].json()["type"], &messages[0].json()["data"]),
        (&json!("webhook.test"), &json!({"id": id}))
    );
    assert!(other.messages().is_empty());
}
