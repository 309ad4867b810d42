//! The interleaving of two tenants.

use std::{collections::HashMap, time::Duration};

use bulkhead_kernel::ids::TenantId;
use sqlx::{AssertSqlSafe, Executor};
use tokio::time::{Instant, timeout};

use super::{
    canaries::Canaries,
    report::{Check, Report, Rounds, told},
    trace::{self, Look},
};
use crate::{Db, DbError, Message, SchemaName, TenantTx};

/// So much of one kind is told in words; the rest is counted.
const TOLD: usize = 5;

/// With so much wrong there is no need to go on.
const ENOUGH: usize = 50;

/// The most rows a canary gathers.
const FLOCK: i64 = 16;

const KEEP_EVERY: Duration = Duration::from_secs(10);

/// What is done inside a tenant.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// One message, one implicit transaction.
    Read,
    /// A write that is committed.
    Write,
    /// A write and then a failing statement; nobody ends the transaction.
    Fail,
    /// The same, and somebody tries to commit it.
    CommitFailed,
    /// A write that is dropped half-way.
    Drop,
    /// A transaction whose caller goes away at any moment.
    CancelWrite,
    /// A read whose caller goes away at any moment.
    CancelRead,
    /// Settings for the session, and a commit.
    Litter,
    /// A lock for the session, and a commit.
    Lock,
}

const ACTS: [Act; 9] = [
    Act::Read,
    Act::Write,
    Act::Fail,
    Act::CommitFailed,
    Act::Drop,
    Act::CancelWrite,
    Act::CancelRead,
    Act::Litter,
    Act::Lock,
];

/// Where a finding counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Matter {
    Rows,
    Place,
    Traces,
    Undone,
    Dates,
    Errors,
}

/// An examination under way.
pub(super) struct Exam<'a> {
    clients: Vec<Db>,
    canaries: &'a Canaries,
    /// The rows each tenant should have.
    rows: [i64; 2],
    /// Which tenant a server process served last.
    last_on: HashMap<i32, usize>,
    found: HashMap<Matter, Vec<String>>,
    counts: Rounds,
}

impl<'a> Exam<'a> {
    pub(super) fn new(clients: Vec<Db>, canaries: &'a Canaries) -> Self {
        Self {
            clients,
            canaries,
            rows: [1, 1],
            last_on: HashMap::new(),
            found: HashMap::new(),
            counts: Rounds::default(),
        }
    }

    /// Goes on until all rounds are done, the time is over, or enough is wrong.
    pub(super) async fn run(&mut self, rounds: u32, ends: Instant) {
        let mut kept = Instant::now();
        for round in 0..rounds {
            if Instant::now() > ends || self.found.values().map(Vec::len).sum::<usize>() >= ENOUGH {
                break;
            }
            if kept.elapsed() > KEEP_EVERY {
                if let Err(error) = self.canaries.keep().await {
                    self.find(Matter::Errors, told(&error));
                    break;
                }
                kept = Instant::now();
            }
            for tenant in 0..2 {
                self.visit(round, tenant).await;
            }
            self.counts.done += 1;
        }
    }

    /// One act in one tenant, and a search of what it left. Clients change sides, so that each enters both tenants.
    async fn visit(&mut self, round: u32, tenant: usize) {
        let turn = usize::try_from(round).unwrap_or_default();
        // Both tenants do the same in one round and in another order than in the next.
        let act = ACTS[(turn + 4 * tenant * (turn % 2)) % ACTS.len()];
        let db = self.clients[(tenant + turn / ACTS.len()) % self.clients.len()].clone();
        let patience = Duration::from_micros(u64::from(round) * 37 % 1_500);
        if let Err(error) = self.act(act, &db, tenant, patience).await {
            self.find(Matter::Errors, format!("{act:?} in tenant {tenant}: {}", told(&error)));
        }
        match trace::search(&db).await {
            Ok(traces) => {
                self.counts.searches += 1;
                for left in traces.left {
                    let text = format!("{left}, after {act:?} on process {}", traces.backend);
                    self.find(Matter::Traces, text);
                }
                if let Some(dates) = traces.dates {
                    self.find(Matter::Dates, dates);
                }
            }
            Err(error) => self.find(Matter::Errors, format!("searching after {act:?}: {}", told(&error))),
        }
    }

