//! What can be done with names, settings and custom fields.

use bulkhead_audit::{Actor, Event};
use bulkhead_iam::{Iam, Person, ScopeError, audit_log::check_retention, members, permissions::Permission};
use bulkhead_kernel::{fault::Violation, ids::TenantId, origin::Origin, telemetry::fields};
use bulkhead_tenancy::{Db, DbError, Slug};
use serde_json::Value;

use super::{
    Changes, Profile, Schema, Schemas,
    model::{check_bounds, merge},
    store,
};
use crate::{State, Suspension, TenantError, lifecycle, placement};

/// The tenant in full; whether the caller may know of it is the caller's to find out.
pub async fn get(db: &Db, tenant: TenantId) -> Result<Profile, TenantError> {
    let mut tx = db.control().await?;
    let profile = store::get(&mut tx, tenant).await?;
    tx.commit().await?;
    Ok(profile)
}

/// Changes the tenant for a member with the permission; with `seen` only if it still has one of these versions. A document that is changed has to fit the platform's schema as a
/// whole afterwards, also where it did not before.
pub async fn update(
    origin: &Origin,
    iam: &Iam,
    caller: &Person,
    tenant: TenantId,
    seen: Option<&[i64]>,
    changes: &Changes,
) -> Result<Profile, TenantError> {
    let authority = members::service::authority_now(iam, tenant, caller.identity, caller.session).await;
    if !authority
        .map_err(TenantError::Member)?
        .permissions
        .contains(Permission::TenantUpdate)
    {
        return Err(TenantError::Forbidden(ScopeError::Lacks(Permission::TenantUpdate)));
    }
    let mut tx = iam.db.control().await?;
    match lifecycle::store::lock(&mut tx, tenant)
        .await?
        .ok_or(TenantError::NotFound)?
    {
        State::Active => {}
        State::Suspended(Suspension::ReadOnly) => return Err(DbError::TenantReadOnly.into()),
        _ => return Err(DbError::TenantNotActive.into()),
    }
    let before = store::get(&mut tx, tenant).await?;
    if seen.is_some_and(|versions| !versions.contains(&before.version())) {
        return Err(TenantError::Changed);
    }
    let mut profile = before.clone();
    let slug = apply(&mut profile, changes)?;
    check(&profile, changes, store::find_schemas(&mut tx).await?.as_ref())?;
    store::set(&mut tx, &profile, &slug).await?;
    // As the database writes it: 1e2 is 100 there.
    let profile = store::get(&mut tx, tenant).await?;
    let event = Event::now("tenant.update", Actor::member(caller.identity), origin)
        .on("tenant", tenant)
        .change("name", before.tenant.name.as_str(), profile.tenant.name.as_str())
        .change("slug", before.tenant.slug.as_str(), profile.tenant.slug.as_str())
        .change_members("settings", &before.settings, &profile.settings)
        .change_members("custom_fields", &before.custom_fields, &profile.custom_fields);
    bulkhead_audit::record_for(&mut tx, tenant, event).await?;
    tx.commit().await?;
    placement::service::follow_soon(&iam.db, tenant).await;
    tracing::info!(
        { fields::TENANT_ID } = %tenant,
        { fields::PRINCIPAL_ID } = origin.principal,
        { fields::REQUEST_ID } = origin.request_id,
        is_renamed = before.tenant.name != profile.tenant.name,
        slug = profile.tenant.slug,
        former_slug = before.tenant.slug,
        "tenant.updated",
    );
    Ok(profile)
}

fn apply(profile: &mut Profile, changes: &Changes) -> Result<Slug, TenantError> {
    if let Some(name) = &changes.name {
        name.as_str().clone_into(&mut profile.tenant.name);
    }
    if let Some(slug) = &changes.slug {
        profile.tenant.slug = slug.to_string();
    }
    for (document, patch) in [
        (&mut profile.settings, &changes.settings),
        (&mut profile.custom_fields, &changes.custom_fields),
    ] {
        if let Some(patch) = patch {
            merge(document, patch);
        }
    }
    profile.tenant.slug.parse().map_err(|_| TenantError::SlugNeeded)
}

/// A rename is not refused for a document that a newer schema would not take.
fn check(profile: &Profile, changes: &Changes, schemas: Option<&Schemas>) -> Result<(), TenantError> {
    let documents = [
        ("/settings", &profile.settings),
        ("/custom_fields", &profile.custom_fields),
    ];
    let mut violations = check_bounds(documents);
    if changes.settings.is_some() {
        violations.extend(check_retention(&profile.settings));
    }
    if let Some(schemas) = schemas {
        let schemas = [&schemas.settings, &schemas.custom_fields];
        let are_changed = [changes.settings.is_some(), changes.custom_fields.is_some()];
        for (((pointer, document), schema), is_changed) in documents.into_iter().zip(schemas).zip(are_changed) {
            if is_changed {
                let schema = Schema::read(schema, pointer, &mut Vec::new());
                schema.check(&Value::Object(document.clone()), pointer, &mut violations);
            }
        }
    }
    if violations.is_empty() {
        Ok(())
    } else {
        Err(TenantError::Invalid(violations))
    }
}

/// The platform's schemas; empty ones allow everything.
pub async fn schemas(db: &Db) -> Result<Schemas, TenantError> {
    let mut tx = db.control().await?;
    let found = store::find_schemas(&mut tx).await?;
    tx.commit().await?;
    Ok(found.unwrap_or_else(|| Schemas {
        settings: super::Document::new(),
        custom_fields: super::Document::new(),
    }))
}

/// Replaces the platform's schemas. What tenants have is checked when they next change it. For operators.
pub async fn set_schemas(origin: &Origin, db: &Db, schemas: &Schemas) -> Result<(), TenantError> {
    schemas.check().map_err(TenantError::Invalid)?;
    let bounds = check_bounds([
        ("/settings", &schemas.settings),
        ("/custom_fields", &schemas.custom_fields),
    ]);
    if !bounds.is_empty() {
        return Err(TenantError::Invalid(bounds));
    }
    let mut tx = db.control().await?;
    let before = store::find_schemas(&mut tx).await?;
    store::set_schemas(&mut tx, schemas).await?;
    let told = |schemas: &Schemas| [&schemas.settings, &schemas.custom_fields].map(|part| Value::Object(part.clone()));
    let [settings, fields] = before.as_ref().map_or([Value::Null, Value::Null], told);
    let [new_settings, new_fields] = told(schemas);
    let event = Event::now("tenant_schema.replace", Actor::operator(origin), origin)
        .change("settings", settings, new_settings)
        .change("custom_fields", fields, new_fields);
    bulkhead_audit::record_of_platform(&mut tx, event).await?;
    tx.commit().await?;
    tracing::info!(
        { fields::PRINCIPAL_ID } = origin.principal,
        { fields::REQUEST_ID } = origin.request_id,
        "tenant_schema.replaced",
    );
    Ok(())
}

/// What the database refused, for the person who asked.
pub(crate) fn too_large() -> Vec<Violation> {
    vec![super::model::too_large()]
}
