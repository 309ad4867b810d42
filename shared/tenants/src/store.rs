//! Rows of `control.tenants` and `control.onboarding_steps`.

use bulkhead_kernel::{
    idempotency::IdempotencyKey,
    ids::{IdentityId, TenantId},
};
use bulkhead_tenancy::{ControlTx, DbError, OwnerTx, Slug};

use crate::{Created, Membership, NewTenant, StepState, StepStatus, Tenant, TenantStatus};

pub(crate) async fn insert(
    tx: &mut ControlTx,
    created: &Created,
    new: &NewTenant,
    founder: IdentityId,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.tenants (id, slug, name, created_by, job_id, request_key, request_hash)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        "#,
        created.id.uuid(),
        created.slug.as_str(),
        new.name.as_str(),
        founder.uuid(),
        created.job.uuid(),
        new.key.as_ref().map(IdempotencyKey::as_str),
        new.key.is_some().then(|| new.hash()),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What this key led to before, and the hash of the request it came with.
pub(crate) async fn find_by_key(
    tx: &mut ControlTx,
    founder: IdentityId,
    key: &IdempotencyKey,
) -> Result<Option<(Created, Vec<u8>)>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT id, slug, job_id AS "job_id!", request_hash AS "request_hash!"
        FROM control.tenants
        WHERE created_by = $1
          AND request_key = $2
        "#,
        founder.uuid(),
        key.as_str(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.and_then(|row| {
        let created = Created {
            id: row.id.into(),
            slug: row.slug.parse().ok()?,
            job: row.job_id.into(),
        };
        Some((created, row.request_hash))
    }))
}

/// Whether a slug is taken already; only a hint, the constraint decides.
pub(crate) async fn is_slug_taken(tx: &mut ControlTx, slug: &Slug) -> Result<bool, DbError> {
    let taken = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (SELECT FROM control.tenants WHERE slug = $1) AS "taken!"
        "#,
        slug.as_str(),
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(taken)
}

pub(crate) async fn insert_steps(tx: &mut ControlTx, tenant: TenantId, names: &[String]) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.onboarding_steps (tenant_id, position, name)
        SELECT $1, step.position, step.name
        FROM unnest($2::text[]) WITH ORDINALITY AS step (name, position)
        "#,
        tenant.uuid(),
        names,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The tenants somebody is an active member of, by name; only this one where one is named.
pub(crate) async fn list_for(
    tx: &mut ControlTx,
    identity: IdentityId,
    only: Option<TenantId>,
) -> Result<Vec<Membership>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT t.id, t.name, t.slug, t.status, t.created_at, m.role
        FROM control.memberships AS m
                 JOIN control.tenants AS t ON t.id = m.tenant_id
        WHERE m.identity_id = $1
          AND ($2::uuid IS NULL OR m.tenant_id = $2)
          AND m.status = 'active'
        ORDER BY lower(t.name), t.id
        "#,
        identity.uuid(),
        only.map(TenantId::uuid),
    )
    .fetch_all(tx.conn())
    .await?;
    let memberships = rows.into_iter().map(|row| Membership {
        tenant: Tenant {
            id: row.id.into(),
            name: row.name,
            slug: row.slug,
            status: TenantStatus::parse(&row.status),
            created_at: row.created_at,
        },
        role: row.role,
    });
    Ok(memberships.collect())
}

pub(crate) async fn list_steps(tx: &mut ControlTx, tenant: TenantId) -> Result<Vec<StepStatus>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT name, state, attempts, started_at, finished_at
        FROM control.onboarding_steps
        WHERE tenant_id = $1
        ORDER BY position
        "#,
        tenant.uuid(),
    )
    .fetch_all(tx.conn())
    .await?;
    let steps = rows.into_iter().map(|row| StepStatus {
        name: row.name,
        state: StepState::parse(&row.state),
        failures: row.attempts,
        started_at: row.started_at,
        finished_at: row.finished_at,
    });
    Ok(steps.collect())
}

/// Keeps the step to this transaction and tells where it stands.
pub(crate) async fn lock_step(tx: &mut OwnerTx, tenant: TenantId, name: &str) -> Result<StepState, DbError> {
    let state = sqlx::query_scalar!(
        r#"
        SELECT state
        FROM control.onboarding_steps
        WHERE tenant_id = $1
          AND name = $2
            FOR UPDATE
        "#,
        tenant.uuid(),
        name,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(StepState::parse(&state))
}

/// Marks the step done and the one behind it as under way.
pub(crate) async fn finish_step(tx: &mut OwnerTx, tenant: TenantId, name: &str) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        WITH done AS (
            UPDATE control.onboarding_steps
            SET state = 'done', started_at = coalesce(started_at, now()), finished_at = clock_timestamp(), last_error = NULL
            WHERE tenant_id = $1
              AND name = $2
            RETURNING position
        )
        UPDATE control.onboarding_steps AS next
        SET state = 'running', started_at = clock_timestamp()
        FROM done
        WHERE next.tenant_id = $1
          AND next.position = done.position + 1
        "#,
        tenant.uuid(),
        name,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(crate) async fn set_step_failed(
    tx: &mut ControlTx,
    tenant: TenantId,
    name: &str,
    error: &str,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.onboarding_steps
        SET state = 'failed', attempts = attempts + 1, last_error = $3
        WHERE tenant_id = $1
          AND name = $2
          AND state <> 'done'
        "#,
        tenant.uuid(),
        name,
        error,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Opens the tenant. The epoch rises, so that routers which looked at the pending tenant look again.
pub(crate) async fn set_active(tx: &mut OwnerTx, tenant: TenantId) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.tenants
        SET status = 'active', epoch = epoch + 1, activated_at = now(), updated_at = now()
        WHERE id = $1
          AND status = 'pending'
        "#,
        tenant.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What the steps need to know of the tenant.
pub(crate) async fn get_slug_and_name(tx: &mut OwnerTx, tenant: TenantId) -> Result<(String, String), DbError> {
    let row = sqlx::query!(
        r#"
        SELECT slug, name
        FROM control.tenants
        WHERE id = $1
        "#,
        tenant.uuid(),
    )
    .fetch_one(tx.conn())
    .await?;
    Ok((row.slug, row.name))
}
