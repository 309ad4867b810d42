//! The API's binary.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use mimalloc::MiMalloc;

/// Requests make and free many small things, on every thread at once.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match bulkhead_api::cli::Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if this fails too.
            let _ = writeln!(io::stderr(), "bulkhead-api: {:#}", anyhow::Error::from(error));
            ExitCode::FAILURE
        }
    }
}
