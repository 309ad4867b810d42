//! What leads from one version of a tenant's schema to the next, as a value.
//!
//! A lineage begins with a first baseline, the whole schema at its version, followed by migrations in dense order. A
//! second baseline is the whole schema at the newest version: a new tenant runs it and nothing else. Both ways must
//! lead to the same catalog (a test compares them), so a migration and the newest baseline change together.

use std::{borrow::Cow, fs, io, ops::RangeInclusive, path::Path, sync::LazyLock};

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../migrations/tenant/", $name)))),*]
    };
}

/// The folder `migrations/tenant`, in order; a test compares the two.
const FILES: &[(&str, &str)] = files!["0001_baseline.sql"];

/// The version a new tenant has.
pub const SCHEMA_VERSION: i64 = version_of(FILES[FILES.len() - 1].0);

/// The versions of a tenant's schema that this program works with; a tenant outside of them is refused with
/// [`crate::DbError::VersionNotServed`]. The newest is one that the next release brings: migrations first expand, so that a
/// release works with the schema before and after its successor's (migrations/README.md).
pub const SERVED_VERSIONS: RangeInclusive<i64> = 1..=SCHEMA_VERSION + 1;

/// The four digits a file begins with.
const fn version_of(file: &str) -> i64 {
    let name = file.as_bytes();
    let mut version = 0;
    let mut at = 0;
    while at < 4 {
        version = version * 10 + (name[at] - b'0') as i64;
        at += 1;
    }
    version
}

/// One file of a lineage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// The version a schema has after it.
    pub version: i64,
    /// `NNNN_name`.
    pub name: Cow<'static, str>,
    /// What it runs, with the tenant's schema as the only one in the path.
    pub sql: Cow<'static, str>,
}

/// Why files are no lineage.
#[derive(Debug, thiserror::Error)]
pub enum LineageError {
    /// The folder cannot be read.
    #[error("the migrations cannot be read")]
    Unreadable(#[from] io::Error),
    /// A name is not `NNNN_name.sql`.
    #[error("{0} is not named NNNN_name.sql")]
    Name(String),
    /// There is none, one is missing, or a version has two.
    #[error("version {0} has no migration, or more than one")]
    Gap(i64),
    /// New tenants would not be built at the newest version.
    #[error("version {0} has no baseline: it and the newest migration change together")]
    Baseline(i64),
}

/// All versions of a tenant's schema that can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    first: Migration,
    steps: Vec<Migration>,
    newest: Migration,
}

impl Lineage {
    /// Those of this build.
    #[must_use]
    pub fn product() -> &'static Self {
        static PRODUCT: LazyLock<Lineage> = LazyLock::new(|| {
            let files = FILES
                .iter()
                .map(|(name, sql)| ((*name).to_owned(), Cow::Borrowed(*sql)));
            Lineage::of_files(files.collect()).expect("the embedded migrations are a lineage: a test says so")
        });
        &PRODUCT
    }

    /// Those in a folder, to rehearse what is not released yet.
    pub fn of_folder(folder: &Path) -> Result<Self, LineageError> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push((name, Cow::Owned(fs::read_to_string(&path)?)));
        }
        Self::of_files(files)
    }

    /// Those of files given by name and text, in any order.
    pub fn of_files(files: Vec<(String, Cow<'static, str>)>) -> Result<Self, LineageError> {
        let mut baselines = Vec::new();
        let mut steps = Vec::new();
        for (file, sql) in files {
            let migration = parse(&file, sql).ok_or(LineageError::Name(file))?;
            if migration.name.ends_with("_baseline") {
                baselines.push(migration);
            } else {
                steps.push(migration);
            }
        }
        baselines.sort_by_key(|baseline| baseline.version);
        steps.sort_by_key(|step| step.version);
        let first = baselines.first().cloned().ok_or(LineageError::Baseline(1))?;
        for (version, step) in (first.version + 1..).zip(&steps) {
            if step.version != version {
                return Err(LineageError::Gap(version));
            }
        }
        let head = steps.last().map_or(first.version, |step| step.version);
        let newest = baselines.pop().filter(|baseline| baseline.version == head);
        let newest = newest.ok_or(LineageError::Baseline(head))?;
        Ok(Self { first, steps, newest })
    }

    /// The newest version.
    #[must_use]
    pub fn head(&self) -> i64 {
        self.newest.version
    }

    /// The whole schema at [`Self::head`].
    #[must_use]
    pub const fn baseline(&self) -> &Migration {
        &self.newest
    }

    /// What a schema at `from` still lacks to be at `to`; nothing where it is there or beyond. `None` when it is older
    /// than the first baseline.
    #[must_use]
    pub fn between(&self, from: i64, to: i64) -> Option<impl Iterator<Item = &Migration>> {
        let wanted = self
            .steps
            .iter()
            .filter(move |step| step.version > from && step.version <= to);
        (from >= self.first.version).then_some(wanted)
    }

    /// The long way from nothing to `version`: the first baseline and every migration since.
    pub fn history(&self, version: i64) -> impl Iterator<Item = &Migration> {
        let steps = self.steps.iter().filter(move |step| step.version <= version);
        std::iter::once(&self.first).chain(steps)
    }
}

