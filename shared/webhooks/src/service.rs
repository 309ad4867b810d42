//! What can be done with webhooks.

use bulkhead_events::jobs::DeliverWebhook;
use bulkhead_iam::{Scope, permissions::Permission};
use bulkhead_kernel::{
    fault::Violation,
    ids::{MessageId, WebhookId},
    page::{Page, PageRequest},
};
use bulkhead_tenancy::{DbError, OwnerTx, TenantTx};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tracing::instrument;

use crate::{
    Attempt, Changes, Delivery, DeliveryFilter, MAX_OVERLAP_SECS, Minted, NewWebhook, State, Webhook, WebhookError,
    Webhooks,
    idempotency::{DeliveryAnswer, Key, MintedAnswer},
    secret::SigningSecret,
    store::{self, deliveries},
};

/// The type of the event that tests a webhook; nobody subscribes to it.
const TEST: &str = "webhook.test";

/// Makes a webhook with a secret of its own. Under an idempotency key the same request is answered the same way without a
/// second one.
#[instrument(name = "webhooks.create", skip_all)]
pub async fn create(
    scope: &Scope,
    tx: &mut TenantTx,
    webhooks: &Webhooks,
    new: &NewWebhook,
    key: Option<&str>,
) -> Result<Minted, WebhookError> {
    scope.require(Permission::WebhookManage)?;
    let valid = new.validate(&webhooks.policy).map_err(WebhookError::Invalid)?;
    let body = (&new.url, &new.description, &new.event_types);
    let key = Key::new(scope, ("POST /webhooks", 201), key, &body)?;
    if let Some(key) = &key
        && let Some(earlier) = key.claim::<MintedAnswer>(tx).await?
    {
        return earlier.open(webhooks, tx);
    }
    let most = webhooks.settings.max_per_tenant;
    if store::count_locked(tx).await? >= most {
        return Err(WebhookError::TooMany(most));
    }
    let webhook = wanted(scope, valid);
    let secret = SigningSecret::generate();
    let sealed = secret.seal(&webhooks.vault, tx.tenant(), webhook.id)?;
    store::insert(tx, &webhook, &sealed).await?;
    let event = scope
        .event("webhook.create")
        .on("webhook", webhook.id)
        .change("url", Value::Null, webhook.url.as_str())
        .change("description", Value::Null, webhook.description.as_str())
        .change("event_types", Value::Null, webhook.event_types.clone());
    bulkhead_audit::record(tx, event).await?;
    minted(tx, key.as_ref(), webhook, &secret, &sealed).await
}

fn wanted(scope: &Scope, valid: NewWebhook) -> Webhook {
    let now = scope.clock.now();
    Webhook {
        id: WebhookId::new(),
        url: valid.url,
        description: valid.description,
        event_types: valid.event_types,
        is_enabled: true,
        disabled_reason: None,
        has_secret: true,
        previous_until: None,
        failing_since: None,
        version: 1,
        created_by: scope.origin.principal.clone(),
        created_at: now,
        updated_at: now,
    }
}

/// The answer, stored under the key.
async fn minted(
    tx: &mut TenantTx,
    key: Option<&Key<'_>>,
    webhook: Webhook,
    secret: &SigningSecret,
    sealed: &[u8],
) -> Result<Minted, WebhookError> {
    if let Some(key) = key {
        key.keep(tx, webhook.id, &MintedAnswer::new(&webhook, sealed)).await?;
    }
    let secret = secret.text();
    Ok(Minted { webhook, secret })
}

/// One page of the webhooks, the newest first.
#[instrument(name = "webhooks.list", skip_all)]
pub async fn list(scope: &Scope, tx: &mut TenantTx, page: PageRequest) -> Result<Page<Webhook>, WebhookError> {
    scope.require(Permission::WebhookRead)?;
    let (items, total) = store::list(tx, page).await?;
    Ok(Page {
        items,
        total,
        request: page,
    })
}

/// A webhook.
#[instrument(name = "webhooks.get", skip_all)]
pub async fn get(scope: &Scope, tx: &mut TenantTx, id: WebhookId) -> Result<Webhook, WebhookError> {
    scope.require(Permission::WebhookRead)?;
    store::find(tx, id).await?.ok_or(WebhookError::NotFound)
}

