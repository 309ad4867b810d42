//! Tenants in two clusters, each a server of its own: reached from home, moved there and back, and interrupted on the way.

mod audit;
mod capacity;
mod catching_up;
mod chains;
mod citus;
mod http;
mod interrupted;
mod keys;
mod moving;
mod outage;
mod people;

use std::collections::BTreeMap;

use bulkhead_kernel::{
    clock::Clock,
    config::{Config, ConfigSource},
    ids::TenantId,
    origin::Origin,
};
use bulkhead_tenancy::{Cluster, Db, SchemaName};
use bulkhead_tenants::moves::{self, Move, MoveState};
use sqlx::PgConnection;

use crate::harness::{Postgres, TestDb, connect, run};

/// The home of this run's server, and a cluster called b on a server of its own.
struct Pair {
    home: TestDb,
    b: TestDb,
    _server: Postgres,
    db: Db,
}

/// What names the cluster b to the product.
fn settings_of(b: &TestDb) -> Vec<(String, String)> {
    [
        ("OWNER_URL", b.url("postgres")),
        ("CONTROL_URL", b.url("bulkhead_control")),
        ("TENANT_URL", b.url("bulkhead_tenant")),
        ("DIRECT_URL", b.url("bulkhead_control")),
    ]
    .map(|(key, url)| (format!("BULKHEAD__DATABASE__CLUSTERS__B__{key}"), url))
    .into()
}

fn origin() -> Origin {
    Origin::system("test")
}

fn cluster_b() -> Cluster {
    Cluster::from("b")
}

impl Pair {
    async fn new() -> Self {
        let server = Postgres::start().await;
        let (home, b) = (TestDb::new().await, TestDb::on(server.url()).await);
        let db = Self::assemble(&home, &b);
        Self {
            home,
            b,
            _server: server,
            db,
        }
    }

    fn assemble(home: &TestDb, b: &TestDb) -> Db {
        let patience = ("BULKHEAD__DATABASE__ACQUIRE_TIMEOUT_MS".to_owned(), "30000".to_owned());
        let settings = home.settings().into_iter().chain(settings_of(b)).chain([patience]);
        let config = Config::load_for(ConfigSource::from_env(settings), &[]);
        let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        Db::with_clock(&config.database, Clock::system()).unwrap()
    }

    /// Another process over the same clusters.
    fn another(&self) -> Db {
        Self::assemble(&self.home, &self.b)
    }

    fn at(&self, cluster: &Cluster) -> &TestDb {
        if cluster.is_home() { &self.home } else { &self.b }
    }

    /// A tenant at home with some rows.
    async fn tenant(&self, slug: &str) -> TenantId {
        let tenant = self.home.tenant(&self.db, slug).await;
        run(&mut self.home.look_into(tenant).await, ROWS).await;
        tenant
    }

    /// Moves the tenant to the end.
    async fn moved(&self, tenant: TenantId, to: &Cluster) -> Move {
        let begun = moves::service::start(&origin(), &self.db, tenant, to).await.unwrap();
        moves::carry_out(&self.db, begun.id, None).await.unwrap();
        moves::service::get(&self.db, tenant, begun.id).await.unwrap()
    }

    /// Where home says that the tenant is.
    async fn place(&self, tenant: TenantId) -> Cluster {
        self.db.of(tenant).await.unwrap().cluster().clone()
    }

    /// Moves the tenant until it is frozen and no further.
    async fn frozen(&self, tenant: TenantId, to: &Cluster) -> Move {
        self.moved_up_to(tenant, to, MoveState::Switching).await
    }

    /// Begins a move and carries it on until it is in this state and no further.
    async fn moved_up_to(&self, tenant: TenantId, to: &Cluster, state: MoveState) -> Move {
        let begun = moves::service::start(&origin(), &self.db, tenant, to).await.unwrap();
        self.go_on_to(tenant, &begun, state).await
    }

    /// Carries a move on until this is next.
    async fn go_on_to(&self, tenant: TenantId, begun: &Move, state: MoveState) -> Move {
        moves::carry_on(&self.db, begun.id, None, state).await.unwrap();
        let now = moves::service::get(&self.db, tenant, begun.id).await.unwrap();
        assert_eq!(now.state, state, "{now:?}");
        now
    }
}

/// Some of everything that COPY has to spell: quotes, tabs, nothing, times, bytes.
const ROWS: &str = r#"
INSERT INTO roles (id, name, description, is_system) SELECT gen_random_uuid(), 'role ' || n, E'tab\tand \\ and "quote"', false FROM generate_series(1, 50) AS n;
INSERT INTO role_permissions (role_id, permission) SELECT id, 'vm:read' FROM roles;
INSERT INTO members (identity_id, email, first_name, last_name) SELECT gen_random_uuid(), 'm' || n || '@example.com', 'Zoë', '' || n FROM generate_series(1, 200) AS n;
INSERT INTO member_roles (identity_id, role_id) SELECT m.identity_id, (SELECT r.id FROM roles AS r LIMIT 1) FROM members AS m;
"#;

/// All rows of the tenant in this database, as one fingerprint for each table; nothing where it has no schema.
async fn rows(test: &TestDb, tenant: TenantId) -> BTreeMap<String, String> {
    let schema = SchemaName::from(tenant);
    let mut connection = connect(&test.url("postgres"), Some(schema)).await;
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = $1 ORDER BY tablename")
            .bind(schema.to_string())
            .fetch_all(&mut connection)
            .await
            .unwrap();
    let mut rows = BTreeMap::new();
    for table in tables {
        let sql = format!(
            "SELECT count(*) || coalesce(md5(string_agg(t::text, ',' ORDER BY t::text)), '') FROM {table} AS t"
        );
        rows.insert(table, text(&mut connection, &sql).await);
    }
    rows
}

/// The one value of a statement.
async fn text(connection: &mut PgConnection, sql: &str) -> String {
    let value: Option<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned()))
        .fetch_one(connection)
        .await
        .unwrap();
    value.unwrap_or_default()
}

/// Whether anything of the tenant is left in this database.
async fn is_gone(test: &TestDb, tenant: TenantId) -> bool {
    let schema = SchemaName::from(tenant);
    let sql = format!(
        "SELECT (NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = '{schema}') \
             AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{schema}') \
             AND NOT EXISTS (SELECT FROM control.jobs WHERE tenant_id = '{id}') \
             AND NOT EXISTS (SELECT FROM control.vm_work WHERE tenant_id = '{id}') \
             AND NOT EXISTS (SELECT FROM control.tenants WHERE id = '{id}' AND (schema_version, shard) IS DISTINCT FROM (NULL, NULL)))::text",
        id = tenant.uuid()
    );
    text(&mut test.connect("postgres").await, &sql).await == "true"
}