    async fn act(&mut self, act: Act, db: &Db, tenant: usize, patience: Duration) -> Result<(), DbError> {
        let id = self.canaries.pair[tenant];
        match act {
            Act::Read => self.read(db, tenant).await?,
            Act::CancelRead => {
                let _ = timeout(patience, db.read(id, &look_message(id))).await;
            }
            Act::CancelWrite => {
                let _ = timeout(patience, async {
                    let mut tx = db.tenant(id).await?;
                    add_canary(&mut tx).await?;
                    // Never committed, so that nobody has to guess whether it was.
                    look(&mut tx).await
                })
                .await;
            }
            Act::Write => {
                let mut tx = self.enter(db, tenant).await?;
                let rows = self.write(&mut tx, tenant).await?;
                tx.commit().await?;
                self.rows[tenant] = rows;
            }
            Act::Drop => {
                let mut tx = self.enter(db, tenant).await?;
                add_canary(&mut tx).await?;
            }
            Act::Fail => {
                let mut tx = self.enter(db, tenant).await?;
                spoil(&mut tx).await?;
            }
            Act::CommitFailed => {
                let mut tx = self.enter(db, tenant).await?;
                spoil(&mut tx).await?;
                if tx.commit().await.is_ok() {
                    self.find(Matter::Undone, "a transaction that had failed was committed".to_owned());
                }
            }
            Act::Litter => {
                let mut tx = self.enter(db, tenant).await?;
                let schema = SchemaName::from(id);
                let litter =
                    format!("SET bulkhead.canary = '{schema}'; SET search_path = {schema}; SET work_mem = '1MB'");
                tx.conn().execute(sqlx::raw_sql(AssertSqlSafe(litter))).await?;
                tx.commit().await?;
            }
            Act::Lock => {
                let mut tx = self.enter(db, tenant).await?;
                let lock = format!(
                    "SELECT pg_catalog.pg_advisory_lock({})",
                    tx.tenant().uuid().as_u64_pair().1 >> 1
                );
                // A server on which tenants may not lock at all is a safe one too.
                if tx.conn().execute(sqlx::raw_sql(AssertSqlSafe(lock))).await.is_ok() {
                    tx.commit().await?;
                }
            }
        }
        Ok(())
    }

    async fn read(&mut self, db: &Db, tenant: usize) -> Result<(), DbError> {
        let id = self.canaries.pair[tenant];
        let results = db.read(id, &look_message(id)).await?;
        let row = results.first().and_then(|rows| rows.first());
        let look = Look::try_from(row.ok_or(sqlx::Error::RowNotFound)?)?;
        self.judge(&look, tenant);
        Ok(())
    }

    async fn enter(&mut self, db: &Db, tenant: usize) -> Result<TenantTx, DbError> {
        let mut tx = db.tenant(self.canaries.pair[tenant]).await?;
        let look = look(&mut tx).await?;
        self.judge(&look, tenant);
        Ok(tx)
    }

    /// Adds a row, or takes all but the first away; gives how many there are then.
    async fn write(&mut self, tx: &mut TenantTx, tenant: usize) -> Result<i64, DbError> {
        let rows = self.rows[tenant];
        if rows < FLOCK {
            add_canary(tx).await?;
            return Ok(rows + 1);
        }
        let done = sqlx::query!("DELETE FROM roles WHERE NOT is_system")
            .execute(tx.conn())
            .await?;
        if i64::try_from(done.rows_affected()) != Ok(rows - 1) {
            let text = format!(
                "tenant {tenant} deleted {} rows where it had {}",
                done.rows_affected(),
                rows - 1
            );
            self.find(Matter::Rows, text);
        }
        Ok(1)
    }

