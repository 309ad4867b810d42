//! Rows of `control.exports` and `control.imports`, and the rows of shared tables that go into an archive.

use bulkhead_kernel::{
    fault::Code,
    ids::{ExportId, IdentityId, ImportId, JobId, TenantId},
};
use bulkhead_tenancy::{ControlTx, DbError, OwnerTx};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream::BoxStream};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Export, Import, MemberPolicy, State, manifest::TenantPart};

/// The tables of `control` whose rows about a tenant are in its archive.
pub const EXPORTED: &[&str] = &["memberships"];

/// The tables of `control` with rows about a tenant that are not, and why.
pub const NOT_EXPORTED: &[(&str, &str)] = &[
    (
        "audit_heads",
        "the chain is in the tenant's own rows; the new tenant's head is read from them",
    ),
    ("audit_outbox", "events on their way into a log of this installation"),
    ("doctor_tenants", "marks the throw-away tenants of an examination"),
    ("exports", "how archives were made says nothing about the tenant"),
    ("imports", "how tenants were made says nothing about the tenant"),
    ("job_events", "what became of that work"),
    ("job_files", "what that work came to"),
    ("jobs", "work of this installation, which does it"),
    (
        "membership_outbox",
        "words on their way into an index of this installation",
    ),
    (
        "membership_words",
        "what the index of this installation was told of last",
    ),
    ("migration_tenants", "how this installation migrated the tenant"),
    ("move_changes", "what a move still has to carry over"),
    ("moves", "how this installation moved the tenant"),
    (
        "onboarding_steps",
        "how this tenant was built; the new one has steps of its own",
    ),
    ("placements", "which of this installation's databases the tenant is in"),
    ("purge_receipts", "proof of a tenant that is gone"),
    ("purge_steps", "how far this installation is with removing the tenant"),
    (
        "refresh_tokens",
        "secrets of sessions, which end with the installation they were opened at",
    ),
    (
        "support_access",
        "ways in of those who run this installation; the tenant's own log tells of them",
    ),
    (
        "vm_work",
        "links to machines that exist once and stay with the original",
    ),
];

/// A line of `control/memberships.jsonl`: a member and what is needed to find that person elsewhere.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MembershipLine {
    pub(super) identity_id: IdentityId,
    pub(super) email: String,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) role: String,
    pub(super) status: String,
}

pub(super) fn memberships(tx: &mut ControlTx, tenant: TenantId) -> BoxStream<'_, Result<MembershipLine, sqlx::Error>> {
    let rows = sqlx::query!(
        r#"
        SELECT m.identity_id, i.email, i.first_name, i.last_name, m.role, m.status
        FROM control.memberships AS m
                 JOIN control.identities AS i ON i.id = m.identity_id
        WHERE m.tenant_id = $1
        ORDER BY m.identity_id
        "#,
        tenant.uuid(),
    )
    .fetch(tx.conn());
    rows.map(|row| {
        row.map(|row| MembershipLine {
            identity_id: row.identity_id.into(),
            email: row.email,
            first_name: row.first_name,
            last_name: row.last_name,
            role: row.role,
            status: row.status,
        })
    })
    .boxed()
}

