//! The commands of the binary. Each asks only for the settings it uses; all mistakes in them are reported together.

mod audit;
mod doctor;
mod error;
mod migrate;
mod operators;
mod receipts;
mod seed;
mod server;
mod tenants;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use bulkhead_iam::{
    signing_keys::service::{self, Keeper},
    tokens::Keys,
};
use bulkhead_kernel::{
    clock::Clock,
    config::{Config, ConfigSource, Section},
};
use bulkhead_tenancy::Db;
use clap::{Args, Parser, Subcommand};

pub use error::CliError;

use crate::openapi;

/// The API of Bulkhead. Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "bulkhead-api", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API until SIGTERM or SIGINT (the default)
    Serve,
    /// Check all settings and show which are in force, without their secrets
    CheckConfig,
    /// Bring the schema `control` to the newest version, or all tenants with one of the commands below it
    Migrate {
        #[command(subcommand)]
        what: Option<migrate::Migrate>,
    },
    /// Make the RSA key file of a new installation: its first key that signs access tokens
    GenerateKeys {
        /// The folder to put it in; that of the settings otherwise
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Announce a new key that signs access tokens after a while; the worker does so by itself when a key gets old
    RotateKeys {
        /// Seconds until it signs; whoever checks tokens may keep a list of the keys for five minutes
        #[arg(long, default_value_t = 600)]
        after_secs: u32,
    },
    /// Make a platform operator; somebody known becomes one and keeps the password
    CreateOperator(Credentials),
    /// Make an operator, a demo tenant and the first templates; what is there stays as it is
    Seed {
        #[command(flatten)]
        operator: Credentials,
        /// The slug of the demo tenant
        #[arg(long, default_value = "demo")]
        tenant: String,
    },
    /// Look after tenants' audit logs
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Move tenants between clusters
    #[command(subcommand)]
    Tenants(tenants::Tenants),
    /// Examine the deployment
    #[command(subcommand)]
    Doctor(doctor::Examination),
    /// Read the receipt of a purged tenant (a compact JWS) from the standard input and print what it says, or fail
    VerifyReceipt {
        /// The folder of the keys; that of the settings otherwise
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Print the OpenAPI document
    Openapi,
}

#[derive(Debug, Args)]
struct Credentials {
    /// The e-mail address
    #[arg(long)]
    email: String,
    /// The password; read from the standard input when it is not given
    #[arg(long)]
    password: Option<String>,
}

impl Cli {
    /// Runs the command.
    pub async fn run(self) -> Result<(), CliError> {
        Box::pin(self.command.unwrap_or(Command::Serve).run()).await
    }
}

impl Command {
    async fn run(self) -> Result<(), CliError> {
        match self {
            Self::Serve => server::serve().await,
            Self::CheckConfig => check_config(),
            Self::Migrate { what } => Box::pin(what.unwrap_or(migrate::Migrate::Control).run()).await,
            Self::GenerateKeys { dir } => generate_keys(dir),
            Self::RotateKeys { after_secs } => rotate_keys(after_secs).await,
            Self::CreateOperator(credentials) => operators::create(credentials).await,
            Self::Seed { operator, tenant } => seed::run(operator, &tenant).await,
            Self::Audit(audit) => audit::run(audit).await,
            Self::Tenants(what) => what.run().await,
            Self::Doctor(examination) => doctor::run(examination).await,
            Self::VerifyReceipt { dir } => receipts::verify(dir),
            Self::Openapi => {
                say(&format!("{:#}", openapi::document()));
                Ok(())
            }
        }
    }
}

/// The settings, of which these sections have to be complete.
fn config(needed: &[Section]) -> Result<Config, CliError> {
    let loaded = Config::load_for(ConfigSource::process(), needed);
    loaded.map_err(CliError::Settings)
}

fn check_config() -> Result<(), CliError> {
    say(config(Section::ALL)?.describe().trim_end());
    Ok(())
}

fn generate_keys(dir: Option<PathBuf>) -> Result<(), CliError> {
    let dir = match dir {
        Some(dir) => dir,
        None => config(&[])?.auth.keys_dir,
    };
    let id = Keys::generate(&dir, &Clock::system())?;
    say(&format!("Made the key {id} in {}.", dir.display()));
    Ok(())
}

async fn rotate_keys(after_secs: u32) -> Result<(), CliError> {
    let config = config(operators::NEEDED)?;
    let db = Db::new(&config.database)?;
    let keeper = Keeper::new(db, config.auth, Clock::system())?;
    let id = service::rotate(&keeper, Duration::from_secs(after_secs.into())).await?;
    say(&format!("Announced the key {id}; it signs in {after_secs} s."));
    Ok(())
}

/// An answer for the person at the terminal, or the program behind the pipe; one that no longer listens misses nothing.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_commands_are_well_formed_and_serving_is_the_default() {
        Cli::command().debug_assert();
        assert!(Cli::parse_from(["bulkhead-api"]).command.is_none());
        let migrate = Cli::parse_from(["bulkhead-api", "migrate"]);
        assert!(matches!(migrate.command, Some(Command::Migrate { what: None })));
        let seed = Cli::parse_from(["bulkhead-api", "seed", "--email", "a@b.c", "--password", "x"]);
        assert!(matches!(seed.command, Some(Command::Seed { tenant, .. }) if tenant == "demo"));
    }
}
