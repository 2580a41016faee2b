//! Where in an epoch something with an id is.
//!
//! Ids are hashes: as keys of a tree, each would touch a leaf of its own at each flush, and cost ten times its bytes on flash.
//! So they are in memory while the epoch is written to (24 bytes each; a start reads them from the records), and then in a file
//! that is written once, sorted. It holds the first eight bytes of an id and the place; whoever looks something up compares the
//! whole id with what stands there: several may begin alike.
//!
//! The file `ids`: `OsmIdx_1`, three counts u64 LE, the entries of each kind (beginning u64 BE, place u64 BE) in order, and the
//! BLAKE2b-256 of all before.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use super::Error;
use crate::files;
use crate::protocol::blake2b_256;
use crate::protocol::id::OutputId;

const NAME: &str = "ids";
const MAGIC: &[u8; 8] = b"OsmIdx_1";
const HEAD: u64 = 8 + 3 * 8;
const ENTRY: u64 = 16;

/// Whose ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Blocks; the place is a block key.
    Block,
    /// Outputs that were spent; the place is a key in `consumed`.
    Spent,
    /// Milestones; the place is the index.
    Milestone,
}

const KINDS: [Kind; 3] = [Kind::Block, Kind::Spent, Kind::Milestone];

/// What an id begins with.
pub(super) fn beginning(id: &[u8; 32]) -> u64 {
    id[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The same for an output: those of one transaction differ.
pub(super) fn beginning_of_output(id: &OutputId) -> u64 {
    beginning(&id.transaction.0) ^ u64::from(id.index)
}

/// In memory.
#[derive(Debug, Default)]
pub(super) struct Ids([BTreeSet<(u64, u64)>; 3]);

impl Ids {
    pub(super) fn add(&mut self, kind: Kind, beginning: u64, place: u64) {
        self.0[kind as usize].insert((beginning, place));
    }

    fn places(&self, kind: Kind, beginning: u64) -> Vec<u64> {
        let range = (beginning, 0)..=(beginning, u64::MAX);
        self.0[kind as usize].range(range).map(|(_, place)| *place).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(BTreeSet::len).sum()
    }

    /// Of all kinds.
    pub(super) fn beginnings(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flatten().map(|(beginning, _)| *beginning)
    }

    /// Writes the file.
    pub(super) fn save(&self, epoch: &Path) -> Result<(), Error> {
        let mut bytes = MAGIC.to_vec();
        for kind in KINDS {
            bytes.extend_from_slice(&(self.0[kind as usize].len() as u64).to_le_bytes());
        }
        for (beginning, place) in self.0.iter().flatten() {
            bytes.extend_from_slice(&beginning.to_be_bytes());
            bytes.extend_from_slice(&place.to_be_bytes());
        }
        bytes.extend_from_slice(&blake2b_256(&bytes));
        let path = epoch.join(NAME);
        files::write_atomic(&path, &bytes, 0o644).map_err(Error::io("writing", &path))
    }
}

/// On disk.
#[derive(Debug)]
pub(super) struct IdsFile {
    file: File,
    counts: [u64; 3],
}

impl IdsFile {
    /// `None` when there is none that is whole. Reads all of it.
    fn open(epoch: &Path) -> Option<Self> {
        let path = epoch.join(NAME);
        let bytes = fs::read(&path).ok()?;
        let (content, sum) = bytes.split_last_chunk::<32>()?;
        if blake2b_256(content) != *sum || !content.starts_with(MAGIC) {
            return None;
        }
        let count = |number: usize| {
            let at = 8 + 8 * number;
            Some(u64::from_le_bytes(content.get(at..at + 8)?.try_into().ok()?))
        };
        Some(Self { file: File::open(path).ok()?, counts: [count(0)?, count(1)?, count(2)?] })
    }

    fn entry(&self, number: u64) -> io::Result<(u64, u64)> {
        let mut bytes = [0; 16];
        self.file.read_exact_at(&mut bytes, HEAD + number * ENTRY)?;
        let number = u128::from_be_bytes(bytes);
        Ok((
            u64::try_from(number >> 64).unwrap_or(0),
            u64::try_from(number & u128::from(u64::MAX)).unwrap_or(0),
        ))
    }

    /// O(log entries) reads.
    fn places(&self, kind: Kind, beginning: u64) -> io::Result<Vec<u64>> {
        let first = self.counts[..kind as usize].iter().sum::<u64>();
        let end = first + self.counts[kind as usize];
        let (mut low, mut high) = (first, end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(middle)?.0 < beginning { low = middle + 1 } else { high = middle }
        }
        let mut places = Vec::new();
        for number in low..end {
            let (found, place) = self.entry(number)?;
            if found != beginning {
                break;
            }
            places.push(place);
        }
        Ok(places)
    }
}

/// Either.
#[derive(Debug, Clone)]
pub(super) enum Lookup {
    Memory(Arc<RwLock<Ids>>),
    Disk(Arc<IdsFile>),
}

impl Lookup {
    /// What is on disk, or an empty one in memory.
    pub(super) fn of(epoch: &Path, sealed: bool) -> Self {
        match IdsFile::open(epoch).filter(|_| sealed) {
            Some(file) => Self::Disk(Arc::new(file)),
            None => Self::Memory(Arc::default()),
        }
    }

    pub(super) fn places(&self, kind: Kind, beginning: u64) -> io::Result<Vec<u64>> {
        match self {
            // Whoever panics while adding has added or not.
            Self::Memory(ids) => {
                Ok(ids.read().unwrap_or_else(PoisonError::into_inner).places(kind, beginning))
            }
            Self::Disk(file) => file.places(kind, beginning),
        }
    }

    /// Nothing is added to an epoch that is closed.
    pub(super) fn add(&self, kind: Kind, beginning: u64, place: u64) {
        if let Self::Memory(ids) = self {
            ids.write().unwrap_or_else(PoisonError::into_inner).add(kind, beginning, place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ids, IdsFile, Kind};

    #[test]
    fn the_file_knows_what_the_memory_knew() {
        let folder = tempfile::tempdir().unwrap();
        let mut ids = Ids::default();
        for number in 0..1_000_u64 {
            let beginning = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ids.add(Kind::Block, beginning, number);
            ids.add([Kind::Spent, Kind::Milestone][usize::from(number % 3 == 0)], beginning / 2, number);
        }
        // Several may begin alike.
        (0..5).for_each(|place| ids.add(Kind::Block, 77, place));
        ids.save(folder.path()).unwrap();
        let file = IdsFile::open(folder.path()).unwrap();
        for kind in super::KINDS {
            for beginning in ids.beginnings().chain([0, 1, 77, u64::MAX]) {
                assert_eq!(file.places(kind, beginning).unwrap(), ids.places(kind, beginning));
            }
        }
        assert_eq!(file.places(Kind::Block, 77).unwrap(), [0, 1, 2, 3, 4]);
        let path = folder.path().join("ids");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[900] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(IdsFile::open(folder.path()).is_none());
        std::fs::write(&path, "").unwrap();
        assert!(IdsFile::open(folder.path()).is_none());
    }
}
