//! Writes an archive front to back. The size of a file is known when its last row has come, so its header is written
//! then, in the place that was left for it: nothing is kept in memory and nothing is written twice.

use std::{
    io::{self, SeekFrom},
    path::Path,
};

use sha2::{Digest, Sha256};
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncSeekExt, AsyncWriteExt, BufWriter},
};

use super::{
    file::{Tally, hex},
    manifest::{CHECKSUM, Contents, MANIFEST, Manifest},
    tar::{BLOCK, header, padding},
};

/// What is written to the disk at once.
const BUFFER: usize = 256 * 1024;

/// An archive on its way.
pub(super) struct Writer {
    to: BufWriter<File>,
    at: u64,
    mtime: u64,
    open: Tally,
}

impl Writer {
    /// A new file, for its owner alone.
    pub(super) async fn create(path: &Path, mtime: i64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        Ok(Self {
            to: BufWriter::with_capacity(BUFFER, options.open(path).await?),
            at: 0,
            mtime: u64::try_from(mtime).unwrap_or_default(),
            open: Tally::default(),
        })
    }

    /// Begins a file; what is put next belongs to it until [`Writer::end`].
    pub(super) async fn begin_file(&mut self) -> io::Result<()> {
        self.open = Tally::default();
        self.write(&[0; BLOCK]).await
    }

    pub(super) async fn put(&mut self, piece: &[u8]) -> io::Result<()> {
        self.open.add(piece);
        self.write(piece).await
    }

    /// Ends the file and gives it its name.
    pub(super) async fn end(&mut self, name: &str) -> io::Result<Contents> {
        let contents = std::mem::take(&mut self.open).contents();
        let size = contents.bytes;
        self.write(&[0; BLOCK][..padding(size)]).await?;
        let end = self.at;
        let begin = end - size - padding(size) as u64 - BLOCK as u64;
        self.to.seek(SeekFrom::Start(begin)).await?;
        self.to.write_all(&header(name, size, self.mtime)).await?;
        self.to.seek(SeekFrom::Start(end)).await?;
        Ok(contents)
    }

    /// Writes the manifest and makes the whole file durable. Gives its size, and the checksum of the manifest.
    pub(super) async fn finish(mut self, manifest: &Manifest) -> io::Result<(u64, Vec<u8>)> {
        let mut text = serde_json::to_vec_pretty(manifest).map_err(io::Error::other)?;
        text.push(b'\n');
        let sha256 = Sha256::digest(&text).to_vec();
        self.begin_file().await?;
        self.put(&text).await?;
        self.end(MANIFEST).await?;
        self.begin_file().await?;
        self.put(format!("{}  {MANIFEST}\n", hex(&sha256)).as_bytes()).await?;
        self.end(CHECKSUM).await?;
        self.write(&[0; 2 * BLOCK]).await?;
        self.to.flush().await?;
        self.to.get_ref().sync_all().await?;
        Ok((self.at, sha256))
    }

    /// Rows and bytes of the file that is open, and bytes of the archive.
    pub(super) const fn progress(&self) -> (u64, u64) {
        (self.open.rows(), self.at)
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes).await?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}
