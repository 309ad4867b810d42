//! Migrations of the whole fleet: what is promised to those who run them and to the tenants meanwhile.

mod drift;
mod failures;
mod interrupted;
mod operators;
mod process;
mod rings;
mod run;
mod window;

use std::{borrow::Cow, time::Duration};

use bulkhead_kernel::ids::{MigrationRunId, TenantId};
use bulkhead_tenancy::{
    Db, Lineage,
    fleet::{self, Budget, Fleet, FleetError, MigratedTenant, Options, RunStatus, TenantMigration},
};
use sqlx::PgConnection;

use crate::harness::{TestDb, eventually, run};

/// What the next release might bring; no release has it.
const NICK: &str = "ALTER TABLE members ADD COLUMN nick text;\n\
                    CREATE INDEX members_nick_idx ON members (nick);\n\
                    CREATE TABLE notes (id uuid NOT NULL, text text NOT NULL, CONSTRAINT notes_pkey PRIMARY KEY (id));\n\
                    -- The text ends in a comment.";

/// The first baseline of the product, and these migrations behind it.
fn lineage(steps: &[&'static str]) -> Lineage {
    let first = Lineage::product().history(1).next().unwrap().sql.clone();
    let mut newest = first.clone().into_owned();
    let mut files = vec![("0001_baseline.sql".to_owned(), first)];
    for (version, step) in (2..).zip(steps) {
        files.push((format!("{version:04}_step.sql"), Cow::Borrowed(*step)));
        newest = format!("{newest}\n{step}");
    }
    if !steps.is_empty() {
        files.push((format!("{:04}_baseline.sql", steps.len() + 1), Cow::Owned(newest)));
    }
    Lineage::of_files(files).unwrap()
}

/// A database with tenants at version 1.
struct Stage {
    test: TestDb,
    db: Db,
    tenants: Vec<TenantId>,
    admin: PgConnection,
}

impl Stage {
    async fn with(n_tenants: usize) -> Self {
        let test = TestDb::new().await;
        // Many runners at once on few connections, on a machine with other tests.
        let db = test.db(&[("BULKHEAD__DATABASE__ACQUIRE_TIMEOUT_MS", "20000")]);
        let mut tenants = Vec::new();
        for index in 0..n_tenants {
            tenants.push(test.tenant(&db, &format!("tenant-{index}")).await);
        }
        let admin = test.connect("postgres").await;
        Self {
            test,
            db,
            tenants,
            admin,
        }
    }

    fn fleet(&self, steps: &[&'static str]) -> Fleet {
        Fleet::new(self.db.clone(), lineage(steps))
    }

    async fn start(&self, fleet: &Fleet, options: &Options) -> Result<(MigrationRunId, bool), FleetError> {
        let mut tx = self.db.control().await.unwrap();
        let started = fleet.start(&mut tx, options, "system").await?;
        tx.commit().await.unwrap();
        Ok(started)
    }

    /// Starts a run and carries it out.
    async fn migrate(&self, fleet: &Fleet, options: &Options) -> RunStatus {
        let (run, _) = self.start(fleet, options).await.unwrap();
        fleet.carry_out(run).await.unwrap()
    }

    async fn look(&self, run: MigrationRunId) -> (RunStatus, Vec<MigratedTenant>) {
        let mut tx = self.db.control().await.unwrap();
        let found = (
            fleet::get(&mut tx, run).await.unwrap(),
            fleet::named(&mut tx, run).await.unwrap(),
        );
        tx.commit().await.unwrap();
        found
    }

    /// The tenants given up, by their place among all.
    async fn failed(&self, run: MigrationRunId) -> Vec<usize> {
        let (_, named) = self.look(run).await;
        let failed = named.iter().filter(|one| one.state == TenantMigration::Failed);
        let mut places: Vec<_> = failed
            .map(|one| self.tenants.iter().position(|id| *id == one.id).unwrap())
            .collect();
        places.sort_unstable();
        places
    }

    /// The tenants at this version, by their place among all.
    async fn at_version(&mut self, version: i64) -> Vec<usize> {
        let ids = sqlx::query_scalar!("SELECT id FROM control.tenants WHERE schema_version = $1", version)
            .fetch_all(&mut self.admin)
            .await
            .unwrap();
        let mut places: Vec<_> = ids
            .into_iter()
            .filter_map(|id| self.tenants.iter().position(|known| known.uuid() == id))
            .collect();
        places.sort_unstable();
        places
    }

    /// The tenants whose members have the new column, by their place among all.
    async fn with_nick(&mut self) -> Vec<usize> {
        let schemas = sqlx::query_scalar!(
            r#"SELECT table_schema::text AS "schema!" FROM information_schema.columns WHERE column_name = 'nick'"#
        )
        .fetch_all(&mut self.admin)
        .await
        .unwrap();
        let mut places: Vec<_> = schemas
            .iter()
            .map(|schema| self.tenants.iter().position(|id| schema_of(*id) == *schema).unwrap())
            .collect();
        places.sort_unstable();
        places
    }

    /// Makes [`NICK`] impossible for a tenant.
    async fn poison(&self, place: usize) {
        let mut inside = self.test.look_into(self.tenants[place]).await;
        run(&mut inside, "CREATE TABLE notes ()").await;
    }

    async fn heal(&self, place: usize) {
        let mut inside = self.test.look_into(self.tenants[place]).await;
        run(&mut inside, "DROP TABLE notes").await;
    }

    /// Somebody's transaction that holds the tenant's lock until it is rolled back.
    async fn gate(&self, place: usize) -> Gate {
        let mut holder = self.test.connect("postgres").await;
        run(&mut holder, "BEGIN").await;
        sqlx::query_scalar!(
            "SELECT pg_advisory_xact_lock(hashtextextended('bulkhead.schema.' || $1, 0))::text",
            self.tenants[place].uuid().simple().to_string()
        )
        .fetch_one(&mut holder)
        .await
        .unwrap();
        Gate::of(holder, &self.test).await
    }

    /// Somebody's transaction that has read this table of the tenant and goes on.
    async fn reader(&self, place: usize, table: &str) -> Gate {
        let mut holder = self.test.look_into(self.tenants[place]).await;
        run(&mut holder, &format!("BEGIN; LOCK TABLE {table} IN ACCESS SHARE MODE")).await;
        Gate::of(holder, &self.test).await
    }
}

fn schema_of(tenant: TenantId) -> String {
    bulkhead_tenancy::SchemaName::from(tenant).to_string()
}

fn all(n: usize) -> Vec<usize> {
    (0..n).collect()
}

fn options() -> Options {
    Options {
        budget: Budget::Percent(100),
        ..Options::default()
    }
}

/// Options under which a runner waits at a gate for as long as the test needs.
fn patient() -> Options {
    Options {
        lock_timeout: Duration::from_secs(60),
        ..options()
    }
}

/// A session that stands in the way.
struct Gate {
    holder: PgConnection,
    pid: i32,
    admin: PgConnection,
}

impl Gate {
    async fn of(mut holder: PgConnection, test: &TestDb) -> Self {
        let pid = sqlx::query_scalar!(r#"SELECT pg_backend_pid() AS "pid!""#)
            .fetch_one(&mut holder)
            .await
            .unwrap();
        let admin = test.connect("postgres").await;
        Self { holder, pid, admin }
    }

    async fn n_waiting(&mut self) -> i64 {
        sqlx::query_scalar!(
            r#"SELECT count(*) AS "n!" FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))"#,
            self.pid,
        )
        .fetch_one(&mut self.admin)
        .await
        .unwrap()
    }

    async fn until_somebody_waits(&mut self) {
        eventually("somebody waits at the gate", async || {
            (self.n_waiting().await > 0).then_some(())
        })
        .await;
    }

    async fn open(mut self) {
        run(&mut self.holder, "ROLLBACK").await;
    }

    async fn commit(mut self) {
        run(&mut self.holder, "COMMIT").await;
    }
}
