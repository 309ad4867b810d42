//! Rows of `resources`.

use std::collections::HashSet;

use bulkhead_kernel::ids::ResourceId;
use bulkhead_tenancy::{DbError, TenantTx};
use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::{Resource, ResourceQuery};

struct Row {
    id: Uuid,
    kind: String,
    name: String,
    attributes: Value,
    version: i64,
    created_by: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Row> for Resource {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            kind: row.kind,
            name: row.name,
            // resources_attributes_check: always an object.
            attributes: row.attributes.as_object().cloned().unwrap_or_default(),
            version: row.version,
            created_by: row.created_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

pub(crate) async fn insert(tx: &mut TenantTx, resource: &Resource) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO resources (id, type, name, attributes, version, created_by, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        "#,
        resource.id.uuid(),
        resource.kind,
        resource.name,
        Value::Object(resource.attributes.clone()),
        resource.version,
        resource.created_by,
        resource.created_at,
        resource.updated_at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Makes those whose name is free, one of the same batch that came first included, and gives their ids.
pub(crate) async fn insert_many(tx: &mut TenantTx, resources: &[&Resource]) -> Result<HashSet<ResourceId>, DbError> {
    let ids: Vec<Uuid> = resources.iter().map(|resource| resource.id.uuid()).collect();
    let kinds: Vec<String> = resources.iter().map(|resource| resource.kind.clone()).collect();
    let names: Vec<String> = resources.iter().map(|resource| resource.name.clone()).collect();
    let attributes = resources.iter().map(|one| Value::Object(one.attributes.clone()));
    let attributes: Vec<Value> = attributes.collect();
    let by: Vec<String> = resources.iter().map(|resource| resource.created_by.clone()).collect();
    let at: Vec<DateTime<Utc>> = resources.iter().map(|resource| resource.created_at).collect();
    let made = sqlx::query_scalar!(
        r#"
        INSERT INTO resources (id, type, name, attributes, created_by, created_at, updated_at)
        SELECT n.id, n.type, n.name, n.attributes, n.created_by, n.created_at, n.created_at
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[], $5::text[], $6::timestamptz[])
            WITH ORDINALITY AS n (id, type, name, attributes, created_by, created_at, position)
        ORDER BY n.position
        ON CONFLICT (type, lower(name)) DO NOTHING
        RETURNING id
        "#,
        &ids,
        &kinds,
        &names,
        &attributes,
        &by,
        &at,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(made.into_iter().map(ResourceId::from).collect())
}

pub(crate) async fn find(tx: &mut TenantTx, id: ResourceId) -> Result<Option<Resource>, DbError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, type AS kind, name, attributes, version, created_by, created_at, updated_at
        FROM resources
        WHERE id = $1
        "#,
        id.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(Resource::from))
}

/// Kept from changing until the transaction ends.
pub(crate) async fn lock(tx: &mut TenantTx, id: ResourceId) -> Result<Option<Resource>, DbError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, type AS kind, name, attributes, version, created_by, created_at, updated_at
        FROM resources
        WHERE id = $1
            FOR UPDATE
        "#,
        id.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(Resource::from))
}

/// A page and how many there are in all.
pub(crate) async fn list(tx: &mut TenantTx, query: &ResourceQuery) -> Result<(Vec<Resource>, i64), DbError> {
    let total = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "total!"
        FROM resources
        WHERE ($1::text IS NULL OR type = $1)
          AND ($2::text IS NULL OR position(lower($2) IN lower(name)) > 0)
        "#,
        query.kind,
        query.search,
    )
    .fetch_one(tx.conn())
    .await?;
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, type AS kind, name, attributes, version, created_by, created_at, updated_at
        FROM resources
        WHERE ($1::text IS NULL OR type = $1)
          AND ($2::text IS NULL OR position(lower($2) IN lower(name)) > 0)
        ORDER BY CASE $3::text WHEN 'name' THEN lower(name) END,
                 CASE $3 WHEN '-name' THEN lower(name) END DESC,
                 CASE $3 WHEN 'created_at' THEN created_at WHEN 'updated_at' THEN updated_at END,
                 CASE $3 WHEN '-created_at' THEN created_at WHEN '-updated_at' THEN updated_at END DESC,
                 CASE WHEN starts_with($3, '-') THEN id END DESC,
                 id
        LIMIT $4 OFFSET $5
        "#,
        query.kind,
        query.search,
        query.sort.word(),
        i64::from(query.page.limit()),
        query.page.offset(),
    )
    .fetch_all(tx.conn())
    .await?;
    Ok((rows.into_iter().map(Resource::from).collect(), total))
}

/// Writes what may be changed.
pub(crate) async fn set(tx: &mut TenantTx, resource: &Resource) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE resources
        SET name = $2, attributes = $3, version = $4, updated_at = $5
        WHERE id = $1
        "#,
        resource.id.uuid(),
        resource.name,
        Value::Object(resource.attributes.clone()),
        resource.version,
        resource.updated_at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(crate) async fn delete(tx: &mut TenantTx, id: ResourceId) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        DELETE
        FROM resources
        WHERE id = $1
        "#,
        id.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
