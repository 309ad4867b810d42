//! What a tenant holds, and taking it away piece by piece. Both follow the catalog, so that no table is forgotten.
//!
//! Every statement here takes a bounded number of locks: dropping a schema at once would take one for each table, index
//! and constraint in it, and the server's lock table is shared by everybody.

use bulkhead_kernel::ids::TenantId;
use sqlx::{AssertSqlSafe, Executor, Row};

use crate::{ControlTx, DbError, OwnerTx, SchemaName, TenantTx};

/// Tables dropped in one transaction. One of ours takes up to about forty locks with its indexes and constraints; a
/// server with the smallest lock table there is has room for a few hundred.
const TABLES_PER_DROP: i64 = 4;

/// The most rows counted of a table when somebody only asks.
const COUNTED_ROWS: i64 = 1_000_000;

/// A table and how many rows of it are the tenant's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRows {
    /// The table's name without its schema.
    pub table: String,
    /// Its rows.
    pub rows: i64,
}

impl TableRows {
    fn new((table, rows): (String, i64)) -> Self {
        Self { table, rows }
    }
}

impl TenantTx {
    /// The tenant's own tables with their rows, each counted up to a million, and the bytes they take on disk together.
    pub async fn measure(&mut self) -> Result<(Vec<TableRows>, i64), DbError> {
        let tables = sqlx::query!(
            r#"
            SELECT quote_ident(c.relname) AS "name!", pg_total_relation_size(c.oid) AS "bytes!"
            FROM pg_catalog.pg_class AS c
            WHERE c.relnamespace = $1::text::regnamespace
              AND c.relkind IN ('r', 'p')
            ORDER BY c.relname
            "#,
            SchemaName::from(self.tenant()).to_string(),
        )
        .fetch_all(self.conn())
        .await?;
        let mut sizes = Vec::with_capacity(tables.len());
        for table in &tables {
            let rows = count(self.conn(), &format!("SELECT FROM {}", table.name)).await?;
            sizes.push(TableRows::new((table.name.clone(), rows)));
        }
        Ok((sizes, tables.iter().map(|table| table.bytes).sum()))
    }
}

impl ControlTx {
    /// The tables of all tenants that hold rows of this one, each counted up to a million.
    pub async fn measure_shared(&mut self, tenant: TenantId) -> Result<Vec<TableRows>, DbError> {
        let mut sizes = Vec::new();
        for table in shared_tables(self.conn()).await? {
            let rows = format!("SELECT FROM control.{table} WHERE tenant_id = '{}'", tenant.uuid());
            let rows = count(self.conn(), &rows).await?;
            sizes.push(TableRows::new((table, rows)));
        }
        Ok(sizes)
    }
}

impl OwnerTx {
    /// Drops some of the tenant's tables and says which, with the rows they had. Nothing when none is left.
    pub async fn drop_tenant_tables(&mut self, tenant: TenantId) -> Result<Vec<TableRows>, DbError> {
        let schema = SchemaName::from(tenant);
        let tables = sqlx::query_scalar!(
            r#"
            SELECT quote_ident(c.relname) AS "name!"
            FROM pg_catalog.pg_class AS c
                     JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE n.nspname = $1
              AND c.relkind IN ('r', 'p')
              AND NOT c.relispartition
            ORDER BY c.relname
            LIMIT $2
            "#,
            schema.to_string(),
            TABLES_PER_DROP,
        )
        .fetch_all(self.conn())
        .await?;
        let mut dropped = Vec::with_capacity(tables.len());
        for table in tables {
            let name = format!("{schema}.{table}");
            let sql = format!("SELECT count(*) FROM {name}");
            let rows = self
                .conn()
                .fetch_one(sqlx::raw_sql(AssertSqlSafe(sql)))
                .await?
                .try_get(0)?;
            self.run_ddl(format!("DROP TABLE {name} CASCADE")).await?;
            dropped.push(TableRows::new((table, rows)));
        }
        Ok(dropped)
    }

    /// Drops the tenant's schema with what little is left in it, and its role. Done before: nothing.
    pub async fn drop_tenant_schema(&mut self, tenant: TenantId) -> Result<(), DbError> {
        let name = SchemaName::from(tenant);
        self.run_ddl(format!("DROP SCHEMA IF EXISTS {name} CASCADE")).await?;
        let has_grants = sqlx::query_scalar!(
            r#"
            SELECT EXISTS (SELECT
                           FROM pg_catalog.pg_shdepend AS d
                           WHERE d.refclassid = 'pg_catalog.pg_authid'::regclass
                             AND d.refobjid = r.oid
                             AND d.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
                       AS "has_grants!"
            FROM pg_catalog.pg_roles AS r
            WHERE r.rolname = $1
            "#,
            name.to_string(),
        )
        .fetch_optional(self.conn())
        .await?;
        if has_grants == Some(true) {
            self.run_ddl(format!("DROP OWNED BY {name}")).await?;
        }
        self.run_ddl(format!("DROP ROLE IF EXISTS {name}")).await
    }

    /// The tables of all tenants in which a tenant has rows, by name: those of `control` with a column `tenant_id`. What
    /// tells of the purge itself is left out.
    pub async fn list_shared_tables(&mut self) -> Result<Vec<String>, DbError> {
        shared_tables(self.conn()).await
    }

    /// Deletes rows of the tenant in one of [`Self::list_shared_tables`], at most `limit`, and says how many.
    pub async fn delete_shared_rows(&mut self, table: &str, tenant: TenantId, limit: u16) -> Result<i64, DbError> {
        let known = shared_tables(self.conn()).await?;
        let Some(table) = known.iter().find(|known| *known == table) else {
            return Ok(0);
        };
        let sql = format!(
            "DELETE FROM control.{table} WHERE ctid = ANY (ARRAY(\
             SELECT ctid FROM control.{table} WHERE tenant_id = '{}' LIMIT {limit} FOR UPDATE))",
            tenant.uuid()
        );
        let deleted = self.conn().execute(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
        Ok(i64::try_from(deleted.rows_affected()).unwrap_or(i64::MAX))
    }
}

async fn shared_tables(conn: &mut sqlx::PgConnection) -> Result<Vec<String>, DbError> {
    let tables = sqlx::query_scalar!(
        r#"
        SELECT quote_ident(c.relname) AS "name!"
        FROM pg_catalog.pg_class AS c
                 JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'control'::regnamespace
          AND c.relkind IN ('r', 'p')
          AND NOT c.relispartition
          AND a.attname = 'tenant_id'
          AND NOT a.attisdropped
          AND c.relname NOT IN ('purge_steps', 'purge_receipts')
        ORDER BY c.relname
        "#,
    )
    .fetch_all(conn)
    .await?;
    Ok(tables)
}

async fn count(conn: &mut sqlx::PgConnection, rows: &str) -> Result<i64, DbError> {
    let sql = format!("SELECT count(*) FROM ({rows} LIMIT {COUNTED_ROWS}) AS counted");
    let row = conn.fetch_one(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
    Ok(row.try_get(0)?)
}
