//! Templates in the database.

use std::collections::BTreeMap;

use bulkhead_kernel::ids::TemplateId;
use bulkhead_tenancy::{ControlTx, DbError, TenantTx};
use serde_json::{Value, json};

use super::{NewTemplate, Template};
use crate::vms::Size;

/// All templates that new VMs may be made from, by name and version.
pub(crate) async fn list(tx: &mut TenantTx) -> Result<Vec<Template>, DbError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id            AS "id!",
               name          AS "name!",
               version       AS "version!",
               os            AS "os!",
               description   AS "description!",
               min_cpu       AS "min_cpu!",
               min_memory_gb AS "min_memory_gb!",
               min_disk_gb   AS "min_disk_gb!",
               artefacts     AS "artefacts!",
               is_deprecated AS "is_deprecated!"
        FROM control.list_vm_templates()
        WHERE NOT is_deprecated
        ORDER BY name, version
        "#,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(Template::from).collect())
}

/// A template, deprecated or not: machines that have it keep it.
pub(crate) async fn find(tx: &mut TenantTx, id: TemplateId) -> Result<Option<Template>, DbError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id            AS "id!",
               name          AS "name!",
               version       AS "version!",
               os            AS "os!",
               description   AS "description!",
               min_cpu       AS "min_cpu!",
               min_memory_gb AS "min_memory_gb!",
               min_disk_gb   AS "min_disk_gb!",
               artefacts     AS "artefacts!",
               is_deprecated AS "is_deprecated!"
        FROM control.list_vm_templates()
        WHERE id = $1
        "#,
        id.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(Template::from))
}

/// Publishes unless this name and version already is.
pub(crate) async fn insert(tx: &mut ControlTx, new: &NewTemplate) -> Result<bool, DbError> {
    let done = sqlx::query!(
        r#"
        INSERT INTO control.vm_templates (id, name, version, os, description, min_cpu, min_memory_gb, min_disk_gb,
                                          artefacts)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (name, version) DO NOTHING
        "#,
        TemplateId::new().uuid(),
        new.name,
        new.version,
        new.os,
        new.description,
        new.minimum.cpu,
        new.minimum.memory_gb,
        new.minimum.disk_gb,
        json!(new.artefacts),
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// All templates as the table has them.
pub(crate) async fn list_rows(tx: &mut ControlTx) -> Result<Value, DbError> {
    let rows = sqlx::query_scalar!(
        r#"
        SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]') AS "rows!"
        FROM control.vm_templates AS t
        "#,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(rows)
}

/// Takes over rows of another cluster; what is there keeps all but its deprecation.
pub(crate) async fn put_rows(tx: &mut ControlTx, rows: &Value) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.vm_templates AS t (id, name, version, os, description, min_cpu, min_memory_gb, min_disk_gb,
                                               artefacts, deprecated_at, created_at)
        SELECT r.id, r.name, r.version, r.os, r.description, r.min_cpu, r.min_memory_gb, r.min_disk_gb, r.artefacts,
               r.deprecated_at, r.created_at
        FROM jsonb_populate_recordset(NULL::control.vm_templates, $1) AS r
        ON CONFLICT (id) DO UPDATE SET deprecated_at = EXCLUDED.deprecated_at
        WHERE t.deprecated_at IS DISTINCT FROM EXCLUDED.deprecated_at
        "#,
        rows,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

struct Row {
    id: uuid::Uuid,
    name: String,
    version: i32,
    os: String,
    description: String,
    min_cpu: i32,
    min_memory_gb: i32,
    min_disk_gb: i32,
    artefacts: Value,
    is_deprecated: bool,
}

impl From<Row> for Template {
    fn from(row: Row) -> Self {
        let artefacts = row.artefacts.as_object().into_iter().flatten();
        let artefacts: BTreeMap<_, _> = artefacts
            .filter_map(|(driver, artefact)| Some((driver.clone(), artefact.as_str()?.to_owned())))
            .collect();
        Self {
            id: row.id.into(),
            name: row.name,
            version: row.version,
            os: row.os,
            description: row.description,
            minimum: Size {
                cpu: row.min_cpu,
                memory_gb: row.min_memory_gb,
                disk_gb: row.min_disk_gb,
            },
            artefacts,
            is_deprecated: row.is_deprecated,
        }
    }
}
