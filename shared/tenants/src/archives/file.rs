//! What a part of an archive adds up to, counted while it passes.

use sha2::{Digest, Sha256};

use super::manifest::Contents;

/// Counts lines and bytes and adds them to a checksum.
#[derive(Default)]
pub(super) struct Tally {
    sha256: Sha256,
    rows: u64,
    bytes: u64,
}

impl Tally {
    pub(super) fn add(&mut self, piece: &[u8]) {
        self.sha256.update(piece);
        self.rows += piece.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
        self.bytes += piece.len() as u64;
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }

    /// A last line without its end counts as none, so that it is missed.
    pub(super) fn contents(self) -> Contents {
        Contents {
            rows: self.rows,
            bytes: self.bytes,
            sha256: hex(&self.sha256.finalize()),
        }
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
