//! Archives that nobody exported: taken apart, changed, and put together so that every checksum is right again.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest, Sha256};

const BLOCK: usize = 512;

/// An archive taken apart.
pub(super) struct Forged {
    /// Files by name, without the manifest and its checksum.
    pub(super) files: Vec<(String, Vec<u8>)>,
    pub(super) manifest: Value,
}

impl Forged {
    pub(super) fn of(archive: &str) -> Self {
        let (mut rest, mut files) = (archive.as_bytes(), Vec::new());
        while rest[0] != 0 {
            let text = |range: std::ops::Range<usize>| {
                std::str::from_utf8(&rest[range])
                    .unwrap()
                    .trim_end_matches('\0')
                    .to_owned()
            };
            let (name, size) = (text(0..100), usize::from_str_radix(&text(124..136), 8).unwrap());
            files.push((name, rest[BLOCK..BLOCK + size].to_vec()));
            rest = &rest[BLOCK + size.next_multiple_of(BLOCK)..];
        }
        files.pop();
        let (_, manifest) = files.pop().unwrap();
        Self {
            files,
            manifest: serde_json::from_slice(&manifest).unwrap(),
        }
    }

    /// The rows of a table, for a change.
    pub(super) fn table(&mut self, table: &str) -> &mut Vec<u8> {
        let name = format!("tables/{table}.copy");
        &mut self.files.iter_mut().find(|(file, _)| *file == name).unwrap().1
    }

    /// What the manifest says of a table.
    pub(super) fn part(&mut self, table: &str) -> &mut Value {
        let parts = self.manifest["tables"].as_array_mut().unwrap();
        parts.iter_mut().find(|part| part["table"] == table).unwrap()
    }

    /// Puts it together. What the manifest says of contents follows from the contents.
    pub(super) fn archive(mut self) -> Vec<u8> {
        let files = self.files.clone();
        for (folder, ending, list) in [("control", "jsonl", "shared"), ("tables", "copy", "tables")] {
            for part in self.manifest[list].as_array_mut().unwrap() {
                let name = format!("{folder}/{}.{ending}", part["table"].as_str().unwrap());
                if let Some((_, bytes)) = files.iter().find(|(file, _)| *file == name) {
                    part["contents"]["rows"] = bytes.iter().filter(|byte| **byte == b'\n').count().into();
                    part["contents"]["bytes"] = bytes.len().into();
                    part["contents"]["sha256"] = sha256(bytes).into();
                }
            }
        }
        let manifest = self.manifest.to_string().into_bytes();
        let line = format!("{}  manifest.json\n", sha256(&manifest)).into_bytes();
        let ends = [
            ("manifest.json".to_owned(), manifest),
            ("manifest.json.sha256".to_owned(), line),
        ];
        let mut archive = Vec::new();
        for (name, bytes) in files.into_iter().chain(ends) {
            archive.extend(header(&name, bytes.len()));
            archive.extend(&bytes);
            archive.resize(archive.len().next_multiple_of(BLOCK), 0);
        }
        archive.resize(archive.len() + 2 * BLOCK, 0);
        archive
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn header(name: &str, size: usize) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000600\x000000000\x000000000\0");
    put(124, &format!("{size:011o}\0{:011o}\0", 1_795_000_000));
    put(148, "        0");
    put(257, "ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