    fn judge(&mut self, look: &Look, tenant: usize) {
        self.counts.entries += 1;
        let expected = SchemaName::from(self.canaries.pair[tenant]).to_string();
        if self
            .last_on
            .insert(look.backend, tenant)
            .is_some_and(|last| last != tenant)
        {
            self.counts.meetings += 1;
        }
        if look.who != expected || look.schema.as_deref() != Some(expected.as_str()) {
            let schema = look.schema.as_deref().unwrap_or("none");
            let text = format!("as {} in schema {schema} where {expected} was entered", look.who);
            self.find(Matter::Place, text);
        }
        if look.foreign > 0 {
            let text = format!("{} rows of another tenant were seen in {expected}", look.foreign);
            self.find(Matter::Rows, text);
        }
        if look.own != self.rows[tenant] {
            let text = format!(
                "{expected} has {} rows, and committed were {}",
                look.own, self.rows[tenant]
            );
            self.find(Matter::Undone, text);
        }
    }

    fn find(&mut self, matter: Matter, text: String) {
        self.found.entry(matter).or_default().push(text);
    }

    /// Adds what was found to the report.
    pub(super) fn conclude(mut self, is_pooled: bool, report: &mut Report) {
        report.rounds = self.counts;
        let counts = self.counts;
        let met = format!(
            "{} of {} entries were on a server process that the other tenant had left last.",
            counts.meetings, counts.entries
        );
        let mut check = Check::of("shared_process", counts.meetings > 0, met);
        if is_pooled {
            check = check.or("The pooler never gave one server process to both: nothing was proved. Try more rounds.");
        }
        report.add(check);
        let good = [
            (
                Matter::Rows,
                "own_rows_only",
                "No tenant saw or changed a row of the other.",
            ),
            (
                Matter::Place,
                "own_role_and_schema",
                "Every entry took the tenant's own role and schema.",
            ),
            (
                Matter::Traces,
                "nothing_left",
                "No role, setting, lock, subscription, cursor or temporary object was left.",
            ),
            (
                Matter::Undone,
                "undone_is_undone",
                "What failed, was dropped or was cancelled left no row.",
            ),
            (Matter::Dates, "dates_are_readable", "Dates are written in ISO style."),
            (Matter::Errors, "no_other_error", "Every act came to its expected end."),
        ];
        for (matter, name, sentence) in good {
            let found = self.found.remove(&matter).unwrap_or_default();
            report.add(Check::of(name, found.is_empty(), summary(sentence, &found)));
        }
    }
}

fn summary(sentence: &str, found: &[String]) -> String {
    if found.is_empty() {
        return sentence.to_owned();
    }
    let told = found.iter().take(TOLD).cloned().collect::<Vec<_>>().join("; ");
    match found.len().checked_sub(TOLD) {
        None | Some(0) => format!("{told}."),
        Some(more) => format!("{told}; and {more} more."),
    }
}

/// The same look as [`look`], as one message without parameters.
fn look_message(tenant: TenantId) -> Message {
    Message::new()
        .sql(
            "SELECT pg_backend_pid() AS backend, current_user::text AS who, current_schema()::text AS schema, \
             count(*) FILTER (WHERE description = (",
        )
        .uuid(tenant.uuid())
        .sql(")::text) AS own, count(*) FILTER (WHERE description <> (")
        .uuid(tenant.uuid())
        .sql(")::text) AS foreign FROM roles")
}

async fn look(tx: &mut TenantTx) -> Result<Look, DbError> {
    let own = tx.tenant().uuid().to_string();
    let seen = sqlx::query_as!(
        Look,
        r#"
        SELECT pg_backend_pid() AS "backend!", current_user::text AS "who!", current_schema()::text AS "schema",
               count(*) FILTER (WHERE description = $1) AS "own!", count(*) FILTER (WHERE description <> $1) AS "foreign!"
        FROM roles
        "#,
        own,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(seen)
}

async fn add_canary(tx: &mut TenantTx) -> Result<(), DbError> {
    let own = tx.tenant().uuid().to_string();
    sqlx::query!(
        r#"
        INSERT INTO roles (id, name, description, is_system)
        VALUES (gen_random_uuid(), 'canary ' || gen_random_uuid(), $1, false)
        "#,
        own,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// A write and then an error, which the transaction does not survive.
async fn spoil(tx: &mut TenantTx) -> Result<(), DbError> {
    add_canary(tx).await?;
    match tx.conn().execute("SELECT 1 / 0").await {
        Err(sqlx::Error::Database(_)) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Err(sqlx::Error::Protocol("a division by zero did not fail".to_owned()).into()),
    }
}
