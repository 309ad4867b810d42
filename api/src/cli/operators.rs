//! Operators: the people who run the platform.

use std::io;

use bulkhead_iam::{
    operators::{Made, OperatorError, service},
    passwords::Passwords,
};
use bulkhead_kernel::{
    clock::Clock,
    config::{Config, Section},
    fault::Fault as _,
    ids::IdentityId,
    secret::Secret,
};
use bulkhead_tenancy::Db;

use super::{CliError, Credentials};

pub(super) const NEEDED: &[Section] = &[Section::Database, Section::Auth];

/// Makes the operator and says what came of it.
pub(super) async fn create(credentials: Credentials) -> Result<(), CliError> {
    let config = super::config(NEEDED)?;
    let db = Db::new(&config.database)?;
    ensure(&config, &db, credentials).await?;
    Ok(())
}

/// Makes the operator; gives their id whether they are new or known.
pub(super) async fn ensure(config: &Config, db: &Db, credentials: Credentials) -> Result<IdentityId, CliError> {
    let password = match credentials.password {
        Some(password) => password,
        None => io::read_to_string(io::stdin())
            .map_err(CliError::Input)?
            .trim_end()
            .to_owned(),
    };
    let passwords = Passwords::new(&config.auth)?;
    let email = &credentials.email;
    let made = service::create_by_hand(db, &passwords, &Clock::system(), email, Secret::new(password)).await;
    match made.map_err(explained)? {
        Made::Created(id) => {
            super::say(&format!("Made the operator {email} ({id})."));
            Ok(id)
        }
        Made::Known(id) => {
            super::say(&format!("{email} ({id}) is an operator; the password is as it was."));
            Ok(id)
        }
    }
}

/// What is wrong with the arguments is told in full.
fn explained(error: OperatorError) -> CliError {
    let violations: Vec<String> = error
        .violations()
        .into_iter()
        .map(|violation| format!("{} {}", violation.pointer.trim_start_matches('/'), violation.detail))
        .collect();
    if violations.is_empty() {
        CliError::Operator(error)
    } else {
        CliError::Argument(violations.join("; "))
    }
}
