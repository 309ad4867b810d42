//! The floors below the database: pgbench with the product's statements.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    process::Command,
    time::{Instant, sleep_until},
};

use crate::{
    cpu::Watched,
    postgres::Server,
    sample::{CpuTime, Sample},
    script::{Recording, Shape},
    tenants::Persona,
};

/// Threads of pgbench, so that one of them is never what the floor stands on.
const THREADS: usize = 2;

/// The role that the product enters tenants with.
const LOGIN: &str = "bulkhead_tenant";

/// Where and how pgbench runs.
#[derive(Debug, Clone)]
pub(crate) struct Pgbench {
    pub(crate) program: PathBuf,
    pub(crate) server: Server,
    pub(crate) database: String,
    pub(crate) folder: PathBuf,
}

/// One set of scripts over a number of connections.
#[derive(Debug, Clone)]
pub(crate) struct Floor {
    pgbench: Pgbench,
    scripts: Vec<PathBuf>,
    connections: usize,
}

impl Floor {
    /// Writes the scripts into a folder of their own.
    pub(crate) fn write(
        pgbench: &Pgbench,
        name: &str,
        recording: &Recording,
        shape: Shape,
        personas: &[Persona],
        connections: usize,
    ) -> anyhow::Result<Self> {
        let folder = pgbench.folder.join(name);
        fs::create_dir_all(&folder)?;
        let mut scripts = Vec::new();
        for (number, script) in recording.scripts(shape, personas).into_iter().enumerate() {
            let path = folder.join(format!("{number}.sql"));
            fs::write(&path, script)?;
            scripts.push(path);
        }
        Ok(Self {
            pgbench: Pgbench {
                folder,
                ..pgbench.clone()
            },
            scripts,
            connections,
        })
    }

    /// Runs for `warm_up` and then for `window`, of which the transactions are counted.
    pub(crate) async fn run(&self, warm_up: Duration, window: Duration, watched: Watched) -> anyhow::Result<Sample> {
        let log = self.pgbench.folder.join("log");
        let begin = Instant::now() + warm_up;
        let running = tokio::spawn(self.command(&log, warm_up + window).output());
        sleep_until(begin).await;
        let before = watched.read();
        sleep_until(begin + window).await;
        let cpu = watched.since(&before);
        let output = running.await?.context("starting pgbench")?;
        let told = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() || !told.contains("number of failed transactions: 0") {
            bail!("pgbench failed: {}{told}", String::from_utf8_lossy(&output.stderr));
        }
        let entries = take_logs(&self.pgbench.folder)?;
        Ok(sample(&entries, window, cpu))
    }

    fn command(&self, log: &Path, duration: Duration) -> Command {
        let pgbench = &self.pgbench;
        let mut command = Command::new(&pgbench.program);
        command
            .args(["--no-vacuum", "--log", "--protocol=simple", "--username", LOGIN])
            .args([
                "--host",
                &pgbench.server.host,
                "--port",
                &pgbench.server.port.to_string(),
            ])
            .args([
                "--client",
                &self.connections.to_string(),
                "--jobs",
                &THREADS.to_string(),
            ])
            .args(["--time", &duration.as_secs().max(1).to_string()])
            .arg("--log-prefix")
            .arg(log);
        for script in &self.scripts {
            command.arg("--file").arg(script);
        }
        command.arg(&pgbench.database);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

/// One transaction: when it ended, by pgbench's clock, and how long it took; both in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    ended_us: u64,
    took_us: u32,
}

/// Reads and removes the logs of all threads.
fn take_logs(folder: &Path) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        let is_log = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with("log."));
        if is_log {
            entries.extend(fs::read_to_string(&path)?.lines().filter_map(parse));
            fs::remove_file(&path)?;
        }
    }
    Ok(entries)
}

/// `client transaction latency script seconds microseconds`
fn parse(line: &str) -> Option<Entry> {
    let mut fields = line.split(' ');
    let took_us = fields.nth(2)?.parse().ok()?;
    let seconds: u64 = fields.nth(1)?.parse().ok()?;
    let micros: u64 = fields.next()?.parse().ok()?;
    Some(Entry {
        ended_us: seconds * 1_000_000 + micros,
        took_us,
    })
}

/// The window is the end of the run.
fn sample(entries: &[Entry], window: Duration, cpu: CpuTime) -> Sample {
    let end = entries.iter().map(|entry| entry.ended_us).max().unwrap_or(0);
    let begin = end.saturating_sub(u64::try_from(window.as_micros()).unwrap_or(u64::MAX));
    let counted = entries
        .iter()
        .filter(|entry| entry.ended_us > begin)
        .map(|entry| entry.took_us);
    Sample::of(counted.collect(), 0, window, cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_the_run_is_counted() {
        let lines = [
            "0 1 9000 3 100 500000",
            "1 1 1000 2 101 700000",
            "0 2 2000 0 102 600000",
            "cut o",
        ];
        let entries: Vec<_> = lines.into_iter().filter_map(parse).collect();
        assert_eq!(entries.len(), 3);
        let sample = sample(&entries, Duration::from_secs(1), CpuTime::default());
        assert!((sample.rate - 2.0).abs() < 1e-9 && (sample.p99_ms - 2.0).abs() < 1e-9);
    }
}