/// The tenant as the manifest tells of it, and the version of its schema.
pub(super) async fn get_tenant(tx: &mut ControlTx, tenant: TenantId) -> Result<(TenantPart, i64), DbError> {
    let row = sqlx::query!(
        r#"
        SELECT id, name, slug, created_at, coalesce(schema_version, 0) AS "schema_version!"
        FROM control.tenants
        WHERE id = $1
        "#,
        tenant.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    let row = row.ok_or(DbError::TenantNotFound)?;
    let part = TenantPart {
        id: row.id.into(),
        name: row.name,
        slug: row.slug,
        created_at: row.created_at,
    };
    Ok((part, row.schema_version))
}

/// Whether the tenant has a schema; `None` when there is no such tenant.
pub(super) async fn find_is_built(tx: &mut ControlTx, tenant: TenantId) -> Result<Option<bool>, DbError> {
    let built = sqlx::query_scalar!(
        r#"
        SELECT status <> 'pending' AS "built!"
        FROM control.tenants
        WHERE id = $1
        "#,
        tenant.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(built)
}

pub(super) async fn insert_export(
    tx: &mut ControlTx,
    id: ExportId,
    tenant: TenantId,
    job: JobId,
    by: IdentityId,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.exports (id, tenant_id, job_id, requested_by)
        VALUES ($1, $2, $3, $4)
        "#,
        id.uuid(),
        tenant.uuid(),
        job.uuid(),
        by.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The export; of this tenant alone where one is named.
pub(super) async fn find_export(
    tx: &mut ControlTx,
    id: ExportId,
    tenant: Option<TenantId>,
) -> Result<Option<Export>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT id, tenant_id, state, tables_done, tables_total, n_rows, n_bytes, sha256, error, created_at, finished_at,
               expires_at
        FROM control.exports
        WHERE id = $1
          AND ($2::uuid IS NULL OR tenant_id = $2)
        "#,
        id.uuid(),
        tenant.map(TenantId::uuid),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Export {
        id: row.id.into(),
        tenant: row.tenant_id.into(),
        state: State::parse(&row.state),
        tables_done: row.tables_done,
        tables_total: row.tables_total,
        n_rows: row.n_rows,
        n_bytes: row.n_bytes,
        sha256: row.sha256,
        error: row.error,
        created_at: row.created_at,
        finished_at: row.finished_at,
        expires_at: row.expires_at,
    }))
}

/// How far an export is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    pub(super) tables_done: usize,
    pub(super) tables_total: usize,
    pub(super) n_rows: u64,
    pub(super) n_bytes: u64,
}

