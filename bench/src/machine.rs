//! What the numbers were measured on.

use std::fs;

use crate::postgres::Session;

/// The settings of PostgreSQL that decide about such numbers.
const SETTINGS: [&str; 7] = [
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "shared_buffers",
    "max_connections",
    "jit",
    "plan_cache_mode",
];

/// One line: cores, processor, kernel, PostgreSQL and its settings.
pub(crate) async fn line(session: &mut Session) -> anyhow::Result<String> {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let cpu = first_value("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".into());
    let memory = first_value("/proc/meminfo", "MemTotal").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version = session.scalar("SHOW server_version").await?;
    let mut settings = Vec::new();
    for name in SETTINGS {
        settings.push(format!("{name}={}", session.scalar(&format!("SHOW {name}")).await?));
    }
    let kernel = kernel.trim();
    Ok(format!(
        "{cores} cores, {cpu}, memory {memory}, Linux {kernel}; PostgreSQL {version} ({})",
        settings.join(", ")
    ))
}

/// The first value behind a name and a colon.
fn first_value(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
