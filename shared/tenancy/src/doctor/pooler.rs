//! What lies between us and the server. A pooler does not say what it is to those it serves, so most of this is inferred
//! from which server process answers whom; the report names the evidence.

use std::time::Duration;

use bulkhead_kernel::config;
use sqlx::{Connection, Executor, PgConnection, Row, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::report::{Check, told};
use crate::{Db, DbError};

/// A few looks, in case somebody else takes the server process that we wait for.
const LOOKS: usize = 20;

const PATIENCE: Duration = Duration::from_secs(5);

/// A notification through a connection that can listen takes a millisecond.
const NOTICE: Duration = Duration::from_secs(2);

const CHANNEL: &str = "bulkhead_doctor";

/// When a server connection belongs to which client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// No pooler was noticed.
    Direct,
    /// To one client until it goes.
    Session,
    /// To one client for a transaction.
    Transaction,
    /// To one client for a statement; transactions of several are refused.
    Statement,
}

impl Mode {
    /// As it is reported.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Session => "session",
            Self::Transaction => "transaction",
            Self::Statement => "statement",
        }
    }

    /// Whether clients meet on server connections while they are connected.
    pub(super) const fn is_shared(self) -> bool {
        matches!(self, Self::Transaction | Self::Statement)
    }

    /// How many clients it takes to examine it.
    pub(super) const fn clients(self) -> usize {
        if self.is_shared() { 2 } else { 1 }
    }
}

/// The pooler as far as it shows.
#[derive(Debug, Clone)]
pub struct Pooler {
    /// Its name where it gave itself away; `None` also where there is none.
    pub software: Option<&'static str>,
    /// As it says; only to those who may look at its statistics.
    pub version: Option<String>,
    /// How it shares.
    pub mode: Mode,
    /// Whether a statement can be prepared in one transaction and used in the next.
    pub is_prepared_known: bool,
    /// How many prepared statements the settings keep for each connection.
    pub statement_cache: usize,
    /// What the above was inferred from, in sentences.
    pub evidence: Vec<String>,
}

impl Pooler {
    /// As people call it, such as `PgBouncer in transaction mode`.
    #[must_use]
    pub fn describe(&self) -> String {
        let version = self
            .version
            .as_deref()
            .map(|version| format!(" {version}"))
            .unwrap_or_default();
        match (self.software, self.mode) {
            (None, Mode::Direct) => "a direct connection".to_owned(),
            (Some(name), Mode::Direct) => format!("{name}{version}, whose mode did not show"),
            (name, mode) => format!(
                "{}{version} in {} mode",
                name.unwrap_or("an unknown pooler"),
                mode.as_str()
            ),
        }
    }
}

