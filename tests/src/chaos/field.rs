//! Where workers are tried: a database with a few tenants, an effect table in each, and notes of what happened.

use std::time::Duration;

use bulkhead_jobs::{Job, enqueue};
use bulkhead_kernel::{
    ids::{JobId, TenantId},
    origin::Origin,
};
use bulkhead_tenancy::{Db, DbError, SchemaName};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use crate::{
    harness::{TestDb, run, server::Server},
    plan::{Mutant, Plan},
    report::Report,
    worker,
};

const TENANTS: [&str; 3] = ["acme", "globex", "initech"];

/// Beside the product's own: what handlers and the nemesis note, each with the database's time.
const NOTES: &str = "
    CREATE SCHEMA chaos;
    CREATE TABLE chaos.starts (job uuid, attempt int, pid bigint, at timestamptz DEFAULT clock_timestamp());
    CREATE TABLE chaos.refusals (job uuid, attempt int, pid bigint, at timestamptz DEFAULT clock_timestamp());
    CREATE TABLE chaos.kills (pid bigint, at timestamptz DEFAULT clock_timestamp());
    CREATE INDEX ON chaos.starts (job);
    CREATE INDEX ON chaos.starts (pid);
    GRANT USAGE ON SCHEMA chaos TO bulkhead_control;
    GRANT INSERT ON chaos.starts, chaos.refusals TO bulkhead_control;
    -- The limit of a plan is not what is tried here.
    UPDATE control.plans SET job_concurrency = 100;
";

/// The fence of a lease lets everybody through.
const LEASE_CHECK_OFF: &str = "
    CREATE OR REPLACE FUNCTION control.hold_lease(p_job uuid, p_token uuid) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ BEGIN END $$;
";

/// Lost leases are not counted, so no number of them is too many.
const POISON_RULE_OFF: &str = "
    CREATE FUNCTION chaos.forget() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.lost_leases := 0; RETURN NEW; END $$;
    CREATE TRIGGER forget BEFORE UPDATE ON control.jobs FOR EACH ROW EXECUTE FUNCTION chaos.forget();
    GRANT EXECUTE ON FUNCTION chaos.forget() TO PUBLIC;
";

/// One database of a scenario.
pub(crate) struct Field {
    pub(crate) test: TestDb,
    pub(crate) tenants: Vec<TenantId>,
    db: Db,
    env: Vec<(String, String)>,
}

/// How the jobs stand.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) jobs: i64,
    pub(crate) done: i64,
    pub(crate) without_effect: i64,
    pub(crate) with_several: i64,
}

impl Field {
    pub(crate) async fn new(plan: &Plan, test: TestDb) -> Self {
        let db = test.db(&[]);
        let mut admin = test.connect("postgres").await;
        run(&mut admin, NOTES).await;
        match plan.mutant {
            Some(Mutant::LeaseCheckOff) => run(&mut admin, LEASE_CHECK_OFF).await,
            Some(Mutant::PoisonRuleOff) => run(&mut admin, POISON_RULE_OFF).await,
            Some(Mutant::EnqueueAfterCommit) | None => {}
        }
        let mut tenants = Vec::new();
        for slug in TENANTS {
            let tenant = test.tenant(&db, slug).await;
            let schema = SchemaName::from(tenant);
            let effects = format!(
                "CREATE TABLE {schema}.effects (job uuid, attempt int, at timestamptz DEFAULT clock_timestamp()); \
                 CREATE INDEX ON {schema}.effects (job); GRANT SELECT, INSERT ON {schema}.effects TO {schema};"
            );
            run(&mut admin, &effects).await;
            tenants.push(tenant);
        }
        let env = test
            .settings()
            .into_iter()
            .chain(plan.settings())
            .chain([worker::part()])
            .collect();
        Self { test, tenants, db, env }
    }

    /// A worker process; every one has the same arguments and environment.
    pub(crate) async fn worker(&self) -> Server {
        let program = std::env::current_exe().unwrap();
        Server::start(program.to_str().unwrap(), &self.env).await
    }

    /// Another hold on the same database, for a task beside.
    pub(crate) fn feeder(&self) -> Feeder {
        Feeder {
            db: self.db.clone(),
            tenants: self.tenants.clone(),
            n: 0,
        }
    }

