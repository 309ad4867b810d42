//! Proves on the deployed database, through the deployed pooler, that one tenant never sees another.
//!
//! Two throw-away tenants are built by the product's own steps, entered through the product's own doors on one server
//! process, and interleaved with everything that goes wrong in life: failed statements, aborted, dropped and cancelled
//! transactions, and settings or locks that a transaction leaves lying about. Canary rows carry the id of their tenant,
//! so a single foreign one is seen.

mod canaries;
mod database;
mod pooler;
mod report;
mod rounds;
mod trace;

use std::time::Duration;

use bulkhead_kernel::{
    config,
    fault::{Code, Fault},
};
use tokio::time::Instant;

use crate::{Db, DbError};
use canaries::Canaries;
use rounds::Exam;

pub use canaries::SLUG_PREFIX;
pub use pooler::{Mode, Pooler};
pub use report::{Check, Report, Rounds, Verdict};

/// What is asked of an examination.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// How often both tenants are visited, each time in another way.
    pub rounds: u32,
    /// When to stop before that; the report tells how far it came.
    pub budget: Duration,
}

/// Why there is no report. What is found wrong stands in a report instead.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// Two examinations would take each other's tenants away.
    #[error("an examination is already under way")]
    Busy,
    /// The tenants could not be made, or the database went away.
    #[error("the examination could not be carried out")]
    Database(#[from] DbError),
    /// A mistake of ours.
    #[error("the examination broke off")]
    BrokeOff,
}

impl Fault for DoctorError {
    fn code(&self) -> Code {
        match self {
            Self::Busy => Code::DoctorBusy,
            Self::Database(source) => source.code(),
            Self::BrokeOff => Code::Internal,
        }
    }
}

/// Examines the isolation of tenants. The work goes on to its end, and clears up, even if nobody waits for the report.
pub async fn isolation(db: &Db, order: Order) -> Result<Report, DoctorError> {
    let settings = db.settings().clone();
    let examined = tokio::spawn(async move { examine(&settings, order).await });
    examined.await.unwrap_or(Err(DoctorError::BrokeOff))
}

async fn examine(settings: &config::Database, order: Order) -> Result<Report, DoctorError> {
    let ends = Instant::now() + order.budget;
    let pooler = pooler::look(settings).await?;
    let mut report = Report::new(pooler);
    // Beside the served connections, and one at a time: two tenants on one client connection share a server process
    // unless a pooler comes between, and behind one two clients meet on its server connections.
    let narrow = narrowed(settings, &report.pooler);
    let clients = report.pooler.mode.clients();
    let clients = (0..clients).map(|_| Db::new(&narrow)).collect::<Result<Vec<_>, _>>()?;
    let canaries = Canaries::make(&clients[0]).await?;
    let examined = with_canaries(&mut report, clients, &canaries, order.rounds, ends).await;
    let removed = canaries.remove().await;
    examined?;
    report.add(report::removal(&removed));
    Ok(report)
}

async fn with_canaries(
    report: &mut Report,
    clients: Vec<Db>,
    canaries: &Canaries,
    rounds: u32,
    ends: Instant,
) -> Result<(), DbError> {
    let db = clients[0].clone();
    report.add(pooler::mode_check(&report.pooler));
    report.server_version = database::server_version(&db).await?;
    report.add(database::walls(&db, canaries.pair).await?);
    if report.pooler.mode == Mode::Statement {
        return Ok(());
    }
    let mut exam = Exam::new(clients, canaries);
    exam.run(rounds, ends).await;
    let is_pooled = report.pooler.mode.is_shared();
    exam.conclude(is_pooled, report);
    report.add(pooler::prepared_check(&report.pooler));
    report.add(pooler::notifications(&db).await);
    for check in database::standing(&db).await? {
        report.add(check);
    }
    Ok(())
}

/// The settings of the examination's own connections. Where the pooler does not know prepared statements and the product
/// is not told so, the report says it; isolation is examined all the same.
fn narrowed(settings: &config::Database, pooler: &Pooler) -> config::Database {
    config::Database {
        owner_connections: 2,
        control_connections: 1,
        tenant_connections: 1,
        acquire_timeout: settings.acquire_timeout.max(Duration::from_secs(5)),
        statement_cache: if pooler.is_prepared_known {
            settings.statement_cache
        } else {
            0
        },
        ..settings.clone()
    }
}
