//! Names and documents in rows of `control.tenants`, and the platform's schemas for them.

use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::{ControlTx, DbError, Slug};
use serde_json::Value;

use super::{Document, Profile, Schemas};
use crate::{Suspension, Tenant, TenantError, TenantStatus};

/// The tenant in full, whoever asks.
pub(crate) async fn get(tx: &mut ControlTx, tenant: TenantId) -> Result<Profile, TenantError> {
    let row = sqlx::query!(
        r#"
        SELECT id, name, slug, status, suspension, purge_at, settings, custom_fields, created_at
        FROM control.tenants
        WHERE id = $1
        "#,
        tenant.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    let row = row.ok_or(TenantError::NotFound)?;
    Ok(Profile {
        tenant: Tenant {
            id: row.id.into(),
            name: row.name,
            slug: row.slug,
            status: TenantStatus::parse(&row.status),
            created_at: row.created_at,
        },
        suspension: row.suspension.as_deref().and_then(Suspension::parse),
        purge_at: row.purge_at,
        settings: document(row.settings),
        custom_fields: document(row.custom_fields),
    })
}

/// Writes what may be changed. The epoch rises, so that routers which know the old slug look again.
pub(crate) async fn set(tx: &mut ControlTx, profile: &Profile, slug: &Slug) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.tenants
        SET name          = $2,
            slug          = $3,
            settings      = $4,
            custom_fields = $5,
            epoch         = epoch + (name <> $2 OR slug <> $3)::int,
            updated_at    = now()
        WHERE id = $1
        "#,
        profile.tenant.id.uuid(),
        profile.tenant.name,
        slug.as_str(),
        Value::Object(profile.settings.clone()),
        Value::Object(profile.custom_fields.clone()),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The platform's schemas; none allow anything.
pub(crate) async fn find_schemas(tx: &mut ControlTx) -> Result<Option<Schemas>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT settings, custom_fields
        FROM control.tenant_schema
        "#,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Schemas {
        settings: document(row.settings),
        custom_fields: document(row.custom_fields),
    }))
}

pub(crate) async fn set_schemas(tx: &mut ControlTx, schemas: &Schemas) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.tenant_schema (settings, custom_fields)
        VALUES ($1, $2)
        ON CONFLICT (is_only) DO UPDATE SET settings      = EXCLUDED.settings,
                                            custom_fields = EXCLUDED.custom_fields,
                                            updated_at    = now()
        "#,
        Value::Object(schemas.settings.clone()),
        Value::Object(schemas.custom_fields.clone()),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// A constraint keeps these columns to objects.
fn document(value: Value) -> Document {
    match value {
        Value::Object(object) => object,
        _ => Document::new(),
    }
}
