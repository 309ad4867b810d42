//! The API's binary.

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    bulkhead_api::cli::Cli::parse().run().await
}
