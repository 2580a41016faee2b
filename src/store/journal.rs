//! The journal: blocks that a client was told are stored, until the next commit makes them durable.
//!
//! A record is [`MARK`], `length u32 LE`, BLAKE2b-256 of the block, the block. One that is not whole, because power was cut or
//! the disk is damaged there, is passed over: what follows it counts. Costs one fsync for each batch of blocks.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::Error;
use crate::files;
use crate::protocol::{MAX_BLOCK_BYTES, blake2b_256};

/// Begins a record, so that the next one is found behind damage.
const MARK: [u8; 4] = *b"OsJ2";

const HEADER_BYTES: usize = 4 + 4 + 32;

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
        let kept = blocks.iter().map(|block| HEADER_BYTES + block.len()).sum::<usize>();
        if kept < bytes.len() {
            let dropped = bytes.len() - kept;
            tracing::warn!(dropped, kept, "journal: bytes dropped that are no whole record");
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
        record.extend_from_slice(&MARK);
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

/// The blocks of all whole records, and where the last of them ends.
fn records(bytes: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let (mut blocks, mut end) = (Vec::new(), 0);
    let mut at = 0;
    while let Some(next) = bytes.get(at..).and_then(next_mark) {
        at += next;
        match record(&bytes[at..]) {
            Some(block) => {
                blocks.push(block.to_vec());
                at += HEADER_BYTES + block.len();
                end = at;
            }
            // The mark may stand in a block.
            None => at += 1,
        }
    }
    (blocks, end)
}

fn next_mark(bytes: &[u8]) -> Option<usize> {
    bytes.windows(MARK.len()).position(|window| window == MARK)
}

/// The block of the record that begins here, if it is whole.
fn record(bytes: &[u8]) -> Option<&[u8]> {
    let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
    let (length, sum) = header.strip_prefix(&MARK)?.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let block = rest.get(..length).filter(|_| length <= MAX_BLOCK_BYTES)?;
    (blake2b_256(block) == sum).then_some(block)
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
            assert_eq!(blocks.len(), torn / 43, "cut after {torn} bytes");
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
    fn a_flipped_bit_costs_one_record() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path()).unwrap();
        // The mark of a record may stand in a block.
        let blocks = [b"one".as_slice(), b"two OsJ2", b"three"];
        blocks.iter().for_each(|block| journal.append(block).unwrap());
        let path = folder.path().join("journal");
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            let found = Journal::open(folder.path()).unwrap().1;
            assert_eq!(found.len(), 2, "byte {at}");
            assert!(found.iter().all(|block| blocks.contains(&block.as_slice())), "byte {at}");
        }
    }
}
