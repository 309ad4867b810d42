//! Why a command could not do its work; shown to the person who typed it.

use std::{error::Error, io, net::SocketAddr};

use bulkhead_iam::{
    audit_log::AuditError, operators::OperatorError, passwords::PasswordError, signing_keys::SigningKeyError,
    tokens::KeyError,
};
use bulkhead_kernel::{config::Mistakes, telemetry::TelemetryError};
use bulkhead_tenancy::{DbError, LineageError, doctor::DoctorError, fleet::FleetError};
use bulkhead_tenants::{TenantError, moves::MoveError};
use bulkhead_traffic::MalformedUrl;

/// What went wrong; its sources say more.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Settings are missing or wrong; all of them are listed.
    #[error("these settings cannot be used:\n{0}")]
    Settings(Mistakes),
    /// What was typed breaks a rule.
    #[error("{0}")]
    Argument(String),
    /// The password, or what is to be checked, could not be read.
    #[error("cannot read the standard input")]
    Input(#[source] io::Error),
    /// Logs or traces cannot be set up.
    #[error("telemetry cannot be set up")]
    Telemetry(#[from] TelemetryError),
    /// The keys cannot be read or made.
    #[error("the signing keys cannot be used")]
    Keys(#[from] KeyError),
    /// The keys of the database cannot be used or renewed.
    #[error("the signing keys cannot be used")]
    SigningKeys(#[from] SigningKeyError),
    /// Passwords cannot be hashed as the settings say.
    #[error("passwords cannot be hashed")]
    Password(#[from] PasswordError),
    /// A URL of the database is none, or the database failed.
    #[error("the database cannot be used")]
    Database(#[from] DbError),
    /// The examination could not be carried out.
    #[error("the doctor cannot work")]
    Doctor(#[from] DoctorError),
    /// The report, already printed, says what failed.
    #[error("the examination failed")]
    NotIsolated,
    /// The URL of Redis is none.
    #[error("redis cannot be used")]
    Redis(#[from] MalformedUrl),
    /// A migration failed or was changed after it ran.
    #[error("the schema control cannot be migrated")]
    Migrate(#[source] Box<dyn Error + Send + Sync>),
    /// The migrations of a folder are none.
    #[error("these migrations cannot be used")]
    Lineage(#[from] LineageError),
    /// Tenants could not be migrated or compared.
    #[error("the fleet cannot be migrated")]
    Fleet(#[source] FleetError),
    /// Some tenants are not at the newest version; they were named.
    #[error("{0}")]
    Fallen(String),
    /// An address is taken or not ours.
    #[error("cannot listen on {0} and {1}")]
    Listen(SocketAddr, SocketAddr, #[source] io::Error),
    /// The process cannot be told when to stop.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    /// The receipt is forged, altered, or of another installation.
    #[error("none of the keys signed this receipt")]
    Receipt,
    /// An audit log could not be read.
    #[error("the audit log cannot be verified")]
    Audit(#[from] AuditError),
    /// The report, already printed, says what is wrong with the log.
    #[error("the audit log was tampered with")]
    Tampered,
    /// The operator could not be made.
    #[error("the operator cannot be made")]
    Operator(#[source] OperatorError),
    /// The tenant could not be moved.
    #[error("the tenant cannot be moved")]
    Move(#[source] MoveError),
    /// The demo tenant could not be signed up.
    #[error("the demo tenant cannot be signed up")]
    Tenant(#[source] TenantError),
}
