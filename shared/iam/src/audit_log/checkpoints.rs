//! Signed words on where chains end, in files: a folder for each tenant, a file for each day, a line for each checkpoint.
//! Lines are only ever added.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bulkhead_audit::chain::{Anchor, Head};
use bulkhead_kernel::ids::TenantId;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::AuditError;
use crate::tokens::Keys;

/// The `typ` of a checkpoint's header.
pub const CHECKPOINT_TYPE: &str = "audit-checkpoint+jws";

/// The end of a file in which the last whole line is looked for.
const TAIL_BYTES: u64 = 16 * 1024;

/// How closely checkpoints are read. A tenant in which things happen all day has thousands of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// The last one of each day tells whether the log is whole.
    Days,
    /// All of them tell from where on it is not.
    Everything,
}

/// What the platform once signed about a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where the chain ended.
    pub end: Anchor,
    /// The last row that retention had removed, or was about to.
    pub base: Anchor,
    /// When it was signed.
    pub at: DateTime<Utc>,
}

#[derive(Serialize, Deserialize)]
struct Statement {
    iss: String,
    iat: i64,
    tenant_id: TenantId,
    seq: i64,
    hash: String,
    base_seq: i64,
    base_hash: String,
}

impl Statement {
    fn checkpoint(self) -> Option<Checkpoint> {
        let anchor = |seq, hash: &str| URL_SAFE_NO_PAD.decode(hash).ok().map(|hash| Anchor { seq, hash });
        Some(Checkpoint {
            end: anchor(self.seq, &self.hash)?,
            base: anchor(self.base_seq, &self.base_hash)?,
            at: DateTime::from_timestamp(self.iat, 0)?,
        })
    }
}

/// The folder of checkpoints; cheap to clone.
#[derive(Debug, Clone)]
pub struct Checkpoints(PathBuf);

impl Checkpoints {
    /// In this folder; nothing is made before it is needed.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    fn dir_of(&self, tenant: TenantId) -> PathBuf {
        self.0.join(tenant.to_string())
    }

    /// Signs where the chain ends and adds it to the tenant's file of the day. It is on the disk when this returns.
    pub(super) fn write(
        &self,
        keys: &Keys,
        issuer: &str,
        tenant: TenantId,
        head: &Head,
        at: DateTime<Utc>,
    ) -> Result<(), AuditError> {
        let statement = Statement {
            iss: issuer.to_owned(),
            iat: at.timestamp(),
            tenant_id: tenant,
            seq: head.end.seq,
            hash: URL_SAFE_NO_PAD.encode(&head.end.hash),
            base_seq: head.base.seq,
            base_hash: URL_SAFE_NO_PAD.encode(&head.base.hash),
        };
        let signed = keys.sign_statement(CHECKPOINT_TYPE, &statement)?;
        Ok(append(
            &self.dir_of(tenant),
            &at.format("%Y-%m-%d.jws").to_string(),
            &signed,
        )?)
    }

    /// The checkpoints that one of these keys signed for this tenant, the oldest first: the last one of each day, or all.
    pub(super) fn read(&self, keys: &Keys, tenant: TenantId, detail: Detail) -> io::Result<Vec<Checkpoint>> {
        let files = match fs::read_dir(self.dir_of(tenant)) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut paths: Vec<PathBuf> = files.map(|file| Ok(file?.path())).collect::<io::Result<_>>()?;
        paths.sort();
        let mut checkpoints = Vec::with_capacity(paths.len());
        for path in paths {
            let text = match detail {
                Detail::Days => tail(&path)?,
                Detail::Everything => String::from_utf8_lossy(&fs::read(&path)?).into_owned(),
            };
            let signed = |line: &str| {
                let statement = keys.verify_statement(CHECKPOINT_TYPE, line).ok()?;
                let statement: Statement = serde_json::from_value(statement).ok()?;
                (statement.tenant_id == tenant).then_some(statement)?.checkpoint()
            };
            match detail {
                Detail::Days => checkpoints.extend(text.lines().rev().find_map(signed)),
                Detail::Everything => checkpoints.extend(text.lines().filter_map(signed)),
            }
        }
        Ok(checkpoints)
    }
}

fn append(dir: &Path, name: &str, line: &str) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut options = OpenOptions::new();
    let mut file = options
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(dir.join(name))?;
    let len = file.metadata()?.len();
    let mut text = String::with_capacity(line.len() + 2);
    if len > 0 {
        // A line that was cut off by a crash stays one of its own.
        let mut last = [0];
        file.seek(SeekFrom::Start(len - 1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            text.push('\n');
        }
    }
    text.push_str(line);
    text.push('\n');
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    if len == 0 {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seq: i64) -> Head {
        let hash = vec![u8::try_from(seq).unwrap(); 32];
        Head {
            end: Anchor { seq, hash },
            base: Anchor::origin(),
            oldest_at: None,
        }
    }

    #[test]
    fn the_last_signed_line_of_each_day_is_read_past_torn_and_forged_ones() {
        let dir = std::env::temp_dir().join(format!("bulkhead-checkpoints-{}", TenantId::new()));
        let keys = Keys::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/keys"))).unwrap();
        let (checkpoints, tenant) = (Checkpoints::new(&dir), TenantId::new());
        assert!(checkpoints.read(&keys, tenant, Detail::Days).unwrap().is_empty());
        let day = |n: i64| DateTime::from_timestamp(n * 86_400, 0).unwrap();
        let write = |to: TenantId, seq, at| checkpoints.write(&keys, "i", to, &head(seq), at).unwrap();
        write(tenant, 1, day(10));
        write(tenant, 2, day(10));
        let file = dir.join(tenant.to_string()).join("1970-01-11.jws");
        let mut torn = OpenOptions::new().append(true).open(&file).unwrap();
        torn.write_all(b"eyJhbGciOi").unwrap();
        let seqs = || -> Vec<i64> {
            let read = checkpoints.read(&keys, tenant, Detail::Days).unwrap();
            read.iter().map(|checkpoint| checkpoint.end.seq).collect()
        };
        assert_eq!(seqs(), [2]);
        write(tenant, 3, day(10));
        write(tenant, 4, day(11));
        assert_eq!(seqs(), [3, 4]);
        // One of another tenant proves nothing here.
        let other = TenantId::new();
        write(other, 9, day(12));
        let others = dir.join(other.to_string()).join("1970-01-13.jws");
        fs::copy(others, dir.join(tenant.to_string()).join("1970-01-13.jws")).unwrap();
        assert_eq!(seqs(), [3, 4]);
        let all = checkpoints.read(&keys, tenant, Detail::Everything).unwrap();
        assert_eq!(all.iter().map(|one| one.end.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
        fs::remove_dir_all(dir).unwrap();
    }
}
