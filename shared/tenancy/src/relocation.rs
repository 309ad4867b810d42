//! What a move of a tenant from one cluster to another needs of both: waiting until nobody writes, and rows copied and
//! compared by the provisioner.

use std::time::Duration;

use bulkhead_kernel::ids::TenantId;
use sqlx::{AssertSqlSafe, Executor, Row};
use uuid::Uuid;

use crate::{
    CopyIn, CopyOut, DbError, OwnerTx, SchemaName, Table, TableRows,
    snapshot::millis,
    transfer::{quote, tables},
};

/// Everything that decides how a value is written as text.
const AS_TEXT: &str = "SET LOCAL DateStyle = 'ISO, MDY'; SET LOCAL TimeZone = 'UTC'; SET LOCAL IntervalStyle = 'postgres'; \
                       SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1";

/// A table's rows in one number that does not depend on their order, and how many they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// The rows.
    pub rows: i64,
    /// The sum of their hashes.
    pub sum: String,
}

impl OwnerTx {
    /// Lets statements take as long as `patience`, and values have one text whatever the server is set to.
    pub async fn begin_transfer(&mut self, patience: Duration) -> Result<(), DbError> {
        let patience = millis(patience);
        self.run_ddl(format!(
            "SET LOCAL statement_timeout = {patience}; SET LOCAL idle_in_transaction_session_timeout = {patience}; {AS_TEXT}"
        ))
        .await
    }

    /// Keeps the tenant's row here to this transaction; [`DbError::LeaseLost`] unless this move has frozen it.
    pub async fn hold_frozen(&mut self, tenant: TenantId, frozen_by: Uuid) -> Result<(), DbError> {
        let found = sqlx::query_scalar!(
            r#"
            SELECT true AS "found!"
            FROM control.tenants
            WHERE id = $1
              AND frozen_by = $2
                FOR NO KEY UPDATE
            "#,
            tenant.uuid(),
            frozen_by,
        )
        .fetch_optional(self.conn())
        .await?;
        found.map(|_| ()).ok_or(DbError::LeaseLost)
    }

    /// The transactions that have entered any tenant here and are not over. Entering reads the registry, and whoever has
    /// read a table holds a lock on it to the end.
    pub async fn list_entered(&mut self) -> Result<Vec<String>, DbError> {
        let entered = sqlx::query_scalar!(
            r#"
            SELECT DISTINCT l.virtualtransaction AS "transaction!"
            FROM pg_catalog.pg_locks AS l
            WHERE l.locktype = 'relation'
              AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
              AND l.relation = 'control.tenants'::regclass
              AND l.granted
              AND l.pid <> pg_backend_pid()
            "#,
        )
        .fetch_all(self.conn())
        .await?;
        Ok(entered)
    }

