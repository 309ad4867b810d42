//! Reads archives, which may come from anywhere: nothing in one is believed before it is checked.

use std::{
    collections::BTreeSet,
    io::{self, SeekFrom},
    path::Path,
};

use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, BufReader},
};

use super::{
    ArchiveError,
    file::Tally,
    manifest::{CHECKSUM, Contents, MANIFEST, MAX_FILES, MAX_MANIFEST_BYTES, Manifest},
    tar::{BLOCK, padding, parse},
};

/// What is read at once.
const PIECE: usize = 64 * 1024;

/// An archive that is read front to back.
struct Reader {
    from: BufReader<File>,
}

impl Reader {
    async fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path).await?;
        Ok(Self {
            from: BufReader::with_capacity(PIECE, file),
        })
    }

    async fn block(&mut self) -> Result<[u8; BLOCK], ArchiveError> {
        let mut block = [0; BLOCK];
        self.fill(&mut block).await?;
        Ok(block)
    }

    async fn fill(&mut self, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        match self.from.read_exact(buffer).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(ArchiveError::Invalid("it ends too early".into()))
            }
            result => Ok(result.map(drop)?),
        }
    }

    /// The next file, or `None` at the end.
    async fn next(&mut self) -> Result<Option<(String, u64)>, ArchiveError> {
        let block = self.block().await?;
        if block == [0; BLOCK] {
            return Ok(None);
        }
        let found = parse(&block);
        found
            .map(Some)
            .ok_or_else(|| ArchiveError::Invalid("a header is not one of ours".into()))
    }

    /// Reads a file to its end and adds it up.
    async fn tally(&mut self, size: u64) -> Result<Contents, ArchiveError> {
        let mut tally = Tally::default();
        let mut piece = vec![0; PIECE];
        while tally.bytes() < size {
            let left = usize::try_from(size - tally.bytes()).unwrap_or(PIECE).min(PIECE);
            self.fill(&mut piece[..left]).await?;
            tally.add(&piece[..left]);
        }
        self.skip_padding(size).await?;
        Ok(tally.contents())
    }

    /// Reads a small file whole.
    async fn whole(&mut self, name: &str, size: u64) -> Result<Vec<u8>, ArchiveError> {
        if size > MAX_MANIFEST_BYTES {
            return Err(ArchiveError::Invalid(format!("{name} is too large")));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        self.fill(&mut bytes).await?;
        self.skip_padding(size).await?;
        Ok(bytes)
    }

    async fn skip_padding(&mut self, size: u64) -> Result<(), ArchiveError> {
        let mut rest = [0; BLOCK];
        let rest = &mut rest[..padding(size)];
        self.fill(rest).await?;
        if rest.iter().all(|byte| *byte == 0) {
            Ok(())
        } else {
            Err(ArchiveError::Invalid("there is something between two files".into()))
        }
    }

    /// After the last file come two empty blocks and nothing else.
    async fn end(&mut self) -> Result<(), ArchiveError> {
        let is_empty = self.block().await? == [0; BLOCK];
        if is_empty && self.from.read(&mut [0]).await? == 0 {
            Ok(())
        } else {
            Err(ArchiveError::Invalid("there is something after its end".into()))
        }
    }
}

/// Reads the whole archive and compares everything in it with its manifest. Gives the manifest and its checksum.
pub async fn verify(path: &Path) -> Result<(Manifest, String), ArchiveError> {
    let mut archive = Reader::open(path).await?;
    let mut names = BTreeSet::new();
    let mut found = Vec::new();
    let mut manifest = None;
    let mut checksum = None;
    while let Some((name, size)) = archive.next().await? {
        if checksum.is_some() || !names.insert(name.clone()) || names.len() > MAX_FILES {
            return Err(ArchiveError::Invalid(format!("{name} has no place in it")));
        }
        match name.as_str() {
            MANIFEST => manifest = Some(archive.whole(&name, size).await?),
            CHECKSUM => checksum = Some(archive.whole(&name, size).await?),
            _ => found.push((name, archive.tally(size).await?)),
        }
    }
    archive.end().await?;
    let (Some(text), Some(line)) = (manifest, checksum) else {
        return Err(ArchiveError::Invalid(format!("it has no {MANIFEST} with its checksum")));
    };
    let sha256 = sum(&text);
    if line != format!("{sha256}  {MANIFEST}\n").into_bytes() {
        return Err(ArchiveError::Invalid(format!("the checksum of {MANIFEST} is wrong")));
    }
    let manifest = Manifest::parse(&text)?;
    manifest.check(&found)?;
    Ok((manifest, sha256))
}

fn sum(bytes: &[u8]) -> String {
    let mut tally = Tally::default();
    tally.add(bytes);
    tally.contents().sha256
}

/// The manifest of an archive that was checked before.
pub(super) async fn manifest(path: &Path) -> Result<Manifest, ArchiveError> {
    let mut part = Part::open(path, MANIFEST).await?;
    let mut text = Vec::new();
    while let Some(piece) = part.next().await? {
        text.extend_from_slice(piece);
    }
    Manifest::parse(&text)
}

/// One file of an archive, added up once more while it is read.
pub(super) struct Part {
    from: File,
    left: u64,
    tally: Tally,
    piece: Vec<u8>,
}

impl Part {
    /// Goes to the file of this name.
    pub(super) async fn open(path: &Path, name: &str) -> Result<Self, ArchiveError> {
        let mut from = File::open(path).await?;
        let mut block = [0; BLOCK];
        loop {
            from.read_exact(&mut block).await?;
            let Some((found, size)) = parse(&block) else {
                return Err(ArchiveError::Invalid(format!("the file {name} is missing")));
            };
            if found == name {
                return Ok(Self {
                    from,
                    left: size,
                    tally: Tally::default(),
                    piece: vec![0; PIECE],
                });
            }
            let behind = size.saturating_add(padding(size) as u64);
            let behind = i64::try_from(behind).map_err(|_| ArchiveError::Invalid("a size is wrong".into()))?;
            from.seek(SeekFrom::Current(behind)).await?;
        }
    }

    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<&[u8]>, ArchiveError> {
        let len = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        if len == 0 {
            return Ok(None);
        }
        let piece = &mut self.piece[..len];
        self.from.read_exact(piece).await?;
        self.left -= len as u64;
        self.tally.add(piece);
        Ok(Some(piece))
    }

    /// What was read, all in all.
    pub(super) fn contents(self) -> Contents {
        self.tally.contents()
    }
}

#[cfg(test)]
mod tests;