fn parse(file: &str, sql: Cow<'static, str>) -> Option<Migration> {
    let name = file.strip_suffix(".sql")?;
    let (digits, words) = name.split_at_checked(4)?;
    let is_name = words.len() > 1
        && words.starts_with('_')
        && words
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_name && is_number).then(|| Migration {
        version: version_of(file),
        name: Cow::Owned(name.to_owned()),
        sql,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lineage(names: &[&str]) -> Result<Lineage, String> {
        let files = names.iter().map(|name| ((*name).to_owned(), Cow::Borrowed("SELECT 1")));
        Lineage::of_files(files.collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_embedded_is_the_folder() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/tenant"));
        assert_eq!(*Lineage::product(), Lineage::of_folder(folder).unwrap());
        assert_eq!(Lineage::product().head(), SCHEMA_VERSION);
        assert!(SERVED_VERSIONS.contains(&SCHEMA_VERSION));
    }

    #[test]
    fn a_schema_is_led_from_any_version_to_any_later_one() {
        let lineage = lineage(&["0003_b.sql", "0001_baseline.sql", "0003_baseline.sql", "0002_a.sql"]).unwrap();
        let names = |from, to| {
            let steps = lineage.between(from, to)?;
            Some(steps.map(|step| step.name.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(lineage.head(), 3);
        assert_eq!(lineage.baseline().name, "0003_baseline");
        assert_eq!(names(1, 3).unwrap(), ["0002_a", "0003_b"]);
        assert_eq!(names(1, 2).unwrap(), ["0002_a"]);
        assert!(names(3, 3).unwrap().is_empty() && names(4, 3).unwrap().is_empty());
        assert_eq!(names(0, 3), None);
        let long: Vec<_> = lineage.history(2).map(|step| &*step.name).collect();
        assert_eq!(long, ["0001_baseline", "0002_a"]);
    }

    #[test]
    fn gaps_twins_odd_names_and_a_baseline_left_behind_are_refused() {
        for (names, reason) in [
            (
                &["0001_baseline.sql", "0003_b.sql", "0003_baseline.sql"][..],
                "version 2 has",
            ),
            (
                &["0001_baseline.sql", "0002_a.sql", "0002_b.sql", "0002_baseline.sql"],
                "version 3 has",
            ),
            (&["0001_baseline.sql", "0002_a.sql"], "version 2 has no baseline"),
            (&["0001_baseline.sql", "0002_baseline.sql"], "version 1 has no baseline"),
            (&["0002_a.sql"], "version 1 has no baseline"),
            (&["0001_baseline.sql", "2_a.sql"], "2_a.sql is not named"),
            (&["0001_baseline.sql", "0002_A.sql"], "0002_A.sql is not named"),
            (&["0001_baseline.sql", "notes.md"], "notes.md is not named"),
        ] {
            let refused = lineage(names).unwrap_err();
            assert!(refused.contains(reason), "{names:?}: {refused}");
        }
    }
}
