//! What is known of a closed epoch without opening it: its milestones, and a filter of the ids in it.
//!
//! A file in the epoch's folder, written once it does not change any more. It spares look-ups that find nothing (each opens a
//! database otherwise: 81 files, 50 to 150 ms), and tells an epoch that lost its end from a whole one. Without it, or when it
//! is damaged, an epoch is looked at itself, and the file is made anew.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use super::Error;
use crate::files;
use crate::protocol::blake2b_256;
use crate::protocol::id::MilestoneIndex;
use crate::protocol::pack::{Reader as Bytes, Writer};

const NAME: &str = "seal";

/// First bytes of the file; the number is the version of its form.
const MAGIC: &[u8; 8] = b"OsmSeal2";

/// See the module. 1.25 bytes in memory for each id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seal {
    /// The last milestone that was committed to it.
    pub(super) marker: Option<MilestoneIndex>,
    /// First and last milestone that stand there.
    pub(super) milestones: Option<(MilestoneIndex, MilestoneIndex)>,
    /// Of which intervals there are blocks.
    pub(super) intervals: Option<(MilestoneIndex, MilestoneIndex)>,
    /// Of blocks, milestones, and outputs that are spent here.
    pub(super) ids: Filter,
}

impl Seal {
    pub(super) fn holds_milestone(&self, index: MilestoneIndex) -> bool {
        within(self.milestones, index)
    }

    pub(super) fn holds_interval(&self, index: MilestoneIndex) -> bool {
        within(self.intervals, index)
    }

    /// `None` when there is none that is whole.
    pub(super) fn load(epoch: &Path) -> Option<Self> {
        let bytes = fs::read(epoch.join(NAME)).ok()?;
        let (content, sum) = bytes.split_last_chunk::<32>()?;
        let mut reader = Bytes::new(content);
        if blake2b_256(content) != *sum || reader.array::<8>("magic").ok()? != *MAGIC {
            return None;
        }
        let marker = reader.u32("marker").ok()?;
        let mut pair = || Some((reader.u32("first").ok()?, reader.u32("last").ok()?));
        let (milestones, intervals) = (pair()?, pair()?);
        // A range that ends before it begins stands for none.
        let some = |(first, last): (u32, u32)| {
            (first <= last).then_some((MilestoneIndex(first), MilestoneIndex(last)))
        };
        let count = reader.u32("words").ok()?;
        let words = (0..count).map(|_| reader.u64("word").ok()).collect::<Option<Vec<_>>>()?;
        reader.finish("seal").ok()?;
        let ids = Filter { words: (!words.is_empty()).then_some(words)? };
        // No milestone has the number 0.
        let marker = (marker > 0).then_some(MilestoneIndex(marker));
        Some(Self { marker, milestones: some(milestones), intervals: some(intervals), ids })
    }

    /// The epoch is written to again.
    pub(super) fn forget(epoch: &Path) -> Result<(), Error> {
        let path = epoch.join(NAME);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("deleting", &path)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(super) fn save(&self, epoch: &Path) -> Result<(), Error> {
        let mut writer = Writer::default();
        writer.bytes(MAGIC).u32(self.marker.map_or(0, |marker| marker.0));
        for range in [self.milestones, self.intervals] {
            let (first, last) = range.map_or((1, 0), |(first, last)| (first.0, last.0));
            writer.u32(first).u32(last);
        }
        writer.count_u32(self.ids.words.len());
        for word in &self.ids.words {
            writer.u64(*word);
        }
        let mut bytes = writer.into_bytes();
        bytes.extend_from_slice(&blake2b_256(&bytes));
        let path = epoch.join(NAME);
        files::write_atomic(&path, &bytes, 0o644).map_err(Error::io("writing", &path))
    }
}

fn within(range: Option<(MilestoneIndex, MilestoneIndex)>, index: MilestoneIndex) -> bool {
    range.is_some_and(|(first, last)| RangeInclusive::new(first, last).contains(&index))
}

/// Bits for each id, and how many of them it sets: one of 100 that are not there is taken for one that may be.
const BITS: usize = 10;
const PROBES: u64 = 6;

/// A Bloom filter of what ids begin with: they are hashes, so these bytes tell the bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    /// At least one.
    words: Vec<u64>,
}

impl Filter {
    pub(super) fn for_ids(count: usize) -> Self {
        Self { words: vec![0; (count * BITS).div_ceil(64).max(1)] }
    }

    pub(super) fn add(&mut self, beginning: u64) {
        for (word, mask) in bits(beginning, self.words.len()) {
            self.words[word] |= mask;
        }
    }

    /// False only when it was never added.
    pub(super) fn may_hold(&self, beginning: u64) -> bool {
        bits(beginning, self.words.len()).all(|(word, mask)| self.words[word] & mask != 0)
    }
}

/// Word and mask of each bit of an id in so many words.
fn bits(beginning: u64, words: usize) -> impl Iterator<Item = (usize, u64)> {
    // Odd, so that no two probes fall together.
    let step = (beginning.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1;
    let count = words as u64 * 64;
    (0..PROBES).map(move |probe| {
        let bit = beginning.wrapping_add(probe.wrapping_mul(step)) % count;
        // Less than `words`.
        (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::{Filter, Seal};
    use crate::protocol::blake2b_256;
    use crate::protocol::id::MilestoneIndex;
    use crate::store::ids::beginning;

    fn id(number: u32) -> u64 {
        beginning(&blake2b_256(&number.to_be_bytes()))
    }

    #[test]
    fn a_filter_knows_all_that_was_added_and_little_else() {
        for count in [0_u32, 1, 100, 20_000] {
            let mut filter = Filter::for_ids(count as usize);
            (0..count).for_each(|number| filter.add(id(number)));
            assert!((0..count).all(|number| filter.may_hold(id(number))));
            let wrong = (count..count + 10_000).filter(|number| filter.may_hold(id(*number))).count();
            assert!(wrong < 200, "{wrong} of 10000 with {count}");
        }
    }

    #[test]
    fn a_seal_is_read_as_written_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let mut ids = Filter::for_ids(50);
        (0..50).for_each(|number| ids.add(id(number)));
        let range = Some((MilestoneIndex(3), MilestoneIndex(9)));
        let seal = Seal { marker: Some(MilestoneIndex(9)), milestones: range, intervals: None, ids };
        assert_eq!(Seal::load(folder.path()), None);
        seal.save(folder.path()).unwrap();
        assert_eq!(Seal::load(folder.path()), Some(seal));
        let path = folder.path().join("seal");
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            assert_eq!(Seal::load(folder.path()), None, "byte {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(Seal::load(folder.path()), None, "cut at {at}");
        }
    }
}
