//! A tenant's schema: its name, its role, and the statements that build it.

use std::fmt;

use bulkhead_kernel::{config, ids::TenantId, secret::Secret};
use sqlx::{AssertSqlSafe, Executor};

use crate::{
    DbError, OwnerTx,
    lineage::{Lineage, Migration},
    migrations,
};

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

/// Tables that a tenant's own role adds to and never changes or empties.
const APPEND_ONLY: &str = "'audit_events'";

/// What the provisioner knows about the logins of shards.
pub(crate) struct Logins {
    /// Its password is that of all of them.
    tenant_url: Secret,
    tenants_per_shard: i32,
}

impl Logins {
    pub(crate) fn of(settings: &config::Database) -> Self {
        Self {
            tenant_url: settings.tenant_url.clone(),
            tenants_per_shard: settings.tenants_per_shard,
        }
    }
}

/// How a login gets a tenant's role: to take it, never to have its rights unasked. From 16 on the grant itself says so;
/// before, only that the login is NOINHERIT.
const fn grant_options(server_version: i32) -> &'static str {
    if server_version >= 160_000 {
        "WITH INHERIT FALSE, SET TRUE"
    } else {
        ""
    }
}

impl OwnerTx {
    /// Gives the tenant a shard and makes its own role, which cannot log in and which the shard's login alone may take.
    /// Opens a new shard when all are full. Done before: nothing.
    pub async fn create_tenant_role(&mut self, tenant: TenantId) -> Result<(), DbError> {
        let (role, login) = (SchemaName(tenant), self.assign_shard(tenant).await?);
        let row = sqlx::query!(
            r#"
            SELECT r.oid IS NOT NULL AS "exists!",
                   EXISTS (SELECT FROM pg_catalog.pg_auth_members AS m
                           WHERE m.roleid = r.oid AND m.member = $2::text::regrole) AS "is_granted!",
                   pg_catalog.current_setting('server_version_num')::integer AS "version!"
            FROM (VALUES ($1::text)) AS wanted (name)
                     LEFT JOIN pg_catalog.pg_roles AS r ON r.rolname = wanted.name
            "#,
            role.to_string(),
            login,
        )
        .fetch_one(self.conn())
        .await?;
        let grant = format!("GRANT {role} TO {login} {}", grant_options(row.version));
        match (row.exists, row.is_granted) {
            (false, _) => {
                self.run_ddl(format!(
                    "CREATE ROLE {role} NOLOGIN INHERIT IN ROLE bulkhead_tenants; {grant}"
                ))
                .await
            }
            (true, false) => self.run_ddl(grant).await,
            (true, true) => Ok(()),
        }
    }

    /// The login of the tenant's shard.
    async fn assign_shard(&mut self, tenant: TenantId) -> Result<String, DbError> {
        let logins = self.logins();
        let row = sqlx::query!(
            r#"
            SELECT a.is_new AS "is_new!", control.shard_login(a.shard) AS "login!"
            FROM control.assign_shard($1, $2) AS a
            "#,
            tenant.uuid(),
            logins.tenants_per_shard,
        )
        .fetch_one(self.conn())
        .await?;
        if row.is_new {
            migrations::set_password(self.conn(), &row.login, &logins.tenant_url).await?;
            tracing::info!(login = row.login, "a shard was opened");
        }
        Ok(row.login)
    }

    /// Makes the empty schema and grants its use to the tenant's role alone. Nothing in the catalog tells whose it is, since
    /// every tenant can read all of it. Done before: nothing.
    /// Where the database has the extension Citus the schema is a distributed one.
    pub async fn create_tenant_schema(&mut self, tenant: TenantId) -> Result<(), DbError> {
        self.meet(tenant);
        let schema = SchemaName(tenant);
        sqlx::query!(
            r#"
            SELECT pg_catalog.set_config('citus.enable_schema_based_sharding', 'on', true)
            FROM pg_catalog.pg_extension
            WHERE extname = 'citus'
            "#,
        )
        .fetch_optional(self.conn())
        .await?;
        self.run_ddl(format!(
            "CREATE SCHEMA IF NOT EXISTS {schema}; \
             GRANT USAGE ON SCHEMA {schema} TO {schema}"
        ))
        .await
    }

    /// Builds all tables at [`crate::SCHEMA_VERSION`] and records it, in this transaction. Done before: nothing.
    pub async fn migrate_tenant_schema(&mut self, tenant: TenantId) -> Result<(), DbError> {
        self.build_tenant_schema(tenant, Lineage::product()).await
    }

    /// [`OwnerTx::migrate_tenant_schema`] at the head of any lineage.
    pub async fn build_tenant_schema(&mut self, tenant: TenantId, lineage: &Lineage) -> Result<(), DbError> {
        self.meet(tenant);
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
            self.apply_migration(tenant, lineage.baseline()).await?;
            self.grant_tenant_tables(tenant).await?;
            sqlx::query!(
                r#"
                UPDATE control.tenants
                SET schema_version = $2, updated_at = now()
                WHERE id = $1
                "#,
                tenant.uuid(),
                lineage.head(),
            )
            .execute(self.conn())
            .await?;
        }
        Ok(())
    }

    /// Runs one file with the tenant's schema as the path, in this transaction. Recording the version is the caller's.
    pub(crate) async fn apply_migration(&mut self, tenant: TenantId, migration: &Migration) -> Result<(), DbError> {
        let schema = SchemaName(tenant);
        let sql = &migration.sql;
        // The text may end in a comment.
        self.run_ddl(format!(
            "SET LOCAL search_path = {schema};\n{sql}\n; SET LOCAL search_path = ''"
        ))
        .await
    }

    /// Lets the tenant's role use the tables it cannot use yet; those it can are not written again. They are found by what
    /// depends on the schema: `pg_class` has no index by schema, so `GRANT … ON ALL TABLES` reads the tables of every
    /// tenant, which at 2,000 of them took a third of a second.
    pub(crate) async fn grant_tenant_tables(&mut self, tenant: TenantId) -> Result<(), DbError> {
        let schema = SchemaName(tenant);
        self.run_ddl(format!(
            "DO $grant$ DECLARE name text; verbs text; BEGIN \
             FOR name, verbs IN SELECT c.oid::regclass::text, \
                     CASE WHEN c.relname IN ({APPEND_ONLY}) THEN 'SELECT, INSERT' ELSE 'SELECT, INSERT, UPDATE, DELETE' END \
                 FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_class AS c ON c.oid = d.objid \
                 WHERE d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid = '{schema}'::regnamespace \
                 AND d.classid = 'pg_catalog.pg_class'::regclass AND c.relkind = 'r' \
                 AND NOT pg_catalog.has_table_privilege('{schema}', c.oid, 'INSERT') \
             LOOP EXECUTE 'GRANT ' || verbs || ' ON ' || name || ' TO {schema}'; END LOOP; END $grant$"
        ))
        .await
    }

    /// From here on unqualified names in this transaction are the tenant's tables, with the owner's rights.
    pub async fn enter_tenant_schema(&mut self, tenant: TenantId) -> Result<(), DbError> {
        self.meet(tenant);
        self.run_ddl(format!("SET LOCAL search_path = {}", SchemaName(tenant)))
            .await
    }

    pub(crate) async fn run_ddl(&mut self, sql: String) -> Result<(), DbError> {
        self.conn().execute(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
        Ok(())
    }
}
