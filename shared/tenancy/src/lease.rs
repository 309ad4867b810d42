//! A connection away from its place, and how it is made fit to go back.

use std::time::{Duration, Instant};

use bulkhead_kernel::ids::TenantId;
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use tokio::{runtime::Handle, time::timeout};

use crate::{
    DbError, DbMeter,
    budget::Leave,
    message::Message,
    plans::{Phrase, Plans},
    retirement::Life,
    slots::Berth,
};

/// Leaves nothing of a transaction behind: cursors, settings, role, locks, subscriptions. `DISCARD ALL` would also drop
/// the prepared statements that the client believes in. It goes in one message with the end of the transaction, because
/// behind a transaction pooler the next message may reach another server process.
const RESET: &str = "CLOSE ALL; RESET ALL; RESET ROLE; SELECT pg_advisory_unlock_all(); UNLISTEN *";

/// The same where no statement is kept. sqlx then still names each one anew and never closes it, and behind a pooler
/// the next client on this server process would trip over the name.
const RESET_AND_FORGET: &str =
    "CLOSE ALL; RESET ALL; RESET ROLE; SELECT pg_advisory_unlock_all(); UNLISTEN *; DEALLOCATE ALL";

/// How long a rollback may take before the connection is thrown away instead.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection with what there is to know about it. Closed when dropped, and only then is its leave free.
pub(crate) struct Kept {
    connection: PgConnection,
    plans: Plans,
    pub(crate) life: Life,
    _leave: Leave,
}

impl Kept {
    /// A connection that was just made.
    pub(crate) fn new(connection: PgConnection, life: Life, leave: Leave) -> Self {
        Self {
            connection,
            plans: Plans::new(),
            life,
            _leave: leave,
        }
    }
}

/// What makes a connection that keeps so many statements fit for the next caller.
pub(crate) const fn reset_for(statement_cache: usize) -> &'static str {
    if statement_cache == 0 { RESET_AND_FORGET } else { RESET }
}

const HELD: &str = "a lease holds its connection until it is dropped";

/// A prepared statement is unknown, twice there, or would answer otherwise than it did.
const LOST_PLAN: [&str; 3] = ["26000", "42P05", "0A000"];

/// A connection held by one caller.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says something else of the connection, and any two go together"
)]
pub(crate) struct Lease {
    kept: Option<Kept>,
    berth: Option<Berth>,
    /// Whether an explicit transaction may be open on it.
    is_marked: bool,
    /// Whether nothing more can be said to the server on it, or is to be said after this caller.
    is_broken: bool,
    is_fresh: bool,
    /// Whether it is the connection that its key prefers.
    is_home: bool,
    /// Whether the last error was that a prepared statement is not what it was.
    has_lost_plan: bool,
    reset: &'static str,
    meter: Option<DbMeter>,
    since: Instant,
}

impl Lease {
    /// Takes the connection from its place.
    pub(crate) fn begin(kept: Kept, berth: Berth, is_fresh: bool, is_home: bool) -> Self {
        Self {
            is_marked: false,
            is_broken: false,
            is_fresh,
            is_home,
            has_lost_plan: false,
            reset: berth.reset(),
            kept: Some(kept),
            berth: Some(berth),
            meter: DbMeter::current(),
            since: Instant::now(),
        }
    }

    /// Opens a transaction by a message that begins with `BEGIN`; marked before the message leaves.
    pub(crate) async fn begin_transaction(&mut self, message: String) -> Result<(), DbError> {
        self.is_marked = true;
        self.run(message).await
    }

    /// Whether the failure may only mean that the connection had died of age while it lay idle.
    pub(crate) const fn is_worth_another_try(&self) -> bool {
        self.is_broken && !self.is_fresh
    }

    /// Commits and resets in one message. `SET CONSTRAINTS` fails in a transaction that an earlier error has spoilt,
    /// where a bare `COMMIT` would quietly roll back.
    pub(crate) async fn commit(mut self) -> Result<(), DbError> {
        let reset = self.reset;
        self.run(format!("SET CONSTRAINTS ALL IMMEDIATE; COMMIT; {reset}"))
            .await?;
        self.is_marked = false;
        Ok(())
    }

