//! The journal: blocks that a client was told are stored, until the next commit makes them durable.
//!
//! A record is `length u32 LE`, BLAKE2b-256 of the block, the block. Reading stops at the first record that
//! is not whole: what follows was never acknowledged. Costs one fsync for each batch of blocks.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::Error;
use crate::files;
use crate::protocol::{MAX_BLOCK_BYTES, blake2b_256};

const HEADER_BYTES: usize = 4 + 32;

#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    /// Something was appended since the last sync.
    dirty: bool,
    empty: bool,
}

impl Journal {
    /// Opens the journal and reads the blocks that it holds.
    pub(super) fn open(folder: &Path) -> Result<(Self, Vec<Vec<u8>>), Error> {
        let path = folder.join("journal");
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io("opening", &path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(Error::io("reading", &path))?;
        let (blocks, whole) = records(&bytes);
        if whole < bytes.len() {
            let dropped = bytes.len() - whole;
            tracing::warn!(
                dropped,
                kept = blocks.len(),
                "journal: bytes behind the last whole record dropped"
            );
        }
        // Appending continues behind the last whole record.
        file.set_len(whole as u64).map_err(Error::io("truncating", &path))?;
        file.seek(SeekFrom::End(0)).map_err(Error::io("seeking in", &path))?;
        file.sync_all().map_err(Error::io("syncing", &path))?;
        files::sync_folder(folder).map_err(Error::io("syncing", folder))?;
        let empty = blocks.is_empty();
        Ok((Self { file, path, dirty: false, empty }, blocks))
    }

    pub(super) fn append(&mut self, block: &[u8]) -> Result<(), Error> {
        // A block is at most 32,768 bytes.
        let length = u32::try_from(block.len()).unwrap_or(u32::MAX);
        let mut record = Vec::with_capacity(HEADER_BYTES + block.len());
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(&blake2b_256(block));
        record.extend_from_slice(block);
        self.file.write_all(&record).map_err(Error::io("appending to", &self.path))?;
        self.dirty = true;
        self.empty = false;
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<(), Error> {
        if self.dirty {
            self.file.sync_data().map_err(Error::io("syncing", &self.path))?;
            self.dirty = false;
        }
        Ok(())
    }

    /// Empties it after a commit. Not synced: old records that come back are known blocks.
    pub(super) fn clear(&mut self) -> Result<(), Error> {
        if !self.empty {
            self.file.set_len(0).map_err(Error::io("truncating", &self.path))?;
            self.file.seek(SeekFrom::Start(0)).map_err(Error::io("seeking in", &self.path))?;
        }
        self.dirty = false;
        self.empty = true;
        Ok(())
    }
}

/// The whole records at the start of `bytes`, and where they end.
fn records(bytes: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let mut blocks = Vec::new();
    let mut at = 0;
    while let Some((block, end)) = record(bytes, at) {
        blocks.push(block.to_vec());
        at = end;
    }
    (blocks, at)
}

fn record(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let header = bytes.get(at..at + HEADER_BYTES)?;
    let length = u32::from_le_bytes(header[..4].try_into().ok()?) as usize;
    if length > MAX_BLOCK_BYTES {
        return None;
    }
    let end = at + HEADER_BYTES + length;
    let block = bytes.get(at + HEADER_BYTES..end)?;
    (blake2b_256(block) == header[4..]).then_some((block, end))
}

#[cfg(test)]
mod tests {
    use super::Journal;

    #[test]
    fn keeps_whole_records_and_drops_a_torn_one() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, blocks) = Journal::open(folder.path()).unwrap();
        assert!(blocks.is_empty());
        for block in [b"one".as_slice(), b"two"] {
            journal.append(block).unwrap();
        }
        journal.sync().unwrap();
        let path = folder.path().join("journal");
        let whole = std::fs::read(&path).unwrap();
        for torn in 0..=whole.len() {
            std::fs::write(&path, &whole[..torn]).unwrap();
            let (mut journal, blocks) = Journal::open(folder.path()).unwrap();
            assert_eq!(blocks.len(), torn / 39, "cut after {torn} bytes");
            journal.append(b"new").unwrap();
            journal.sync().unwrap();
            let (_, again) = Journal::open(folder.path()).unwrap();
            assert_eq!(again.last().unwrap(), b"new");
        }
        let (mut journal, _) = Journal::open(folder.path()).unwrap();
        journal.clear().unwrap();
        assert!(Journal::open(folder.path()).unwrap().1.is_empty());
    }

    #[test]
    fn a_flipped_bit_ends_the_journal() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path()).unwrap();
        journal.append(b"one").unwrap();
        journal.append(b"two").unwrap();
        let path = folder.path().join("journal");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(Journal::open(folder.path()).unwrap().1, [b"one"]);
    }
}
