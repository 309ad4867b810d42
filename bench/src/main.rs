//! What the product costs, measured beside what it cannot be faster than (docs/performance.md).
//!
//! One run starts the release binaries on a PostgreSQL and a Redis of its own, signs tenants up through the API, and
//! then asks them for three things over keep-alive connections, every request for another random tenant: `/health`,
//! whoami and the first page of machines. Beside each stands its floor:
//! - a bare axum server on two threads, which is HTTP and nothing else;
//! - pgbench sending the product's own SQL over as many connections as the API has, each statement a round trip of its
//!   own (naive, what an ordinary server would do), and again with everything in one message.
//!
//! The SQL is not copied here: a second API process runs behind [`recorder`], and what it says to PostgreSQL for one
//! request becomes the scripts of pgbench, with the ids of each tenant put in. So the floors follow the product.
//!
//! The cells take turns in rounds, so that whatever else the machine does hits all of them; a cell reports the median of
//! its rounds. The server stays up and warm. pgbench connects anew in every round, so it runs for a while before it is
//! counted: a connection is slow until it has seen each tenant once. CPU time is that of the API process and of
//! PostgreSQL, from `/proc`; the load generator, which is this process and has one thread, is not counted, but it runs on
//! the same machine, as does pgbench.
//!
//! Absent here: any crate of the product.

mod audit;
mod cells;
mod cpu;
mod enumeration;
mod hello;
mod http;
mod load;
mod machine;
mod many;
mod pgbench;
mod postgres;
mod recorder;
mod report;
mod rotations;
mod run;
mod sample;
mod script;
mod seed;
mod stack;
mod tenants;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures Bulkhead beside its floors; run it with `make bench`")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts the product, measures it and prints the table.
    Run(Options),
    /// Measures whether answers and their times tell who has an account.
    Enumeration(Options),
    /// Measures what many tenants cost, beside a pool without bounds.
    Tenants(Options),
    /// Measures how long the verification of a long audit log takes.
    Audit(Options),
    /// Changes the signing keys three times under load.
    Rotations(Options),
    /// Serves the bare axum server.
    Hello {
        /// Address and port.
        #[arg(long)]
        listen: SocketAddr,
    },
}

/// What a run is told.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// How many tenants to sign up.
    #[arg(long, default_value_t = 200)]
    tenants: usize,
    /// One short round that only shows that everything runs.
    #[arg(long)]
    short: bool,
    /// How many rounds a full run has.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// The folder with bulkhead-api and bulkhead-worker.
    #[arg(long)]
    bin_dir: PathBuf,
    /// A PostgreSQL server to fill, as its superuser, without a password.
    #[arg(long)]
    database_url: url::Url,
    /// A Redis server.
    #[arg(long)]
    redis_url: String,
    /// The program pgbench; without it there are no floors.
    #[arg(long)]
    pgbench: Option<PathBuf>,
    /// A folder for logs and scripts.
    #[arg(long)]
    work_dir: PathBuf,
    /// A setting of the product, as NAME=VALUE in the form of its environment variables.
    #[arg(long = "set")]
    settings: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Run(options) => runtime()?.block_on(run::run(&options)),
        Command::Enumeration(options) => runtime()?.block_on(enumeration::run(&options)),
        Command::Tenants(options) => runtime()?.block_on(many::run(&options)),
        Command::Audit(options) => runtime()?.block_on(audit::run(&options)),
        Command::Rotations(options) => runtime()?.block_on(rotations::run(&options)),
        Command::Hello { listen } => hello::serve(listen),
    }
}

/// One thread, so that the load generator is no more than one caller to the machine.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
