//! The command line.

use clap::{Parser, Subcommand};

/// Runs Bulkhead's background work.
#[derive(Debug, Parser)]
#[command(name = "bulkhead-worker", version, about, arg_required_else_help = false)]
pub struct Cli {
    /// What to do; without it the worker serves.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the binary can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Subcommand)]
pub enum Command {
    /// Runs jobs until SIGTERM or SIGINT (the default)
    #[default]
    Serve,
    /// Checks the settings, and shows them with where each comes from
    CheckConfig,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_serves_by_default() {
        Cli::command().debug_assert();
        let without = Cli::try_parse_from(["bulkhead-worker"]).unwrap();
        assert_eq!(without.command.unwrap_or_default(), Command::Serve);
        let check = Cli::try_parse_from(["bulkhead-worker", "check-config"]).unwrap();
        assert_eq!(check.command, Some(Command::CheckConfig));
    }
}