/// `false` when the export is not waited for any more.
pub(super) async fn set_progress(tx: &mut ControlTx, id: ExportId, progress: Progress) -> Result<bool, DbError> {
    let done = sqlx::query!(
        r#"
        UPDATE control.exports
        SET state = 'running', tables_done = $2, tables_total = $3, n_rows = $4, n_bytes = $5
        WHERE id = $1
          AND state IN ('waiting', 'running')
        "#,
        id.uuid(),
        i32::try_from(progress.tables_done).unwrap_or(i32::MAX),
        i32::try_from(progress.tables_total).unwrap_or(i32::MAX),
        i64::try_from(progress.n_rows).unwrap_or(i64::MAX),
        i64::try_from(progress.n_bytes).unwrap_or(i64::MAX),
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn set_ready(
    tx: &mut ControlTx,
    id: ExportId,
    sha256: &[u8],
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.exports
        SET state = 'ready', sha256 = $2, finished_at = $3, expires_at = $4
        WHERE id = $1
          AND state = 'running'
        "#,
        id.uuid(),
        sha256,
        now,
        expires_at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Exports that no job will finish are failed; their tenants may be exported anew.
pub(super) async fn fail_abandoned_exports(
    tx: &mut ControlTx,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.exports AS e
        SET state = 'failed', error = 'It was given up; ask for a new one.', finished_at = $1, expires_at = $2
        WHERE e.state IN ('waiting', 'running')
          AND NOT EXISTS (SELECT FROM control.jobs AS j WHERE j.id = e.job_id AND j.state IN ('queued', 'running'))
        "#,
        now,
        expires_at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Forgets what has expired.
pub(super) async fn delete_expired_exports(tx: &mut ControlTx, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        DELETE
        FROM control.exports
        WHERE expires_at <= $1
        "#,
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Those of these ids whose file somebody still needs.
pub(super) async fn list_needed(tx: &mut ControlTx, ids: &[Uuid]) -> Result<Vec<Uuid>, DbError> {
    let needed = sqlx::query_scalar!(
        r#"
        SELECT id AS "id!" FROM control.exports WHERE id = ANY ($1) AND state <> 'failed'
        UNION ALL
        SELECT id FROM control.imports WHERE id = ANY ($1) AND state = 'running'
        "#,
        ids,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(needed)
}

/// Everything about a tenant that is to be made, and the import that makes it.
pub(super) struct NewImport<'a> {
    pub(super) id: ImportId,
    pub(super) tenant: TenantId,
    pub(super) name: &'a str,
    pub(super) slug: &'a str,
    pub(super) job: JobId,
    pub(super) by: IdentityId,
    pub(super) members: MemberPolicy,
    pub(super) key: Option<&'a str>,
    pub(super) hash: &'a [u8],
}

pub(super) async fn insert_import(tx: &mut ControlTx, new: &NewImport<'_>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.tenants (id, slug, name, created_by, job_id, request_key, request_hash)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        "#,
        new.tenant.uuid(),
        new.slug,
        new.name,
        new.by.uuid(),
        new.job.uuid(),
        new.key,
        new.key.is_some().then_some(new.hash),
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        r#"
        INSERT INTO control.imports (id, tenant_id, job_id, requested_by, members)
        VALUES ($1, $2, $3, $4, $5)
        "#,
        new.id.uuid(),
        new.tenant.uuid(),
        new.job.uuid(),
        new.by.uuid(),
        new.members.as_str(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn find_import(tx: &mut ControlTx, id: ImportId) -> Result<Option<Import>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT id, tenant_id, state, error_code, error, created_at, finished_at
        FROM control.imports
        WHERE id = $1
        "#,
        id.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Import {
        id: row.id.into(),
        tenant: row.tenant_id.map(Into::into),
        state: State::parse(&row.state),
        error_code: row.error_code,
        error: row.error,
        created_at: row.created_at,
        finished_at: row.finished_at,
    }))
}

/// The import that made or makes the tenant.
pub(super) async fn find_import_of(tx: &mut ControlTx, tenant: TenantId) -> Result<Option<ImportId>, DbError> {
    let id = sqlx::query_scalar!(
        r#"
        SELECT id
        FROM control.imports
        WHERE tenant_id = $1
        "#,
        tenant.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(id.map(Into::into))
}

/// What becomes of the members, and who asked.
pub(super) async fn get_policy(tx: &mut OwnerTx, id: ImportId) -> Result<(MemberPolicy, IdentityId), DbError> {
    let row = sqlx::query!(
        r#"
        SELECT members, requested_by
        FROM control.imports
        WHERE id = $1
        "#,
        id.uuid(),
    )
    .fetch_one(tx.conn())
    .await?;
    let policy = MemberPolicy::parse(&row.members).unwrap_or_default();
    Ok((policy, row.requested_by.into()))
}

pub(super) async fn set_done(tx: &mut OwnerTx, id: ImportId, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.imports
        SET state = 'done', finished_at = $2
        WHERE id = $1
        "#,
        id.uuid(),
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Locks the import while it can still fail, and gives its tenant.
pub(super) async fn lock_running(tx: &mut OwnerTx, id: ImportId) -> Result<Option<TenantId>, DbError> {
    let tenant = sqlx::query_scalar!(
        r#"
        SELECT tenant_id
        FROM control.imports
        WHERE id = $1
          AND state = 'running'
            FOR UPDATE
        "#,
        id.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(tenant.flatten().map(Into::into))
}

/// Ends the import without its tenant, which frees the slug.
pub(super) async fn set_failed(
    tx: &mut OwnerTx,
    id: ImportId,
    tenant: TenantId,
    code: Code,
    error: &str,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.imports
        SET state = 'failed', error_code = $2, error = $3, finished_at = $4
        WHERE id = $1
        "#,
        id.uuid(),
        code.as_str(),
        error,
        now,
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        r#"
        DELETE
        FROM control.tenants
        WHERE id = $1
          AND status = 'pending'
        "#,
        tenant.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Imports that no job will finish.
pub(super) async fn list_abandoned_imports(tx: &mut ControlTx) -> Result<Vec<ImportId>, DbError> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT i.id
        FROM control.imports AS i
        WHERE i.state = 'running'
          AND NOT EXISTS (SELECT FROM control.jobs AS j WHERE j.id = i.job_id AND j.state IN ('queued', 'running'))
        LIMIT 100
        "#,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(ids.into_iter().map(Into::into).collect())
}
