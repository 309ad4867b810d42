use std::path::PathBuf;

use bulkhead_kernel::ids::{ImportId, TenantId};
use chrono::DateTime;

use super::*;
use crate::archives::{
    manifest::{FORMAT, SharedPart, TablePart, TenantPart, shared_file, table_file},
    tar::header,
    writer::Writer,
};

/// A file of a test's own.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("{}.tar", ImportId::new())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const MEMBERS: &[u8] = b"one\tact\\nive\ntwo\tinactive\n";

/// An archive whose manifest was tampered with before it was written.
async fn written(tamper: impl FnOnce(&mut Manifest)) -> Vec<u8> {
    let place = Place::new();
    let mut archive = Writer::create(&place.0, 1_795_000_000).await.unwrap();
    archive.begin_file().await.unwrap();
    archive.put(b"{}\n").await.unwrap();
    let shared = archive.end(&shared_file("memberships")).await.unwrap();
    archive.begin_file().await.unwrap();
    for piece in MEMBERS.chunks(5) {
        archive.put(piece).await.unwrap();
    }
    let members = archive.end(&table_file("members")).await.unwrap();
    assert_eq!((members.rows, members.bytes), (2, MEMBERS.len() as u64));
    let mut manifest = Manifest {
        format: FORMAT,
        product_version: "0.1.0".into(),
        created_at: DateTime::from_timestamp(1_795_000_000, 0).unwrap(),
        tenant: TenantPart {
            id: TenantId::new(),
            name: "Acme".into(),
            slug: "acme".into(),
            created_at: DateTime::from_timestamp(1_790_000_000, 0).unwrap(),
        },
        schema_version: bulkhead_tenancy::SCHEMA_VERSION,
        shared: vec![SharedPart {
            table: "memberships".into(),
            contents: shared,
        }],
        tables: vec![TablePart {
            table: "members".into(),
            columns: vec!["identity_id".into(), "status".into()],
            contents: members,
        }],
    };
    tamper(&mut manifest);
    archive.finish(&manifest).await.unwrap();
    std::fs::read(&place.0).unwrap()
}

async fn read(bytes: &[u8]) -> Result<(Manifest, String), ArchiveError> {
    let place = Place::new();
    std::fs::write(&place.0, bytes).unwrap();
    verify(&place.0).await
}

async fn objection(bytes: &[u8]) -> String {
    match read(bytes).await {
        Err(ArchiveError::Invalid(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_written_is_read_back() {
    let bytes = written(|_| {}).await;
    let (manifest, _) = read(&bytes).await.unwrap();
    assert_eq!(manifest.tables[0].contents.rows, 2);
    let place = Place::new();
    std::fs::write(&place.0, &bytes).unwrap();
    assert_eq!(super::manifest(&place.0).await.unwrap(), manifest);
    let mut part = Part::open(&place.0, "tables/members.copy").await.unwrap();
    assert_eq!(part.next().await.unwrap(), Some(MEMBERS));
    assert_eq!(part.next().await.unwrap(), None);
    assert_eq!(part.contents(), manifest.tables[0].contents);
}

#[tokio::test]
async fn a_turned_bit_is_found_wherever_it_is() {
    let good = written(|_| {}).await;
    for at in (0..good.len()).step_by(3) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(read(&bad).await.is_err(), "byte {at} of {}", good.len());
    }
}

#[tokio::test]
async fn a_part_of_an_archive_and_more_than_one_are_refused() {
    let good = written(|_| {}).await;
    for len in (0..good.len()).step_by(97).chain([good.len() - 1, good.len() - 512]) {
        assert!(read(&good[..len]).await.is_err(), "{len} of {}", good.len());
    }
    assert_eq!(
        objection(&[&good[..], &[0]].concat()).await,
        "there is something after its end"
    );
    assert_eq!(
        objection(&[&good[..], &good].concat()).await,
        "there is something after its end"
    );
}

#[tokio::test]
async fn files_and_manifest_must_say_the_same() {
    let good = written(|_| {}).await;
    let extra = |name: &str| {
        let file = [&header(name, 1, 0)[..], b"x", &[0; 511]].concat();
        [&file[..], &good].concat()
    };
    assert!(objection(&extra("tables/other.copy")).await.contains("does not name"));
    assert!(objection(&extra("../../etc/passwd")).await.contains("does not name"));
    assert!(objection(&extra("tables/members.copy")).await.contains("no place"));

    let more = written(|manifest| {
        let mut other = manifest.tables[0].clone();
        other.table = "roles".into();
        manifest.tables.push(other);
    });
    assert_eq!(objection(&more.await).await, "the file tables/roles.copy is missing");
    let twice = written(|manifest| manifest.tables.push(manifest.tables[0].clone()));
    assert!(objection(&twice.await).await.contains("twice"));
    let rows = written(|manifest| manifest.tables[0].contents.rows += 1);
    assert!(objection(&rows.await).await.starts_with("the number of rows"));
    let bytes = written(|manifest| manifest.tables[0].contents.bytes += 1);
    assert!(objection(&bytes.await).await.starts_with("the size"));
    let sha256 = written(|manifest| manifest.tables[0].contents.sha256 = "0".repeat(64));
    assert!(
        objection(&sha256.await)
            .await
            .starts_with("the checksum of tables/members")
    );
}

#[tokio::test]
async fn another_format_and_a_version_outside_of_the_window_are_refused() {
    let format = written(|manifest| manifest.format = FORMAT + 1).await;
    assert!(objection(&format).await.contains("has format 2"));
    let served = bulkhead_tenancy::SERVED_VERSIONS;
    for version in [served.start() - 1, served.end() + 1] {
        let bytes = written(|manifest| manifest.schema_version = version).await;
        let refused = read(&bytes).await;
        assert!(
            matches!(refused, Err(ArchiveError::VersionNotServed(v)) if v == version),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_manifest_that_claims_to_be_huge_is_not_held_in_memory() {
    let claimed = header(MANIFEST, u64::MAX, 0);
    assert_eq!(objection(&claimed).await, "manifest.json is too large");
}
