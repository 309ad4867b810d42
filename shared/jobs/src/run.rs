//! What a handler is given besides its payload.

use bulkhead_kernel::{
    clock::Clock,
    ids::{JobId, LeaseToken, TenantId},
    origin::Origin,
};
use bulkhead_tenancy::{ControlTx, Db, DbError, OwnerTx, TenantTx};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::store;

/// One attempt at one job. Effects belong in a transaction that [`Run::commit`] ends, or that calls one of the `hold`
/// functions last before its own commit: then they happen only while this attempt still holds the job.
#[derive(Clone)]
pub struct Run {
    /// The job.
    pub job: JobId,
    /// The name of its type.
    pub kind: &'static str,
    /// Counts from 1.
    pub attempt: u16,
    /// Whether no attempt follows this one.
    pub is_last_attempt: bool,
    /// Who caused it, to be handed on to whatever the handler causes.
    pub origin: Origin,
    /// Whose work it is; `None` is the platform's own.
    pub tenant: Option<TenantId>,
    /// The time.
    pub clock: Clock,
    /// Cancelled when the job is to end: somebody asked for it, or its deadline has passed. A handler that leaves things
    /// behind looks at it and cleans up; one that does not is dropped a little later.
    pub cancelled: CancellationToken,
    pub(crate) is_visible: bool,
    pub(crate) db: Db,
    pub(crate) token: LeaseToken,
}

/// How much a line of a job's log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// It goes as it should.
    Info,
    /// Something was left out or done differently.
    Warn,
    /// Something could not be done.
    Error,
}

impl LogLevel {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// Characters of one line of a log.
const MAX_LINE: usize = 2_000;

impl Run {
    /// A transaction inside the tenant of the job. A job of the platform has none and gets
    /// [`DbError::TenantNotFound`].
    pub async fn tenant_tx(&self) -> Result<TenantTx, DbError> {
        let tenant = self.tenant.ok_or(DbError::TenantNotFound)?;
        self.db.tenant(tenant).await
    }

    /// Commits, unless another attempt has the job by now: then [`DbError::LeaseLost`], and `tx` is undone.
    pub async fn commit(&self, mut tx: TenantTx) -> Result<(), DbError> {
        self.hold(&mut tx).await?;
        tx.commit().await
    }

    /// Keeps the job's lease until `tx` ends; [`DbError::LeaseLost`] when another attempt has it by now. Called last,
    /// since the job cannot be finished or given away meanwhile.
    pub async fn hold(&self, tx: &mut TenantTx) -> Result<(), DbError> {
        store::hold(tx.conn(), self.job, self.token).await
    }

    /// Tells the tenant how far it is, at once and outside of any transaction. Units are the handler's own.
    /// [`DbError::LeaseLost`] when another attempt has the job by now.
    pub async fn progress(&self, done: u64, total: Option<u64>) -> Result<(), DbError> {
        let total = total.map(|total| i64::try_from(total).unwrap_or(i64::MAX));
        let mut tx = self.db.control().await?;
        let done = i64::try_from(done).unwrap_or(i64::MAX);
        store::note_progress(tx.conn(), self.job, self.token, done, total).await?;
        tx.commit().await
    }

    /// Adds a line to the log that the tenant reads, at once and outside of any transaction: 2,000 characters at most, and
    /// no more lines once the job has 1,000 events. Nothing happens where the job is not visible.
    pub async fn log(&self, level: LogLevel, message: &str) -> Result<(), DbError> {
        if !self.is_visible {
            return Ok(());
        }
        let message: String = message.chars().filter(|c| *c != '\0').take(MAX_LINE).collect();
        let mut tx = self.db.control().await?;
        store::log(tx.conn(), self.job, self.token, level.as_str(), &message).await?;
        tx.commit().await
    }

    /// [`Run::commit`] with what the job came to, 64 KiB of JSON at most; more is refused by the database.
    pub async fn commit_with(&self, mut tx: TenantTx, result: &Value) -> Result<(), DbError> {
        store::set_result(tx.conn(), self.job, self.token, result).await?;
        tx.commit().await
    }

    /// [`Run::hold`] for a transaction on the shared schema.
    pub async fn hold_control(&self, tx: &mut ControlTx) -> Result<(), DbError> {
        store::hold(tx.conn(), self.job, self.token).await
    }

    /// [`Run::hold`] for a transaction of the provisioner.
    pub async fn hold_owner(&self, tx: &mut OwnerTx) -> Result<(), DbError> {
        store::hold(tx.conn(), self.job, self.token).await
    }

    /// The database, for work outside the tenant of the job.
    #[must_use]
    pub const fn db(&self) -> &Db {
        &self.db
    }
}