    pub(crate) async fn admin(&self) -> PgConnection {
        self.test.connect("postgres").await
    }

    /// One number from the database.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let mut admin = self.admin().await;
        let number = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut admin)
            .await
            .unwrap();
        admin.close().await.unwrap();
        number
    }

    /// The longest time, zero where there is none; `sql` gives seconds.
    pub(crate) async fn longest(&self, sql: &str) -> Duration {
        let sql = format!("SELECT coalesce(max(secs), 0)::float8 FROM ({sql}) AS times (secs)");
        let mut admin = self.admin().await;
        let secs: f64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut admin)
            .await
            .unwrap();
        Duration::from_secs_f64(secs.max(0.0))
    }

    /// Effects of all tenants, as a table to select from.
    pub(crate) fn effects(&self) -> String {
        let schemas = self.tenants.iter().map(|tenant| SchemaName::from(*tenant));
        let parts: Vec<_> = schemas
            .map(|schema| format!("SELECT job, attempt, at FROM {schema}.effects"))
            .collect();
        format!("({})", parts.join(" UNION ALL "))
    }

    pub(crate) async fn tally(&self) -> Tally {
        let sql = format!(
            "SELECT count(*), count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE n = 0), \
                    count(*) FILTER (WHERE n > 1) \
             FROM (SELECT j.state, count(e.job) AS n FROM control.jobs AS j LEFT JOIN {} AS e ON e.job = j.id \
                   WHERE j.kind = 'chaos.work' GROUP BY j.id) AS counted",
            self.effects()
        );
        let mut admin = self.admin().await;
        let (jobs, done, without_effect, with_several) =
            sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&mut admin).await.unwrap();
        Tally {
            jobs,
            done,
            without_effect,
            with_several,
        }
    }

    /// Waits until nothing is left to do, and holds every job to one effect. `n_acknowledged` were enqueued for sure.
    pub(crate) async fn settle(&self, report: &mut Report, n_acknowledged: usize, patience: Duration) {
        let open = "SELECT count(*) FROM control.jobs WHERE kind = 'chaos.work' AND state IN ('queued', 'running')";
        if !until(patience, async || self.number(open).await == 0).await {
            report.anomaly(format!("{} jobs are still open", self.number(open).await));
        }
        let tally = self.tally().await;
        report.checked(format!("{} jobs, one effect each", tally.jobs));
        report.none(tally.jobs - tally.done, "jobs are not done");
        report.none(tally.without_effect, "jobs have no effect");
        report.none(tally.with_several, "jobs have several effects");
        let n_lost = i64::try_from(n_acknowledged).unwrap() - tally.jobs;
        report.none(n_lost.max(0), "jobs that were enqueued are gone");
    }
}

/// Enqueues for one tenant after the other.
pub(crate) struct Feeder {
    db: Db,
    tenants: Vec<TenantId>,
    n: usize,
}

impl Feeder {
    pub(crate) async fn add(&mut self, job: &impl Job) -> Result<JobId, DbError> {
        self.n += 1;
        let mut tx = self.db.tenant(self.tenants[self.n % self.tenants.len()]).await?;
        let id = enqueue(&origin(), &mut tx, job).await?.unwrap();
        tx.commit().await?;
        Ok(id)
    }
}

fn origin() -> Origin {
    Origin {
        principal: "the nemesis".into(),
        request_id: "chaos".into(),
        traceparent: None,
        address: None,
        agent: None,
    }
}

/// Whether `condition` came true in time.
pub(crate) async fn until(patience: Duration, mut condition: impl AsyncFnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if condition().await {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Sends a signal by its name, such as `STOP`.
pub(crate) async fn signal(server: &Server, name: &str) {
    let pid = server.pid().to_string();
    let sent = Command::new("kill")
        .args([format!("-{name}"), pid])
        .status()
        .await
        .unwrap();
    assert!(sent.success());
}

/// Whether the process is gone, or would be had somebody asked for its status.
pub(crate) async fn has_ended(server: &Server) -> bool {
    let pid = server.pid().to_string();
    let asked = Command::new("ps")
        .args(["-o", "stat=", "-p", &pid])
        .output()
        .await
        .unwrap();
    let state = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    state.is_empty() || state.starts_with('Z')
}
