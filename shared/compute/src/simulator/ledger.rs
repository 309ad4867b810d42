//! The files: one per machine, one line per effect, never changed once written.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

use bulkhead_kernel::clock::Clock;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{io_failed, machine::Machine};
use crate::driver::{Class, DriverError, Plan};

/// One thing that happened to a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: DateTime<Utc>,
    /// Under which lease.
    pub epoch: i64,
    /// What.
    #[serde(flatten)]
    pub effect: Effect,
}

/// What can happen to a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// A newer epoch showed itself.
    Fenced,
    /// It got its network identity.
    NicCreated {
        /// The address it will have.
        address: String,
    },
    /// It got its disk.
    DiskCreated {
        /// The size.
        disk_gb: i32,
    },
    /// It was made.
    InstanceCreated {
        /// From what.
        plan: Plan,
        /// When making it is finished.
        ready_at: DateTime<Utc>,
    },
    /// It was switched on.
    PowerOn {
        /// When it runs.
        ready_at: DateTime<Utc>,
    },
    /// It went off.
    PowerOff {
        /// By itself.
        by_guest: bool,
        /// Without being asked first.
        is_forced: bool,
    },
    /// It was switched off and on.
    PowerCycled {
        /// For which operation.
        token: String,
        /// When it runs again.
        ready_at: DateTime<Utc>,
    },
    /// It is gone.
    InstanceDeleted,
    /// Its disk is gone.
    DiskDeleted,
    /// Its network identity is gone.
    NicDeleted,
}

/// Everything that ever happened, by machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The machine's identity and its effects in order.
    pub machines: BTreeMap<String, Vec<Entry>>,
}

impl Ledger {
    /// Reads the folder of a simulator.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let mut machines = BTreeMap::new();
        for name in names(folder)? {
            let entries = entries(&read_shared(&path(folder, &name))?)?;
            machines.insert(name, entries);
        }
        Ok(Self { machines })
    }

    /// How often a machine of this identity was made.
    #[must_use]
    pub fn creations(&self, identity: &str) -> usize {
        let entries = self.machines.get(identity).map(Vec::as_slice).unwrap_or_default();
        let is_creation = |entry: &&Entry| matches!(entry.effect, Effect::InstanceCreated { .. });
        entries.iter().filter(is_creation).count()
    }

    /// The identities of which anything is left: a machine, a disk or a network identity.
    #[must_use]
    pub fn existing(&self) -> Vec<&str> {
        let exists = |entries: &Vec<Entry>| {
            let machine = fold(entries.iter().cloned());
            machine.instance.is_some() || machine.disk_gb.is_some() || machine.address.is_some()
        };
        let left = self.machines.iter().filter(|(_, entries)| exists(entries));
        left.map(|(identity, _)| identity.as_str()).collect()
    }
}

/// A machine's file under an exclusive lock, which ends with this value or with the process.
pub(super) struct Session {
    file: File,
    pub(super) machine: Machine,
    pub(super) now: DateTime<Utc>,
}

impl Session {
    /// Waits for the lock and then looks at the clock: whoever waited comes after what it waited for.
    pub(super) fn open(folder: &Path, identity: &str, clock: &Clock) -> Result<Self, DriverError> {
        check(identity)?;
        let (file, machine) = open_locked(folder, identity).map_err(|error| io_failed("open", &error))?;
        let now = clock.now();
        Ok(Self { file, machine, now })
    }

    pub(super) fn record(&mut self, epoch: i64, effect: Effect) -> Result<(), DriverError> {
        let entry = Entry {
            at: self.now,
            epoch,
            effect,
        };
        let mut line = serde_json::to_vec(&entry).map_err(|error| io_failed("encode", &error))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(|error| io_failed("write", &error))?;
        self.machine.apply(entry);
        Ok(())
    }
}

/// The machine as it is; nothing at all when it has no file.
pub(super) fn look(folder: &Path, identity: &str) -> Result<Machine, DriverError> {
    check(identity)?;
    match read_shared(&path(folder, identity)).and_then(|text| entries(&text)) {
        Ok(entries) => Ok(fold(entries)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Machine::default()),
        Err(error) => Err(io_failed("read", &error)),
    }
}

/// The identities that have a file.
pub(super) fn names(folder: &Path) -> io::Result<Vec<String>> {
    let files = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        files => files?,
    };
    let mut names = Vec::new();
    for file in files {
        let name = file?.file_name();
        names.extend(
            name.to_str()
                .and_then(|name| name.strip_suffix(".jsonl"))
                .map(str::to_owned),
        );
    }
    Ok(names)
}

fn open_locked(folder: &Path, identity: &str) -> io::Result<(File, Machine)> {
    let path = path(folder, identity);
    let open = || OpenOptions::new().read(true).append(true).create(true).open(&path);
    let mut file = match open() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            std::fs::create_dir_all(folder)?;
            open()?
        }
        file => file?,
    };
    file.lock()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    // A process that died while writing leaves half a line: that effect never happened.
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    if whole < text.len() {
        file.set_len(whole as u64)?;
    }
    let machine = fold(entries(&text)?);
    Ok((file, machine))
}

fn read_shared(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    file.lock_shared()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

fn entries(text: &str) -> io::Result<Vec<Entry>> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let parse = |line| serde_json::from_str(line).map_err(|error| io::Error::new(ErrorKind::InvalidData, error));
    whole.lines().map(parse).collect()
}

fn fold(entries: impl IntoIterator<Item = Entry>) -> Machine {
    let mut machine = Machine::default();
    entries.into_iter().for_each(|entry| machine.apply(entry));
    machine
}

fn path(folder: &Path, identity: &str) -> PathBuf {
    folder.join(format!("{identity}.jsonl"))
}

/// References come back from a database, so they must not be able to leave the folder.
fn check(identity: &str) -> Result<(), DriverError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if identity.starts_with("vm-") && identity.len() < 64 && identity.chars().all(is_plain) {
        Ok(())
    } else {
        Err(DriverError::new(Class::InvalidSpec, "malformed_identity"))
    }
}
