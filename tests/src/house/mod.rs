//! The house rules that a machine can check.

mod arrows;
mod documents;
mod jobs;
mod migrations;
mod redis;
mod size;
mod sql;
mod tour;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The top of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().into()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files with this ending below a folder of the workspace, by their path from the top.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// The Rust files of the product, without the tests beside them.
fn sources() -> Vec<(String, String)> {
    let crates = ["api/src", "worker/src", "shared"];
    let all = crates.into_iter().flat_map(|folder| files(folder, "rs"));
    all.filter(|(name, _)| !name.ends_with("/tests.rs") && !name.contains("/tests/"))
        .collect()
}
