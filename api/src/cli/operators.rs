//! Operators: the people who run the platform.

use anyhow::Context as _;
use bulkhead_iam::{
    identities::{IdentityError, Operator, service},
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

use super::Credentials;

pub(super) const NEEDED: &[Section] = &[Section::Database, Section::Auth];

/// Makes the operator and says what came of it.
pub(super) async fn create(credentials: Credentials) -> anyhow::Result<()> {
    let config = super::config(NEEDED)?;
    let db = Db::new(&config.database)?;
    ensure(&config, &db, credentials).await?;
    Ok(())
}

/// Makes the operator; gives their id whether they are new or known.
pub(super) async fn ensure(config: &Config, db: &Db, credentials: Credentials) -> anyhow::Result<IdentityId> {
    let password = match credentials.password {
        Some(password) => password,
        None => std::io::read_to_string(std::io::stdin())
            .context("cannot read the password")?
            .trim_end()
            .to_owned(),
    };
    let passwords = Passwords::new(&config.auth)?;
    let email = &credentials.email;
    let made = service::create_operator(db, &passwords, &Clock::system(), email, Secret::new(password)).await;
    match made.map_err(explained)? {
        Operator::Created(id) => {
            super::say(&format!("Made the operator {email} ({id})."));
            Ok(id)
        }
        Operator::Known(id) => {
            super::say(&format!("{email} ({id}) is an operator; the password is as it was."));
            Ok(id)
        }
    }
}

/// What is wrong with the arguments is told in full.
fn explained(error: IdentityError) -> anyhow::Error {
    let violations: Vec<String> = error
        .violations()
        .into_iter()
        .map(|violation| format!("{} {}", violation.pointer.trim_start_matches('/'), violation.detail))
        .collect();
    if violations.is_empty() {
        error.into()
    } else {
        anyhow::anyhow!(violations.join("; "))
    }
}