/// Looks at what answers behind `tenant_url`.
pub(super) async fn look(settings: &config::Database) -> Result<Pooler, DbError> {
    let options: PgConnectOptions = settings.tenant_url.expose().parse()?;
    let options = options.application_name("bulkhead doctor");
    let mut pooler = Pooler {
        software: None,
        version: None,
        mode: Mode::Direct,
        is_prepared_known: true,
        statement_cache: settings.statement_cache,
        evidence: Vec::new(),
    };
    let mut first = connect(&options).await?;
    ask_for_a_name(&options, &mut pooler).await;
    find_mode(&options, &mut first, &mut pooler).await?;
    if pooler.mode == Mode::Transaction {
        pooler.is_prepared_known = find_prepared(&mut first, &mut pooler).await?;
    }
    Ok(pooler)
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, DbError> {
    let connected = timeout(PATIENCE, PgConnection::connect_with(options)).await;
    let connected = connected.unwrap_or(Err(sqlx::Error::PoolTimedOut));
    connected.map_err(|error| DbError::Unavailable(Some(error)))
}

/// Two things PostgreSQL itself would answer in another way: a start-up parameter of ours, and the pooler's console.
async fn ask_for_a_name(options: &PgConnectOptions, pooler: &mut Pooler) {
    if let Err(DbError::Unavailable(Some(error))) = connect(&options.clone().options([("bulkhead.doctor", "1")])).await
        && error.to_string().contains("unsupported startup parameter")
    {
        pooler.software = Some("PgBouncer");
        pooler
            .evidence
            .push(format!("It refuses start-up parameters as PgBouncer does ({error})."));
    }
    match connect(&options.clone().database("pgbouncer").statement_cache_capacity(0)).await {
        Ok(mut console) => {
            if let Ok(Ok(row)) = timeout(PATIENCE, console.fetch_one("SHOW VERSION")).await {
                let said: String = row.try_get(0).unwrap_or_default();
                if let Some(version) = said.strip_prefix("PgBouncer ") {
                    pooler.software = Some("PgBouncer");
                    pooler.version = Some(version.to_owned());
                    pooler.evidence.push(format!("Its console says {said}."));
                }
            }
        }
        Err(DbError::Unavailable(Some(error))) if error.to_string().contains("not allowed") => {
            pooler.software = Some("PgBouncer");
            pooler
                .evidence
                .push("It has a console that is not for this login; its version stays unknown.".to_owned());
        }
        Err(_) => {}
    }
}

async fn find_mode(options: &PgConnectOptions, first: &mut PgConnection, pooler: &mut Pooler) -> Result<(), DbError> {
    let mut second = connect(options).await?;
    for _ in 0..LOOKS {
        let before = backend(first).await?;
        if let Err(error) = second.execute("BEGIN").await {
            if !error.to_string().contains("statement pooling") {
                return Err(error.into());
            }
            pooler.mode = Mode::Statement;
            pooler
                .evidence
                .push(format!("A transaction of several statements was refused ({error})."));
            return Ok(());
        }
        let other = backend(&mut second).await?;
        let after = backend(first).await?;
        second.execute("ROLLBACK").await?;
        if other == before || after != before {
            pooler.mode = Mode::Transaction;
            let sentence = if other == before {
                "Two clients that were connected at one time were served by one server process."
            } else {
                "One client was served by two server processes."
            };
            pooler.evidence.push(sentence.to_owned());
            return Ok(());
        }
    }
    pooler.evidence.push(format!(
        "Each of two clients kept a server process of its own, {LOOKS} times."
    ));
    for _ in 0..LOOKS {
        second.close().await?;
        let asked = first.fetch_one("SELECT pg_catalog.clock_timestamp()::text").await?;
        let asked: String = asked.try_get(0)?;
        second = connect(options).await?;
        let is_older = sqlx::query_scalar!(
            r#"
            SELECT a.backend_start < $1::text::timestamptz AS "is_older!"
            FROM pg_catalog.pg_stat_activity AS a
            WHERE a.pid = pg_catalog.pg_backend_pid()
            "#,
            asked,
        )
        .fetch_one(&mut second)
        .await?;
        if is_older {
            pooler.mode = Mode::Session;
            let sentence = "A new client was given a server process older than itself.";
            pooler.evidence.push(sentence.to_owned());
            return Ok(());
        }
    }
    let sentence = "Every new client got a new server process: either there is no pooler, or one that keeps none.";
    pooler.evidence.push(sentence.to_owned());
    Ok(())
}

async fn backend(connection: &mut PgConnection) -> Result<i32, DbError> {
    let row = connection.fetch_one("SELECT pg_catalog.pg_backend_pid()").await?;
    Ok(row.try_get(0)?)
}

/// A pooler that knows prepared statements gives them names of its own. One that does not passes ours on, and they meet
/// those of other clients. Nothing of it is left: the statement goes in the message that ends the transaction.
async fn find_prepared(connection: &mut PgConnection, pooler: &mut Pooler) -> Result<bool, DbError> {
    connection.execute("BEGIN; DEALLOCATE ALL").await?;
    let names = sqlx::query_scalar!(
        r#"SELECT name AS "name!" FROM pg_catalog.pg_prepared_statements WHERE $1"#,
        true
    )
    .fetch_all(&mut *connection)
    .await?;
    connection.execute("COMMIT; DEALLOCATE ALL").await?;
    let is_known = !names.iter().any(|name| name.starts_with("sqlx"));
    pooler.evidence.push(if is_known {
        format!("It gives prepared statements names of its own ({}).", names.join(", "))
    } else {
        "It passes the names of prepared statements on as they are, to server processes that many clients share."
            .to_owned()
    });
    Ok(is_known)
}

pub(super) fn mode_check(pooler: &Pooler) -> Check {
    let detail = format!("Behind tenant_url is {}.", pooler.describe());
    Check::of("pooler_mode", pooler.mode != Mode::Statement, detail)
        .or("Bulkhead works in transactions: set the pooler to transaction mode.")
}

pub(super) fn prepared_check(pooler: &Pooler) -> Check {
    let kept = pooler.statement_cache;
    let is_good = pooler.is_prepared_known || kept == 0;
    let detail = match (pooler.is_prepared_known, kept) {
        (true, 0) => "Prepared statements work here, and the product does not keep them.".to_owned(),
        (true, _) => format!("Prepared statements work here; each connection keeps up to {kept}."),
        (false, 0) => "The pooler does not know prepared statements, and the product keeps none.".to_owned(),
        (false, _) => format!("The pooler does not know prepared statements, and the product keeps up to {kept}."),
    };
    Check::of("prepared_statements", is_good, detail)
        .or("Set database.statement_cache = 0, or let the pooler track prepared statements (PgBouncer 1.21: max_prepared_statements).")
}

/// Whether a notification arrives where workers listen.
pub(super) async fn notifications(db: &Db) -> Check {
    let arrived = timeout(NOTICE, async {
        let mut listener = db.listen(CHANNEL).await?;
        let mut tx = db.control().await?;
        sqlx::query_scalar!(r#"SELECT pg_catalog.pg_notify($1, '')::text AS "sent""#, CHANNEL)
            .fetch_one(tx.conn())
            .await?;
        tx.commit().await?;
        listener.recv().await?;
        Ok::<_, DbError>(())
    });
    let (is_good, detail) = match arrived.await {
        Ok(Ok(())) => (true, "A notification arrived where workers listen.".to_owned()),
        Ok(Err(error)) => (false, format!("Nobody can listen: {}.", told(&error))),
        Err(_) => (
            false,
            "No notification arrived: workers find their jobs by polling.".to_owned(),
        ),
    };
    Check::noted("notifications", is_good, detail)
        .or("Set database.direct_url to a URL of the control role that goes past the pooler.")
}
