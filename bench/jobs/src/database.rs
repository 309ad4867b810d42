//! A database of the bench's own on a server that is thrown away.

use bulkhead_kernel::secret::Secret;
use bulkhead_tenancy::migrations::migrate_control;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

const NAME: &str = "bulkhead_bench_jobs";

pub(crate) struct Server {
    base: String,
}

impl Server {
    /// Makes the database, with the schema `control` and a narrow table beside it.
    pub(crate) async fn new(url: &str) -> anyhow::Result<Self> {
        let (base, _) = url.rsplit_once('/').unwrap_or((url, ""));
        let server = Self { base: base.to_owned() };
        let mut admin = PgConnection::connect(url).await?;
        admin
            .execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")))
            .await?;
        admin.execute(AssertSqlSafe(format!("CREATE DATABASE {NAME}"))).await?;
        let owner = Secret::new(server.url("postgres"));
        migrate_control(&owner, [&owner, &owner]).await?;
        let narrow = "CREATE TABLE public.bare (id uuid PRIMARY KEY, payload jsonb NOT NULL, state text NOT NULL, \
                      run_at timestamptz NOT NULL); \
                      CREATE INDEX bare_idx ON public.bare (run_at) WHERE state = 'queued'";
        server.run(narrow).await?;
        Ok(server)
    }

    pub(crate) fn url(&self, login: &str) -> String {
        let host = self.base.rsplit_once('@').map_or("127.0.0.1", |(_, host)| host);
        format!("postgres://{login}@{host}/{NAME}")
    }

    /// As the superuser, statement by statement: some stand in no transaction.
    pub(crate) async fn run(&self, statements: &str) -> anyhow::Result<()> {
        let mut admin = PgConnection::connect(&self.url("postgres")).await?;
        for statement in statements.split(';') {
            admin.execute(AssertSqlSafe(statement.to_owned())).await?;
        }
        Ok(())
    }

    pub(crate) async fn number(&self, query: &str) -> anyhow::Result<i64> {
        let mut admin = PgConnection::connect(&self.url("postgres")).await?;
        Ok(sqlx::query_scalar(AssertSqlSafe(query.to_owned()))
            .fetch_one(&mut admin)
            .await?)
    }

    /// What the numbers were measured on.
    pub(crate) async fn line(&self) -> anyhow::Result<String> {
        let mut admin = PgConnection::connect(&self.url("postgres")).await?;
        let server: String = sqlx::query_scalar(
            "SELECT string_agg(name || '=' || setting, ', ' ORDER BY name) FROM pg_settings \
             WHERE name IN ('server_version', 'fsync', 'synchronous_commit', 'shared_buffers', 'full_page_writes')",
        )
        .fetch_one(&mut admin)
        .await?;
        let cores = std::thread::available_parallelism()?;
        Ok(format!("{cores} cores; PostgreSQL {server}"))
    }

    /// Waits until the count is there; asks often enough not to add to it.
    pub(crate) async fn until(&self, query: &str, expected: i64) -> anyhow::Result<()> {
        let mut admin = PgConnection::connect(&self.url("postgres")).await?;
        loop {
            let n: i64 = sqlx::query_scalar(AssertSqlSafe(query.to_owned()))
                .fetch_one(&mut admin)
                .await?;
            if n == expected {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }
}