    async fn run(&mut self, message: String) -> Result<(), DbError> {
        let result = self.conn().execute(sqlx::raw_sql(AssertSqlSafe(message))).await;
        result.map(|_| ()).map_err(|error| self.classify(error))
    }

    /// Sorts an error and remembers whether the connection survived it.
    pub(crate) fn classify(&mut self, error: sqlx::Error) -> DbError {
        self.is_broken |= match &error {
            sqlx::Error::Database(cause) => {
                let code = cause.code().unwrap_or_default();
                self.has_lost_plan = LOST_PLAN.contains(&&*code);
                code.starts_with("57P")
            }
            _ => true,
        };
        error.into()
    }

    /// The message as this connection has it sent: what it plans anew each time only where it will hardly come again.
    pub(crate) fn phrase(&mut self, tenant: TenantId, enter: &str, message: &Message) -> Phrase {
        let capacity = self.berth.as_ref().map_or(0, |berth| berth.policy().capacity());
        let plans = &mut self.kept.as_mut().expect(HELD).plans;
        // A message that has spilled over here will be at home elsewhere.
        plans.phrase(if self.is_home { capacity } else { 0 }, tenant, enter, message)
    }

    /// The phrase was answered.
    pub(crate) fn settle(&mut self) {
        let plans = &mut self.kept.as_mut().expect(HELD).plans;
        plans.settle();
        self.is_broken |= plans.is_littered();
    }

    /// Whether it failed for want of what was prepared before; then the connection goes, and another try is right.
    pub(crate) fn gives_up_plans(&mut self) -> bool {
        if let Some(berth) = &self.berth
            && self.has_lost_plan
        {
            berth.policy().miss();
            self.is_broken = true;
        }
        self.has_lost_plan
    }

    /// Has the connection closed instead of handed on.
    pub(crate) const fn retire(&mut self) {
        self.is_broken = true;
    }

    /// The connection for a COPY, and the mark that it is broken: set, until the caller knows that the COPY has ended and
    /// takes it off. sqlx would take what is left of a COPY for the answer to the next statement.
    pub(crate) fn for_copy(&mut self) -> (&mut PgConnection, &mut bool) {
        self.conn();
        self.is_broken = true;
        let kept = self.kept.as_mut();
        (&mut kept.expect(HELD).connection, &mut self.is_broken)
    }

    /// The connection.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        if let Some(meter) = &self.meter {
            meter.count_query();
        }
        let kept = self.kept.as_mut();
        &mut kept.expect(HELD).connection
    }

    /// The connection is about to see a tenant that was not its key.
    pub(crate) fn meet(&mut self, tenant: u64) {
        if let (Some(kept), Some(berth)) = (&mut self.kept, &self.berth) {
            berth.note(&mut kept.life, Some(tenant));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(meter) = &self.meter {
            meter.add_held(self.since.elapsed());
        }
        let (Some(kept), Some(berth)) = (self.kept.take(), self.berth.take()) else {
            return;
        };
        if self.is_broken {
            return;
        }
        if !self.is_marked {
            berth.park(kept);
        } else if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(roll_back(kept, berth, self.reset));
        }
    }
}

/// Makes a marked connection fit for the next caller, or drops it; its berth stays taken meanwhile.
async fn roll_back(mut kept: Kept, berth: Berth, reset: &str) {
    let message = AssertSqlSafe(format!("ROLLBACK; {reset}"));
    match timeout(ROLLBACK_TIMEOUT, kept.connection.execute(sqlx::raw_sql(message))).await {
        Ok(Ok(_)) => berth.park(kept),
        Ok(Err(error)) => tracing::debug!(error = &error as &dyn std::error::Error, "a rollback failed"),
        Err(_) => tracing::warn!("a rollback took too long; its connection is closed"),
    }
}
