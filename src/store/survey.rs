//! What a store holds, for people: how much, and every record of it.

use super::handles::ALL_RECORDS;
use super::handles::Records;
use super::keys::Reference;
use super::{Error, Reader, Store};
use crate::files;
use crate::protocol::id::MilestoneIndex;

/// What is known of an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochSurvey {
    /// Part of its folder's name.
    pub number: u32,
    /// First and last milestone.
    pub milestones: Option<(MilestoneIndex, MilestoneIndex)>,
    /// In its files.
    pub bytes: u64,
}

/// What is known of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Oldest first.
    pub epochs: Vec<EpochSurvey>,
    /// In the files of the unspent outputs.
    pub ledger_bytes: u64,
    /// In the journal of acknowledged blocks.
    pub journal_bytes: u64,
    /// In what was put aside as damaged.
    pub damaged_bytes: u64,
}

/// Records that were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All.
    pub records: u64,
    /// Of them, what says by which milestone a block is referenced.
    pub references: u64,
}

impl Store {
    /// Measures it. O(files).
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn survey(&self) -> Result<Survey, Error> {
        let bytes = |name: &str| {
            let path = self.folder.join(name);
            files::bytes_below(&path).map_err(Error::io("measuring", &path))
        };
        let mut epochs = Vec::new();
        for epoch in self.epochs.all() {
            let name = format!("e{:08}", epoch.number());
            let milestones = epoch.first_milestone()?.zip(epoch.marker()?);
            epochs.push(EpochSurvey { number: epoch.number(), milestones, bytes: bytes(&name)? });
        }
        let mut damaged_bytes = 0;
        for name in super::mend::put_aside_names(&self.folder)? {
            damaged_bytes += bytes(&name)?;
        }
        Ok(Survey { epochs, ledger_bytes: bytes("ledger")?, journal_bytes: bytes("journal")?, damaged_bytes })
    }
}

impl Reader {
    /// Reads every record of every epoch; `seen` is told the epoch, and how many records of it were read. O(bytes on disk).
    ///
    /// # Errors
    /// [`Error`] of the first that cannot be read.
    pub fn read_all(&self, mut seen: impl FnMut(u32, u64)) -> Result<Tally, Error> {
        let (mut tally, confirmed) = (Tally::default(), self.ledger_index());
        for epoch in self.epochs_newest_first().into_iter().rev() {
            let mut count = 0;
            for kind in ALL_RECORDS {
                epoch.each(kind, &[], |(_, value)| {
                    count += 1;
                    let reference =
                        (kind == Records::Reference).then(|| Reference::from_bytes(value)).flatten();
                    // One of a milestone whose commit never ended does not count.
                    tally.references +=
                        u64::from(reference.is_some_and(|reference| reference.milestone <= confirmed));
                    seen(epoch.number(), count);
                    Ok(())
                })?;
            }
            tally.records += count;
        }
        Ok(tally)
    }

    /// Every block in order of arrival. O(their bytes), some of them in memory.
    ///
    /// # Errors
    /// [`Error`] when the store cannot be read, or what `take` gives.
    pub fn each_block(&self, mut take: impl FnMut(&[u8]) -> std::io::Result<()>) -> Result<(), Error> {
        for epoch in self.epochs_newest_first().into_iter().rev() {
            epoch.each(Records::Block, &[], |(_, bytes)| {
                take(bytes).map_err(Error::io("copying blocks of", epoch.path()))
            })?;
        }
        Ok(())
    }

    /// The oldest milestone that a store may begin at so that everything after is known: that of the snapshot that this one
    /// began with, or, when more was pruned, the first whose solid entry points can be told.
    ///
    /// # Errors
    /// [`Error`] when the store cannot be read.
    pub fn oldest_start(&self, reach: u32) -> Result<Option<MilestoneIndex>, Error> {
        let Some(base) = self.base()? else { return Ok(None) };
        let begin = base.target.index;
        Ok(match self.first_milestone()? {
            Some(first) if first > begin.next() => {
                let oldest = MilestoneIndex(first.0 - 1 + reach);
                (oldest <= self.ledger_index()).then_some(oldest)
            }
            Some(_) | None => Some(begin),
        })
    }
}