/// Changes a webhook, if it is at one of the versions that the caller has seen. What waits for it goes to the new address.
#[instrument(name = "webhooks.update", skip_all)]
pub async fn update(
    scope: &Scope,
    tx: &mut TenantTx,
    webhooks: &Webhooks,
    id: WebhookId,
    seen: Option<&[i64]>,
    changes: &Changes,
) -> Result<Webhook, WebhookError> {
    scope.require(Permission::WebhookManage)?;
    let before = lock(tx, id, seen).await?;
    let applied = changes.apply(&before, &webhooks.policy);
    let mut after = applied.map_err(WebhookError::Invalid)?;
    if after == before {
        return Ok(before);
    }
    after.version += 1;
    after.updated_at = scope.clock.now();
    store::set(tx, &after).await?;
    let event = scope
        .event("webhook.update")
        .on("webhook", id)
        .change("url", before.url, after.url.as_str())
        .change("description", before.description, after.description.as_str())
        .change("event_types", before.event_types, after.event_types.clone())
        .change("is_enabled", before.is_enabled, after.is_enabled)
        .change("disabled_reason", before.disabled_reason, after.disabled_reason.clone());
    bulkhead_audit::record(tx, event).await?;
    Ok(after)
}

/// Gives a webhook another secret. The one so far signs beside it for `overlap_secs` more; 0 ends it now. One that was
/// already on its way out ends at once.
#[instrument(name = "webhooks.rotate", skip_all)]
pub async fn rotate(
    scope: &Scope,
    tx: &mut TenantTx,
    webhooks: &Webhooks,
    id: WebhookId,
    overlap_secs: u32,
    key: Option<&str>,
) -> Result<Minted, WebhookError> {
    scope.require(Permission::WebhookManage)?;
    if overlap_secs > MAX_OVERLAP_SECS {
        let detail = format!("must be 0 to {MAX_OVERLAP_SECS}");
        return Err(WebhookError::Invalid(vec![Violation::new("/overlap_secs", detail)]));
    }
    let route = ("POST /webhooks/{id}/rotate-secret", 200);
    let key = Key::new(scope, route, key, &(id, overlap_secs))?;
    let before = lock(tx, id, None).await?;
    if let Some(key) = &key
        && let Some(earlier) = key.claim::<MintedAnswer>(tx).await?
    {
        return earlier.open(webhooks, tx);
    }
    let now = scope.clock.now();
    let has_overlap = overlap_secs > 0 && before.has_secret;
    let after = Webhook {
        has_secret: true,
        previous_until: has_overlap.then(|| now + TimeDelta::seconds(overlap_secs.into())),
        version: before.version + 1,
        updated_at: now,
        ..before.clone()
    };
    let secret = SigningSecret::generate();
    let sealed = secret.seal(&webhooks.vault, tx.tenant(), id)?;
    store::set_secret(tx, &after, &sealed).await?;
    let moment = |at: Option<DateTime<Utc>>| at.map(|at| at.to_rfc3339());
    let event = scope.event("webhook.rotate").on("webhook", id);
    let event = event.change(
        "previous_until",
        moment(before.previous_until),
        moment(after.previous_until),
    );
    bulkhead_audit::record(tx, event).await?;
    minted(tx, key.as_ref(), after, &secret, &sealed).await
}

/// Deletes a webhook with all that was sent to it, if it is at one of the versions that the caller has seen.
#[instrument(name = "webhooks.delete", skip_all)]
pub async fn delete(scope: &Scope, tx: &mut TenantTx, id: WebhookId, seen: Option<&[i64]>) -> Result<(), WebhookError> {
    scope.require(Permission::WebhookManage)?;
    let before = lock(tx, id, seen).await?;
    store::delete(tx, id).await?;
    let event = scope
        .event("webhook.delete")
        .on("webhook", id)
        .change("url", before.url, Value::Null)
        .change("event_types", before.event_types, Value::Null);
    Ok(bulkhead_audit::record(tx, event).await?)
}

/// Sends a webhook an event that means nothing.
#[instrument(name = "webhooks.test", skip_all)]
pub async fn test(
    scope: &Scope,
    tx: &mut TenantTx,
    id: WebhookId,
    key: Option<&str>,
) -> Result<Delivery, WebhookError> {
    scope.require(Permission::WebhookManage)?;
    let key = Key::new(scope, ("POST /webhooks/{id}/test", 202), key, &id)?;
    lock_enabled(tx, id).await?;
    if let Some(key) = &key
        && let Some(earlier) = key.claim::<DeliveryAnswer>(tx).await?
    {
        return Ok(earlier.into());
    }
    let now = scope.clock.now();
    let delivery = Delivery {
        webhook: id,
        message: MessageId::new(),
        kind: TEST.into(),
        data: json!({"id": id}),
        occurred_at: now,
        state: State::Pending,
        round: 0,
        n_attempts: 0,
        next_attempt_at: Some(now),
        finished_at: None,
    };
    deliveries::insert(tx, &delivery).await?;
    enqueue(scope, tx, &delivery).await?;
    let event = scope.event("webhook.test").on("webhook", id);
    bulkhead_audit::record(tx, event.on("message", delivery.message)).await?;
    if let Some(key) = &key {
        key.keep(tx, id, &DeliveryAnswer::from(&delivery)).await?;
    }
    Ok(delivery)
}

