//! One database per test, copied from a template that the first test of a run makes.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use bulkhead_kernel::{clock::Clock, config::Config, config::ConfigSource, ids::TenantId, secret::Secret};
use bulkhead_tenancy::{Db, SchemaName, Slug, migrations::migrate_control};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, postgres::PgConnectOptions};
use uuid::Uuid;

/// Makes all but one test wait while the template is built.
const TEMPLATE_LOCK: i64 = 0x6275_6c6b;

/// A variable that `scripts/with-services` sets; tests run under it.
pub fn test_env(name: &str) -> String {
    optional_env(name).unwrap_or_else(|| panic!("{name} is not set: run the tests with `make test`"))
}

/// The same for what only some runs have; `None` also where it is empty.
pub fn optional_env(name: &str) -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the test services are not settings of the product"
    )]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A database of its own with the schema `control`, gone with the test's services.
pub struct TestDb {
    name: String,
    server: String,
}

impl TestDb {
    /// A fresh copy of the template.
    pub async fn new() -> Self {
        Self::on(test_env("TEST_DATABASE_URL")).await
    }

    /// The same on another server, named by the URL of a superuser.
    pub async fn on(server: String) -> Self {
        let template = template();
        let mut admin = connect(&server, None).await;
        sqlx::query_scalar!("SELECT pg_advisory_lock($1)::text", TEMPLATE_LOCK)
            .fetch_one(&mut admin)
            .await
            .unwrap();
        let exists = sqlx::query_scalar!("SELECT count(*) FROM pg_database WHERE datname = $1", template)
            .fetch_one(&mut admin)
            .await
            .unwrap();
        if exists == Some(0) {
            run(&mut admin, &format!("CREATE DATABASE {template}_new")).await;
            let url = Secret::new(url(&server, "postgres", &format!("{template}_new")));
            migrate_control(&url, [&url, &url]).await.unwrap();
            run(
                &mut admin,
                &format!("ALTER DATABASE {template}_new RENAME TO {template}"),
            )
            .await;
        }
        let name = format!("test_{}", Uuid::now_v7().simple());
        run(
            &mut admin,
            &format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy"),
        )
        .await;
        // A copy does not take the database's own privileges with it.
        run(
            &mut admin,
            &format!(
                "REVOKE ALL ON DATABASE {name} FROM PUBLIC; \
                 GRANT CONNECT ON DATABASE {name} TO bulkhead_control, bulkhead_tenant"
            ),
        )
        .await;
        admin.close().await.unwrap();
        Self { name, server }
    }

    /// The database that another process of the test made.
    pub fn existing(name: String) -> Self {
        let server = test_env("TEST_DATABASE_URL");
        Self { name, server }
    }

    /// Another hold on the same database.
    pub fn another(&self) -> Self {
        Self {
            name: self.name.clone(),
            server: self.server.clone(),
        }
    }

    /// No other test has one of this name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL of this database for a login.
    pub fn url(&self, user: &str) -> String {
        url(&self.server, user, &self.name)
    }

    /// The database settings, as environment variables. Where the run has a pooler the product goes through it.
    pub fn settings(&self) -> Vec<(String, String)> {
        match optional_env("TEST_POOLER_URL") {
            Some(pooler) if self.server == test_env("TEST_DATABASE_URL") => self.settings_behind(&pooler, 0),
            _ => self.settings_behind(&self.server, 100),
        }
    }

    /// The database settings with the pooler at this URL, and this many prepared statements for each connection.
    pub fn settings_behind(&self, pooler: &str, statement_cache: usize) -> Vec<(String, String)> {
        [
            ("OWNER_URL", self.url("postgres")),
            ("CONTROL_URL", url(pooler, "bulkhead_control", &self.name)),
            ("TENANT_URL", url(pooler, "bulkhead_tenant", &self.name)),
            ("DIRECT_URL", self.url("bulkhead_control")),
            ("STATEMENT_CACHE", statement_cache.to_string()),
        ]
        .map(|(key, value)| (format!("BULKHEAD__DATABASE__{key}"), value))
        .into()
    }

    /// The server on which it lies, by the URL of its superuser.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The product's way to this database, with a few settings of the test's choice.
    pub fn db(&self, more: &[(&str, &str)]) -> Db {
        self.db_at(&Clock::system(), more)
    }

    /// The same with connections that age by this clock.
    pub fn db_at(&self, clock: &Clock, more: &[(&str, &str)]) -> Db {
        let more = more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let env = self.settings().into_iter().chain(more);
        let config = Config::load_for(ConfigSource::from_env(env), &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        Db::with_clock(&config.database, clock.clone()).unwrap()
    }

    /// See [`open_tenant`].
    pub async fn tenant(&self, db: &Db, slug: &str) -> TenantId {
        open_tenant(db, slug).await
    }

    /// A connection past the product, as any login.
    pub async fn connect(&self, user: &str) -> PgConnection {
        connect(&self.url(user), None).await
    }

    /// A connection of the superuser that looks into one tenant.
    pub async fn look_into(&self, tenant: TenantId) -> PgConnection {
        connect(&self.url("postgres"), Some(SchemaName::from(tenant))).await
    }
}

/// An active tenant, built by the product's own steps but without the job.
pub async fn open_tenant(db: &Db, slug: &str) -> TenantId {
    let tenant = TenantId::new();
    let slug: Slug = slug.parse().unwrap();
    let mut tx = db.owner().await.unwrap();
    sqlx::query!(
        "INSERT INTO control.tenants (id, slug, name, status) VALUES ($1, $2, $2, 'active')",
        tenant.uuid(),
        slug.as_str(),
    )
    .execute(tx.conn())
    .await
    .unwrap();
    tx.create_tenant_role(tenant).await.unwrap();
    tx.create_tenant_schema(tenant).await.unwrap();
    tx.migrate_tenant_schema(tenant).await.unwrap();
    tx.commit().await.unwrap();
    tenant
}

/// The name of the template for the migrations as they are now, should the server outlive a change of them.
fn template() -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/control");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        std::fs::read(file).unwrap().hash(&mut hasher);
    }
    format!("bulkhead_template_{:x}", hasher.finish())
}

/// Runs any text as it stands.
pub async fn run(connection: &mut PgConnection, sql: &str) {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
}

/// A connection past the product; unqualified names are of `schema` where there is one.
pub async fn connect(url: &str, schema: Option<SchemaName>) -> PgConnection {
    let mut options: PgConnectOptions = url.parse().unwrap();
    if let Some(schema) = schema {
        options = options.options([("search_path", schema.to_string())]);
    }
    let connecting = PgConnection::connect_with(&options);
    tokio::time::timeout(Duration::from_secs(10), connecting)
        .await
        .unwrap()
        .unwrap()
}

/// `server` with another user and database; the test servers trust everybody on loopback.
pub fn url(server: &str, user: &str, database: &str) -> String {
    let (_, rest) = server.split_once("://").unwrap();
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = host.split(['/', '?']).next().unwrap();
    format!("postgres://{user}@{host}/{database}")
}
