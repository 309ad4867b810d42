//! A tenant's schema: its name, its role, and the statements that build it.

use std::{fmt, ops::RangeInclusive};

use bulkhead_kernel::ids::TenantId;
use sqlx::{AssertSqlSafe, Executor};

use crate::{DbError, OwnerTx, Slug};

/// What builds a tenant's schema from nothing, in one transaction.
const BASELINE: &str = include_str!("../../../migrations/tenant/0001_baseline.sql");

/// The version a schema has after [`BASELINE`].
pub const SCHEMA_VERSION: i64 = 1;

/// The versions of a tenant's schema that this program works with; a tenant outside of them is refused with
/// [`DbError::VersionNotServed`]. The newest is one that the next release brings: migrations first expand, so that a
/// release works with the schema before and after its successor's (migrations/README.md).
pub const SERVED_VERSIONS: RangeInclusive<i64> = 1..=SCHEMA_VERSION + 1;

/// The name of a tenant's schema and of its role: `t_` and the tenant's id, never anything a user typed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SchemaName(TenantId);

impl From<TenantId> for SchemaName {
    fn from(tenant: TenantId) -> Self {
        Self(tenant)
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t_{}", self.0.uuid().simple())
    }
}

impl OwnerTx {
    /// Makes the tenant's own role, which cannot log in, and lets the tenant login take it. Done before: nothing.
    pub async fn create_tenant_role(&mut self, tenant: TenantId) -> Result<(), DbError> {
        let role = SchemaName(tenant);
        let exists = sqlx::query_scalar!(
            r#"
            SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1) AS "exists!"
            "#,
            role.to_string(),
        )
        .fetch_one(self.conn())
        .await?;
        if exists {
            return Ok(());
        }
        self.run_ddl(format!(
            "CREATE ROLE {role} NOLOGIN INHERIT IN ROLE bulkhead_tenants ROLE bulkhead_tenant"
        ))
        .await
    }

    /// Makes the empty schema and grants its use to the tenant's role alone. Done before: nothing.
    pub async fn create_tenant_schema(&mut self, tenant: TenantId, slug: &Slug) -> Result<(), DbError> {
        let schema = SchemaName(tenant);
        self.run_ddl(format!(
            "CREATE SCHEMA IF NOT EXISTS {schema}; \
             COMMENT ON SCHEMA {schema} IS '{slug}'; \
             GRANT USAGE ON SCHEMA {schema} TO {schema}"
        ))
        .await
    }

    /// Builds all tables at [`SCHEMA_VERSION`] and records it, in this transaction. Done before: nothing.
    pub async fn migrate_tenant_schema(&mut self, tenant: TenantId) -> Result<(), DbError> {
        let schema = SchemaName(tenant);
        let version = sqlx::query_scalar!(
            r#"
            SELECT schema_version
            FROM control.tenants
            WHERE id = $1
                FOR UPDATE
            "#,
            tenant.uuid(),
        )
        .fetch_one(self.conn())
        .await?;
        if version.is_none() {
            self.run_ddl(format!(
                "SET LOCAL search_path = {schema}; \
                 {BASELINE}; \
                 GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {schema}; \
                 SET LOCAL search_path = ''"
            ))
            .await?;
            sqlx::query!(
                r#"
                UPDATE control.tenants
                SET schema_version = $2, updated_at = now()
                WHERE id = $1
                "#,
                tenant.uuid(),
                SCHEMA_VERSION,
            )
            .execute(self.conn())
            .await?;
        }
        Ok(())
    }

    /// From here on unqualified names in this transaction are the tenant's tables, with the owner's rights.
    pub async fn enter_tenant_schema(&mut self, tenant: TenantId) -> Result<(), DbError> {
        self.run_ddl(format!("SET LOCAL search_path = {}", SchemaName(tenant)))
            .await
    }

    pub(crate) async fn run_ddl(&mut self, sql: String) -> Result<(), DbError> {
        self.conn().execute(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
        Ok(())
    }
}
