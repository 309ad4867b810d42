//! CPU time of other processes, from Linux's `/proc`; zero where there is none.

use std::{collections::HashMap, fs, time::Duration};

use crate::sample::CpuTime;

/// The kernel's clock for user space; the same on all architectures we build for.
const TICKS_PER_SEC: u64 = 100;

/// Which processes are watched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watched {
    /// The server; `None` when the load goes straight to PostgreSQL.
    pub(crate) server: Option<u32>,
    /// PostgreSQL's first process, parent of all others.
    pub(crate) postmaster: u32,
}

/// The state of the watched processes' clocks.
pub(crate) struct Reading {
    server: u64,
    postgres: HashMap<u32, u64>,
}

impl Watched {
    /// Reads the clocks.
    pub(crate) fn read(self) -> Reading {
        let server = self.server.and_then(Stat::of).map_or(0, |stat| stat.ticks);
        let postgres = all()
            .filter(|(pid, stat)| *pid == self.postmaster || stat.parent == self.postmaster)
            .map(|(pid, stat)| (pid, stat.ticks));
        Reading {
            server,
            postgres: postgres.collect(),
        }
    }

    /// What was spent since `before`. A process that ended meanwhile is not counted.
    pub(crate) fn since(self, before: &Reading) -> CpuTime {
        let now = self.read();
        let postgres = now.postgres.iter().map(|(pid, ticks)| {
            let earlier = before.postgres.get(pid).copied().unwrap_or(0);
            ticks.saturating_sub(earlier)
        });
        CpuTime {
            server: time(now.server.saturating_sub(before.server)),
            postgres: time(postgres.sum()),
        }
    }
}

/// The time that a process has run on a processor, exactly.
pub(crate) fn ran(pid: u32) -> Duration {
    let line = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let nanos = line.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// The parent of a process.
pub(crate) fn parent_of(pid: u32) -> Option<u32> {
    Stat::of(pid).map(|stat| stat.parent)
}

fn time(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1000 / TICKS_PER_SEC)
}

fn all() -> impl Iterator<Item = (u32, Stat)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, Stat::of(pid)?))
    })
}

struct Stat {
    parent: u32,
    ticks: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name in parentheses may hold anything, so fields are counted from behind it.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.rsplit_once(") ")?.1.split(' ');
        let parent = fields.nth(1)?.parse().ok()?;
        let user: u64 = fields.nth(9)?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        Some(Self {
            parent,
            ticks: user + system,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_past_a_name_with_spaces() {
        let line = "4242 (post) gres: x) S 17 4242 4242 0 -1 4194560 100 0 0 0 250 30 0 0 20 0 1 0 999 0 0";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.parent, stat.ticks), (17, 280));
    }
}