/// One page of what was or is to be sent to a webhook, the newest first.
#[instrument(name = "webhooks.list_deliveries", skip_all)]
pub async fn list_deliveries(
    scope: &Scope,
    tx: &mut TenantTx,
    id: WebhookId,
    filter: &DeliveryFilter,
) -> Result<Page<Delivery>, WebhookError> {
    scope.require(Permission::WebhookRead)?;
    if filter
        .kind
        .as_ref()
        .is_some_and(|kind| kind.contains('\0') || kind.len() > 100)
    {
        let violation = Violation::new("type", "must have up to 100 characters");
        return Err(WebhookError::Invalid(vec![violation]));
    }
    store::find(tx, id).await?.ok_or(WebhookError::NotFound)?;
    let (items, total) = deliveries::list(tx, id, filter).await?;
    Ok(Page {
        items,
        total,
        request: filter.page,
    })
}

/// A delivery with all its attempts.
#[instrument(name = "webhooks.get_delivery", skip_all)]
pub async fn get_delivery(
    scope: &Scope,
    tx: &mut TenantTx,
    id: WebhookId,
    message: MessageId,
) -> Result<(Delivery, Vec<Attempt>), WebhookError> {
    scope.require(Permission::WebhookRead)?;
    let delivery = deliveries::find(tx, id, message).await?.ok_or(WebhookError::NotFound)?;
    Ok((delivery, deliveries::list_attempts(tx, id, message).await?))
}

/// Sends again what was taken or given up, under the same id. What is pending goes on as it does.
#[instrument(name = "webhooks.replay_delivery", skip_all)]
pub async fn replay_delivery(
    scope: &Scope,
    tx: &mut TenantTx,
    id: WebhookId,
    message: MessageId,
    key: Option<&str>,
) -> Result<Delivery, WebhookError> {
    scope.require(Permission::WebhookManage)?;
    let route = ("POST /webhooks/{id}/deliveries/{delivery_id}/replay", 202);
    let key = Key::new(scope, route, key, &(id, message))?;
    lock_enabled(tx, id).await?;
    if let Some(key) = &key
        && let Some(earlier) = key.claim::<DeliveryAnswer>(tx).await?
    {
        return Ok(earlier.into());
    }
    let begun = deliveries::begin_round(tx, id, message, scope.clock.now()).await?;
    let delivery = deliveries::find(tx, id, message).await?.ok_or(WebhookError::NotFound)?;
    // Also of one that was pending: should its job have died, it gets another.
    enqueue(scope, tx, &delivery).await?;
    if begun.is_some() {
        let event = scope.event("webhook.replay").on("webhook", id);
        bulkhead_audit::record(tx, event.on("message", message)).await?;
    }
    if let Some(key) = &key {
        key.keep(tx, id, &DeliveryAnswer::from(&delivery)).await?;
    }
    Ok(delivery)
}

async fn enqueue(scope: &Scope, tx: &mut TenantTx, delivery: &Delivery) -> Result<(), DbError> {
    let job = DeliverWebhook {
        webhook_id: delivery.webhook,
        message_id: delivery.message,
        round: delivery.round,
    };
    bulkhead_jobs::enqueue(&scope.origin, tx, &job).await?;
    Ok(())
}

async fn lock(tx: &mut TenantTx, id: WebhookId, seen: Option<&[i64]>) -> Result<Webhook, WebhookError> {
    let webhook = store::lock(tx, id).await?.ok_or(WebhookError::NotFound)?;
    if seen.is_none_or(|versions| versions.contains(&webhook.version)) {
        Ok(webhook)
    } else {
        Err(WebhookError::Changed)
    }
}

/// One to which something can be sent.
pub(crate) async fn lock_enabled(tx: &mut TenantTx, id: WebhookId) -> Result<(), WebhookError> {
    if lock(tx, id, None).await?.is_enabled {
        Ok(())
    } else {
        Err(WebhookError::Disabled)
    }
}

/// Closes the webhooks that came with an archive: their secrets are of the tenant it was made of, and so may be their
/// endpoints.
pub async fn close_imported(tx: &mut OwnerTx) -> Result<(), DbError> {
    store::set_all_imported(tx).await
}