    /// The rows of a table of the tenant whose schema this transaction has entered, as COPY text.
    pub async fn copy_out(&mut self, table: &Table) -> Result<CopyOut<'_>, DbError> {
        self.copy_out_by(format!("COPY {} TO STDOUT", table.quoted())).await
    }

    /// The tenant's rows of a table of all tenants, as COPY text.
    pub async fn copy_shared_out(&mut self, table: &Table, tenant: TenantId) -> Result<CopyOut<'_>, DbError> {
        let columns = table.quoted_columns();
        let (name, tenant) = (quote(table.name()), tenant.uuid());
        self.copy_out_by(format!(
            "COPY (SELECT {columns} FROM control.{name} WHERE tenant_id = '{tenant}') TO STDOUT"
        ))
        .await
    }

    pub(crate) async fn copy_out_by(&mut self, statement: String) -> Result<CopyOut<'_>, DbError> {
        let (conn, is_broken) = self.lease_mut().for_copy();
        let rows = conn.copy_out_raw(&statement).await?;
        Ok(CopyOut::new(rows, is_broken))
    }

    /// Writes COPY text into a table of all tenants.
    pub async fn copy_shared_in(&mut self, table: &Table) -> Result<CopyIn<'_>, DbError> {
        self.copy_in_by(format!("COPY control.{} FROM STDIN", table.quoted()))
            .await
    }

    pub(crate) async fn copy_in_by(&mut self, statement: String) -> Result<CopyIn<'_>, DbError> {
        let (conn, is_broken) = self.lease_mut().for_copy();
        let rows = conn.copy_in_raw(&statement).await?;
        Ok(CopyIn::new(rows, is_broken))
    }

    /// One of the tables of all tenants, by name.
    pub async fn shared_table(&mut self, name: &str) -> Result<Option<Table>, DbError> {
        self.run_ddl("SET LOCAL search_path = control".into()).await?;
        let known = tables(self.conn()).await?;
        self.run_ddl("SET LOCAL search_path = ''".into()).await?;
        Ok(known.into_iter().find(|table| table.name() == name))
    }

    /// Deletes all rows of the tenant in a table of all tenants.
    pub async fn delete_all_shared_rows(&mut self, table: &Table, tenant: TenantId) -> Result<u64, DbError> {
        let sql = format!(
            "DELETE FROM control.{} WHERE tenant_id = '{}'",
            quote(table.name()),
            tenant.uuid()
        );
        let deleted = self.conn().execute(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
        Ok(deleted.rows_affected())
    }

    /// Whether a table of the tenant whose schema this transaction has entered has no row.
    pub async fn is_empty(&mut self, table: &Table) -> Result<bool, DbError> {
        let sql = format!("SELECT NOT EXISTS (SELECT FROM {})", quote(table.name()));
        let row = self.conn().fetch_one(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
        Ok(row.try_get(0)?)
    }

    /// The checksum of these columns of a table of the tenant whose schema this transaction has entered.
    pub async fn checksum(&mut self, table: &Table) -> Result<Checksum, DbError> {
        self.checksum_of(&table.quoted_columns(), &quote(table.name())).await
    }

    pub(crate) async fn checksum_of(&mut self, columns: &str, rows: &str) -> Result<Checksum, DbError> {
        let sql = format!(
            "SELECT count(*), coalesce(sum(pg_catalog.hashtextextended(ROW({columns})::text, 0)), 0)::text FROM {rows}"
        );
        let row = self.conn().fetch_one(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
        Ok(Checksum {
            rows: row.try_get(0)?,
            sum: row.try_get(1)?,
        })
    }

    /// Drops what there is of the tenant's schema, few tables at a time and each time in a transaction of the caller's.
    /// `true` when nothing is left.
    pub async fn drop_some_of_tenant(&mut self, tenant: TenantId) -> Result<bool, DbError> {
        let dropped: Vec<TableRows> = self.drop_tenant_tables(tenant).await?;
        if dropped.is_empty() {
            self.drop_tenant_schema(tenant).await?;
        }
        Ok(dropped.is_empty())
    }

    /// Whether the tenant's schema is one that Citus distributes; `None` without the extension.
    pub async fn is_schema_distributed(&mut self, tenant: TenantId) -> Result<Option<bool>, DbError> {
        let has_citus = sqlx::query_scalar!(
            r#"
            SELECT EXISTS (SELECT FROM pg_catalog.pg_extension AS e WHERE e.extname = 'citus') AS "has_citus!"
            "#,
        )
        .fetch_one(self.conn())
        .await?;
        if !has_citus {
            return Ok(None);
        }
        let sql = format!(
            "SELECT EXISTS (SELECT FROM pg_catalog.citus_schemas WHERE schema_name = '{}'::regnamespace)",
            SchemaName::from(tenant)
        );
        let row = self.conn().fetch_one(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
        Ok(Some(row.try_get(0)?))
    }

    /// Has Citus move the tenant's distributed schema to this node of the same cluster, within `patience`. It is read
    /// meanwhile; who writes waits until this transaction ends. Fails where Citus does not know the node.
    pub async fn move_schema_to_node(
        &mut self,
        tenant: TenantId,
        (host, port): (&str, u16),
        patience: Duration,
    ) -> Result<(), DbError> {
        self.begin_transfer(patience).await?;
        let sql = format!(
            "SELECT pg_catalog.citus_schema_move('{}'::regnamespace, $1, $2, 'block_writes')",
            SchemaName::from(tenant)
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(host).bind(i32::from(port));
        query.execute(self.conn()).await?;
        Ok(())
    }
}
