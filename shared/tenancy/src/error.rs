//! What can go wrong between us and the database.

use bulkhead_kernel::fault::{Code, Fault};

use crate::DbMeter;

/// A failure of the database, or its refusal to let us into a tenant.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// No connection could be had in time, or the one we had is gone.
    #[error("the database does not answer")]
    Unavailable(#[source] Option<sqlx::Error>),
    /// There is no such tenant.
    #[error("unknown tenant")]
    TenantNotFound,
    /// The tenant is pending, suspended or being deleted.
    #[error("the tenant is not active")]
    TenantNotActive,
    /// The tenant is suspended to read-only and something was to be written.
    #[error("the tenant is read-only")]
    TenantReadOnly,
    /// The tenant is being moved to another cluster and something was to be written; it soon can be.
    #[error("the tenant is being moved")]
    TenantMoving,
    /// The tenant lives in a cluster that the settings of this process lack.
    #[error("the tenant's cluster is not among the settings")]
    ClusterUnknown,
    /// The tenant's schema is at a version that this program does not work with.
    #[error("the tenant's schema has a version that is not served")]
    VersionNotServed,
    /// The router's placement of the tenant is out of date; [`crate::Db`] looks it up again by itself.
    #[error("the tenant's epoch has moved on")]
    StaleEpoch,
    /// Somebody else holds the job or the machine by now; what this transaction did is undone.
    #[error("the lease is lost")]
    LeaseLost,
    /// Anything else: a violated constraint, or a mistake of ours.
    #[error("a statement failed")]
    Failed(#[source] sqlx::Error),
}

impl DbError {
    /// The name of the constraint that a statement violated. Names are part of a table's interface, so that a store can
    /// tell its caller what is wrong.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Failed(source) => source.as_database_error()?.constraint(),
            _ => None,
        }
    }

    /// What the database had against the values it was given, where that is what went wrong: they cannot be read, or
    /// break a constraint.
    #[must_use]
    pub fn refused_data(&self) -> Option<String> {
        let Self::Failed(source) = self else { return None };
        let cause = source.as_database_error()?;
        let code = cause.code()?;
        (code.starts_with("22") || code.starts_with("23")).then(|| match cause.constraint() {
            Some(constraint) => format!("they break {constraint}"),
            None => cause
                .message()
                .chars()
                .filter(|letter| !letter.is_control())
                .take(200)
                .collect(),
        })
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                Self::Unavailable(Some(error))
            }
            sqlx::Error::Database(cause) => match cause.code().as_deref() {
                Some("BH404") => Self::TenantNotFound,
                Some("BH403") => Self::TenantNotActive,
                Some("BH409") => Self::StaleEpoch,
                Some("BH426") => Self::VersionNotServed,
                Some("25006") if DbMeter::has_met_frozen() => Self::TenantMoving,
                Some("25006") => Self::TenantReadOnly,
                Some("BH410") => Self::LeaseLost,
                // Shutdown, crash, recovery, too many clients, connection failure, statement or lock timeout.
                Some(code)
                    if code.starts_with("57P")
                        || code.starts_with("08")
                        || matches!(code, "53300" | "57014" | "55P03" | "25P03") =>
                {
                    Self::Unavailable(Some(error))
                }
                _ => Self::Failed(error),
            },
            _ => Self::Failed(error),
        }
    }
}

impl Fault for DbError {
    fn code(&self) -> Code {
        match self {
            Self::TenantNotFound => Code::TenantNotFound,
            Self::TenantNotActive => Code::TenantNotActive,
            Self::TenantReadOnly => Code::TenantReadOnly,
            Self::VersionNotServed => Code::TenantVersionNotServed,
            Self::TenantMoving => Code::TenantMoving,
            Self::Unavailable(_) | Self::StaleEpoch | Self::ClusterUnknown => Code::DatabaseUnavailable,
            Self::LeaseLost | Self::Failed(_) => Code::Internal,
        }
    }
}
