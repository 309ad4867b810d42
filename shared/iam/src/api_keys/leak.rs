//! Somebody found a key where it should not be.

use bulkhead_audit::{Actor, Event};
use bulkhead_kernel::origin::Origin;
use bulkhead_mail::{Template, jobs::SendMail};
use bulkhead_tenancy::{DbError, TenantSelector, TenantTx};
use chrono::{DateTime, Utc};
use tracing::instrument;

use super::{ApiKey, ApiKeyError, KeyText, store};
use crate::Iam;

/// Ends what was reported, records it and writes to the owner, also in a tenant that is closed. Any other text changes
/// nothing; the caller is not told which it was.
#[instrument(skip_all)]
pub async fn report(iam: &Iam, text: &str, origin: &Origin) -> Result<(), ApiKeyError> {
    let Ok(key) = KeyText::parse(text.trim(), &iam.settings.key_environment) else {
        return Ok(());
    };
    let mut tx = match iam.db.tenant_for_platform(key.tenant).await {
        Err(DbError::TenantNotFound | DbError::TenantNotActive) => return Ok(()),
        entered => entered?,
    };
    let Some(stored) = store::lock(&mut tx, key.id).await? else {
        return Ok(());
    };
    let hashes = store::find_hashes(&mut tx, key.id).await?;
    let (current, former) = hashes.ok_or(ApiKeyError::NotFound)?;
    let (hash, now) = (key.hash(), iam.clock.now());
    let is_current = KeyText::is_same_hash(&hash, &current);
    let is_former = former.is_some_and(|former| KeyText::is_same_hash(&hash, &former));
    if stored.revoked_at.is_some() || !(is_current || is_former) {
        return Ok(());
    }
    if is_current {
        store::set_revoked(&mut tx, key.id, "leaked", now).await?;
    } else {
        store::delete_previous(&mut tx, key.id, now).await?;
    }
    bulkhead_audit::record(&mut tx, event(&stored, is_current, origin, now)).await?;
    mail(iam, &mut tx, &stored, origin).await?;
    tx.commit().await?;
    iam.keys.forget(|place| *place == (key.tenant, key.id));
    tracing::warn!(tenant.id = %key.tenant, api_key.id = %key.id, is_current, "a leaked key was reported and ended");
    Ok(())
}

fn event(key: &ApiKey, is_current: bool, origin: &Origin, now: DateTime<Utc>) -> Event {
    let system = Actor {
        kind: "system",
        id: String::new(),
    };
    let event = Event::new("api_key.leak", system, origin, now).on("api_key", key.id);
    if is_current {
        event.change("revoked_reason", (), "leaked")
    } else {
        event.change("previous_until", key.previous_until.map(|until| until.to_rfc3339()), ())
    }
}

/// To the member whose key it is, else to who made it.
async fn mail(iam: &Iam, tx: &mut TenantTx, key: &ApiKey, origin: &Origin) -> Result<(), DbError> {
    let tenant = iam.db.resolve(&TenantSelector::Id(tx.tenant())).await?;
    let mail = SendMail {
        to: key.owner.member().unwrap_or(key.created_by),
        template: Template::ApiKeyLeaked {
            tenant: tenant.name,
            key: key.name.clone(),
            hint: key.hint.clone(),
        },
    };
    bulkhead_jobs::enqueue(origin, tx, &mail).await?;
    Ok(())
}
