//! Webhooks as they are made and changed.

use std::sync::Arc;

use bulkhead_iam::permissions::{PermissionSet, SystemRole};
use bulkhead_kernel::page::PageRequest;
use bulkhead_webhooks::{Changes, DeliveryFilter, WebhookError, close_imported, replay_since, service};
use tokio::task::JoinSet;

use super::{Receiver, Reply, Scene, State, count, is_failed};
use crate::audit::scope;

#[tokio::test]
async fn who_lacks_the_permission_can_do_nothing() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    let (id, _) = scene.webhook(&receiver.url, &[]).await;
    scene.emit("web-1").await;
    let (delivery, _) = scene.attempted(id, 1).await;
    let message = delivery.message;
    let mut reader = scope(&scene.db, scene.tenant, SystemRole::Member, &scene.clock).await;
    for permissions in [SystemRole::Member.permissions(), PermissionSet::EMPTY] {
        reader.permissions = permissions;
        let mut tx = scene.db.tenant(scene.tenant).await.unwrap();
        let page = PageRequest::new(1, 20).unwrap();
        let filter = DeliveryFilter {
            state: None,
            kind: None,
            page,
        };
        let (webhooks, changes) = (&scene.webhooks, Changes::default());
        let refused = [
            service::list(&reader, &mut tx, page).await.err(),
            service::get(&reader, &mut tx, id).await.err(),
            service::update(&reader, &mut tx, webhooks, id, None, &changes)
                .await
                .err(),
            service::rotate(&reader, &mut tx, webhooks, id, 0, None).await.err(),
            service::delete(&reader, &mut tx, id, None).await.err(),
            service::test(&reader, &mut tx, id, None).await.err(),
            service::list_deliveries(&reader, &mut tx, id, &filter).await.err(),
            service::get_delivery(&reader, &mut tx, id, message).await.err(),
            service::replay_delivery(&reader, &mut tx, id, message, None)
                .await
                .err(),
            replay_since(&reader, &mut tx, id, scene.clock.now(), None).await.err(),
        ];
        for (index, refused) in refused.iter().enumerate() {
            assert!(
                matches!(refused, Some(WebhookError::Forbidden(_))),
                "{index}: {refused:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_tenant_has_as_many_as_the_settings_say_however_many_ask_at_once() {
    let scene = Arc::new(Scene::with(&[("WEBHOOKS__MAX_PER_TENANT", "3")]).await);
    let mut asking = JoinSet::new();
    for _ in 0..12 {
        let scene = scene.clone();
        asking.spawn(async move { scene.create("http://127.0.0.1:1/", &[], None).await.is_ok() });
    }
    let made = asking.join_all().await.into_iter().filter(|&is_made| is_made).count();
    assert_eq!(made, 3);
    let refused = scene.create("http://127.0.0.1:1/", &[], None).await;
    assert!(matches!(refused, Err(WebhookError::TooMany(3))));
}

#[tokio::test]
async fn the_same_request_under_a_key_makes_one_webhook_and_shows_its_secret_again() {
    let scene = Scene::new().await;
    let first = scene.create("http://127.0.0.1:1/", &[], Some("key-1")).await.unwrap();
    let again = scene.create("http://127.0.0.1:1/", &[], Some("key-1")).await.unwrap();
    assert_eq!(again.webhook, first.webhook);
    assert!(again.secret == first.secret);
    let other = scene.create("http://127.0.0.1:2/", &[], Some("key-1")).await;
    assert!(matches!(other, Err(WebhookError::IdempotencyKeyReused)));
    let id = first.webhook.id;
    let mut tx = scene.db.tenant(scene.tenant).await.unwrap();
    let (webhooks, key) = (&scene.webhooks, Some("key-2"));
    let rotated = service::rotate(&scene.scope, &mut tx, webhooks, id, 60, key)
        .await
        .unwrap();
    let again = service::rotate(&scene.scope, &mut tx, webhooks, id, 60, key)
        .await
        .unwrap();
    assert_eq!(again.webhook, rotated.webhook);
    assert!(again.secret == rotated.secret && rotated.secret != first.secret);
    assert_eq!(rotated.webhook.version, 2);
    tx.commit().await.unwrap();
    assert_eq!(count(&mut scene.rows().await, "SELECT count(*) FROM webhooks").await, 1);
}

#[tokio::test]
async fn a_change_is_made_to_what_was_seen_or_not_at_all() {
    let scene = Scene::new().await;
    let (id, _) = scene.webhook("http://127.0.0.1:1/", &[]).await;
    let changes = Changes {
        description: Some("CI".into()),
        ..Changes::default()
    };
    let mut tx = scene.db.tenant(scene.tenant).await.unwrap();
    let webhooks = &scene.webhooks;
    let changed = service::update(&scene.scope, &mut tx, webhooks, id, Some(&[1]), &changes)
        .await
        .unwrap();
    assert_eq!((changed.version, changed.description.as_str()), (2, "CI"));
    let same = service::update(&scene.scope, &mut tx, webhooks, id, None, &changes)
        .await
        .unwrap();
    assert_eq!(same, changed, "nothing is no change");
    let late = service::update(&scene.scope, &mut tx, webhooks, id, Some(&[1]), &changes).await;
    assert!(matches!(late, Err(WebhookError::Changed)));
    let late = service::delete(&scene.scope, &mut tx, id, Some(&[1])).await;
    assert!(matches!(late, Err(WebhookError::Changed)));
    let wrong = service::rotate(&scene.scope, &mut tx, webhooks, id, 2_592_001, None).await;
    assert!(matches!(wrong, Err(WebhookError::Invalid(_))));
    service::delete(&scene.scope, &mut tx, id, Some(&[2])).await.unwrap();
    let gone = service::get(&scene.scope, &mut tx, id).await;
    assert!(matches!(gone, Err(WebhookError::NotFound)));
}

#[tokio::test]
async fn what_came_with_an_archive_is_closed_until_it_has_a_secret_of_its_own() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    receiver.say([Reply::Status(500, "")]);
    let (id, _) = scene.webhook(&receiver.url, &[]).await;
    scene.emit("web-1").await;
    scene.attempted(id, 1).await;
    let mut owner = scene.db.owner().await.unwrap();
    owner.enter_tenant_schema(scene.tenant).await.unwrap();
    close_imported(&mut owner).await.unwrap();
    owner.commit().await.unwrap();
    let webhook = scene.get(id).await;
    assert_eq!(
        (webhook.is_enabled, webhook.disabled_reason.as_deref()),
        (false, Some("imported"))
    );
    assert!(!webhook.has_secret);
    assert!(is_failed(&scene.deliveries(id).await[0]));
    let enable = Changes {
        is_enabled: Some(true),
        ..Changes::default()
    };
    let mut tx = scene.db.tenant(scene.tenant).await.unwrap();
    let refused = service::update(&scene.scope, &mut tx, &scene.webhooks, id, None, &enable).await;
    assert!(matches!(refused, Err(WebhookError::Invalid(_))));
    let rotated = service::rotate(&scene.scope, &mut tx, &scene.webhooks, id, 60, None)
        .await
        .unwrap();
    assert_eq!(rotated.webhook.previous_until, None, "there was none before");
    tx.commit().await.unwrap();
    scene.update(id, enable).await;
    scene.due().await;
    scene.settled().await;
    scene.emit("web-2").await;
    let messages = receiver.wait_for(2).await;
    assert_eq!(messages[1].signed_by(rotated.secret.expose()), [0]);
    scene.settled().await;
    assert_eq!(scene.deliveries(id).await[0].state, State::Succeeded);
}
