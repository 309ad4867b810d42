//! The worker's binary.

use std::{io::Write, process::ExitCode};

use bulkhead_kernel::{
    config::{Config, ConfigSource},
    telemetry,
};
use bulkhead_worker::{
    SECTIONS,
    cli::{Cli, Command},
    serve, signals,
};
use clap::Parser;
use mimalloc::MiMalloc;

/// Requests make and free many small things, on every thread at once.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().command.unwrap_or_default()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if this fails too.
            let _ = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    let config = Config::load_for(ConfigSource::process(), SECTIONS)?;
    if command == Command::CheckConfig {
        return Ok(std::io::stdout().write_all(config.describe().as_bytes())?);
    }
    let _flush_when_done = telemetry::init(&config.telemetry, "bulkhead-worker")?;
    let metrics = telemetry::metrics::install();
    Ok(serve(&config, metrics, signals::shutdown()?).await?)
}
