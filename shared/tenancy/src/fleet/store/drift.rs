//! What the server's catalog says of tenants' schemas.

use std::collections::BTreeMap;

use bulkhead_kernel::ids::TenantId;
use sqlx::PgConnection;

use crate::DbError;

/// A tenant that has a schema, or should have.
pub(in crate::fleet) struct Built {
    pub(in crate::fleet) id: TenantId,
    pub(in crate::fleet) slug: String,
    pub(in crate::fleet) version: i64,
}

/// A half that a move has to itself is built without foreign keys, and checked by the move.
pub(in crate::fleet) async fn list_built(conn: &mut PgConnection) -> Result<Vec<Built>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT id, slug, schema_version AS "version!"
        FROM control.tenants
        WHERE schema_version IS NOT NULL
          AND status <> 'deleting'
          AND frozen_by IS NULL
        ORDER BY id
        "#
    )
    .fetch_all(conn)
    .await?;
    let built = rows.into_iter().map(|row| Built {
        id: row.id.into(),
        slug: row.slug,
        version: row.version,
    });
    Ok(built.collect())
}

/// One hash for each schema that exists.
pub(in crate::fleet) async fn list_hashes(
    conn: &mut PgConnection,
    schemas: &[String],
) -> Result<BTreeMap<String, String>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT schema_name AS "schema!", md5(string_agg(line, chr(10) ORDER BY line COLLATE "C")) AS "hash!"
        FROM control.describe_schemas($1)
        GROUP BY schema_name
        "#,
        schemas,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.schema, row.hash)).collect())
}

pub(in crate::fleet) async fn list_lines(conn: &mut PgConnection, schema: &str) -> Result<Vec<String>, DbError> {
    let lines = sqlx::query_scalar!(
        r#"
        SELECT line AS "line!"
        FROM control.describe_schemas(ARRAY [$1::text])
        "#,
        schema,
    )
    .fetch_all(conn)
    .await?;
    Ok(lines)
}
