//! The memory of the server processes that serve one API process, from Linux's `/proc`.

use std::{collections::HashSet, fs};

use super::fleet::Fleet;
use crate::{
    postgres::{Server, Session},
    run::DATABASE,
    script::Recording,
    stack::Process,
};

/// What a backend grows by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Growth {
    /// The private memory of one that has met a single tenant.
    pub(crate) base_kib: u64,
    /// What each further tenant adds.
    pub(crate) tenant_kib: u64,
}

/// Lets one backend meet so many tenants.
pub(crate) async fn growth(server: &Server, fleet: &Fleet, list: &Recording) -> anyhow::Result<Growth> {
    let login = &fleet.tenants[0].login;
    let mut session = Session::open(server, login, DATABASE).await?;
    let mut tenants = fleet.tenants.iter().filter(|tenant| tenant.login == *login);
    if let Some(first) = tenants.next() {
        session.query(&list.message(&first.persona)).await?;
    }
    let base_kib = private_kib(session.pid);
    let mut count = 0;
    for tenant in tenants {
        session.query(&list.message(&tenant.persona)).await?;
        count += 1;
    }
    let grown = private_kib(session.pid).saturating_sub(base_kib);
    Ok(Growth {
        base_kib,
        tenant_kib: grown / count.max(1),
    })
}

fn private_kib(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    kib(&rollup, "Private_Clean:") + kib(&rollup, "Private_Dirty:")
}

/// The backends of one process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) backends: usize,
    /// What no other process shares, in KiB, over all of them.
    pub(crate) private_kib: u64,
    /// That and their part of what is shared.
    pub(crate) pss_kib: u64,
    /// The private memory of the largest one.
    pub(crate) largest_kib: u64,
}

/// What the tenant connections of `process` take. Backends that cannot be looked at count as nothing.
pub(crate) async fn of(session: &mut Session, process: &Process) -> anyhow::Result<Memory> {
    let sql = "SELECT pid, client_port FROM pg_stat_activity \
               WHERE usename LIKE 'bulkhead_tenant%' AND client_port IS NOT NULL";
    let ports = local_ports(process.pid());
    let mut memory = Memory::default();
    for row in session.query(sql).await? {
        let [Some(pid), Some(port)] = &row[..] else { continue };
        if !ports.contains(&port.parse()?) {
            continue;
        }
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let private = kib(&rollup, "Private_Clean:") + kib(&rollup, "Private_Dirty:");
        memory.backends += 1;
        memory.private_kib += private;
        memory.pss_kib += kib(&rollup, "Pss:");
        memory.largest_kib = memory.largest_kib.max(private);
    }
    Ok(memory)
}

fn kib(rollup: &str, name: &str) -> u64 {
    let line = rollup.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok())
        .unwrap_or(0)
}

/// The local ports of a process's TCP connections: only they tell whose a backend is.
fn local_ports(pid: u32) -> HashSet<u16> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let inodes: HashSet<String> = links
        .filter_map(|link| {
            let target = fs::read_link(link.path()).ok()?;
            let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let ports = table.lines().skip(1).filter_map(|line| port(line, &inodes));
    ports.collect()
}

/// `0: 0100007F:9C40 0100007F:1538 01 00000000:00000000 02:000A 00000000 0 0 inode ...`
fn port(line: &str, inodes: &HashSet<String>) -> Option<u16> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let is_ours = inodes.contains(*fields.get(9)?);
    let port = fields.get(1)?.split_once(':')?.1;
    is_ours.then(|| u16::from_str_radix(port, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_understood() {
        let rollup = "55f0-7ffd ---p 00000000 00:00 0 [rollup]\nPss:                5120 kB\nPrivate_Dirty:   300 kB\n";
        assert_eq!(
            (kib(rollup, "Pss:"), kib(rollup, "Private_Dirty:"), kib(rollup, "Rss:")),
            (5120, 300, 0)
        );
        let line =
            "  3: 0100007F:9C40 0100007F:1538 01 00000000:00000000 02:0000 00000000  0  0 4711 2 0 20 4 30 10 -1";
        assert_eq!(port(line, &HashSet::from(["4711".to_owned()])), Some(40000));
        assert_eq!(port(line, &HashSet::from(["4712".to_owned()])), None);
    }
}
