//! Endpoints that are gone, or do nothing but fail.

use bulkhead_webhooks::{Changes, State, WebhookError, service};
use serde_json::{Value, json};

use super::{Receiver, Reply, Scene, is_failed, names, status};

/// What the audit log says of what was done to a webhook without anybody asking.
async fn disabled(scene: &Scene) -> Vec<Value> {
    sqlx::query_scalar(
        "SELECT jsonb_build_object('actor', actor_kind, 'targets', targets, 'changes', changes) \
         FROM audit_events WHERE action = 'webhook.disable'",
    )
    .fetch_all(&mut scene.rows().await)
    .await
    .unwrap()
}

#[tokio::test]
async fn an_endpoint_that_says_it_is_gone_is_disabled_at_once() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    receiver.say([Reply::Status(410, "")]);
    let (id, _) = scene.webhook(&receiver.url, &[]).await;
    scene.emit("web-1").await;
    let (delivery, attempts) = scene.attempted(id, 1).await;
    assert!(is_failed(&delivery) && status(&attempts[0]) == 410, "{delivery:?}");
    let webhook = scene.get(id).await;
    assert_eq!(
        (webhook.is_enabled, webhook.disabled_reason.as_deref()),
        (false, Some("gone"))
    );
    let expected = json!({
        "actor": "system",
        "targets": [{"kind": "webhook", "id": id}],
        "changes": {
            "is_enabled": {"before": true, "after": false},
            "disabled_reason": {"before": null, "after": "gone"},
        },
    });
    assert_eq!(disabled(&scene).await, [expected]);
    scene.emit("web-2").await;
    scene.settled().await;
    assert_eq!(receiver.messages().len(), 1);
}

#[tokio::test]
async fn an_endpoint_that_does_nothing_but_fail_is_disabled_and_can_be_enabled_again() {
    let scene = Scene::with(&[("WEBHOOKS__DISABLE_AFTER_SECS", "300")]).await;
    let receiver = Receiver::start().await;
    receiver.always_say(Reply::Status(500, ""));
    let (id, _) = scene.webhook(&receiver.url, &[]).await;
    scene.emit("web-1").await;
    scene.attempted(id, 1).await;
    scene.pass(id).await;
    let (delivery, _) = scene.attempted(id, 2).await;
    assert_eq!((delivery.state, scene.get(id).await.is_enabled), (State::Pending, true));
    scene.pass(id).await;
    let (delivery, _) = scene.attempted(id, 3).await;
    assert!(is_failed(&delivery), "given up with it: {delivery:?}");
    let webhook = scene.get(id).await;
    assert_eq!(
        (webhook.is_enabled, webhook.disabled_reason.as_deref()),
        (false, Some("failing"))
    );
    assert_eq!(disabled(&scene).await.len(), 1);
    scene.emit("unheard").await;
    receiver.always_say(Reply::Status(200, ""));
    let enable = Changes {
        is_enabled: Some(true),
        ..Changes::default()
    };
    let webhook = scene.update(id, enable).await;
    assert!(webhook.is_enabled && webhook.failing_since.is_none());
    scene.emit("heard").await;
    scene.settled().await;
    assert_eq!(names(&receiver.messages()), ["web-1", "web-1", "web-1", "heard"]);
}

#[tokio::test]
async fn what_waits_for_a_disabled_webhook_is_given_up_unsent() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    receiver.always_say(Reply::Status(500, ""));
    let (id, _) = scene.webhook(&receiver.url, &[]).await;
    scene.emit("web-1").await;
    scene.attempted(id, 1).await;
    let disable = Changes {
        is_enabled: Some(false),
        ..Changes::default()
    };
    scene.update(id, disable).await;
    scene.due().await;
    scene.settled().await;
    let (delivery, attempts) = scene.attempted(id, 1).await;
    assert!(is_failed(&delivery) && attempts.len() == 1, "{delivery:?}");
    assert!(disabled(&scene).await.is_empty(), "somebody did it");
    let mut tx = scene.db.tenant(scene.tenant).await.unwrap();
    let tested = service::test(&scene.scope, &mut tx, id, None).await;
    assert!(matches!(tested, Err(WebhookError::Disabled)));
    let replayed = service::replay_delivery(&scene.scope, &mut tx, id, delivery.message, None).await;
    assert!(matches!(replayed, Err(WebhookError::Disabled)));
}
