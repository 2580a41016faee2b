//! The reading side: everybody may hold one; reads never wait for the engine, only for a commit's flush.

use std::sync::Arc;

use super::epoch::Epoch;
use super::handles::Handles;
use super::ids::{beginning, beginning_of_output};
use super::keys::{BlockKey, Reference};
use super::ledger::Ledger;
use super::seal::Seal;
use super::{Confirmed, Epochs, Error, StoredMilestone};
use crate::fault::ViewError;
use crate::ledger::treasury::Treasury;
use crate::ledger::view::{Known, LedgerView};
use crate::ledger::{Booked, Delta};
use crate::protocol::block::Block;
use crate::protocol::id::{BlockId, MilestoneId, MilestoneIndex, OutputId, TransactionId};
use crate::protocol::milestone::MilestoneStamp;
use crate::protocol::params::Schedule;
use crate::protocol::transaction::Transaction;
use crate::snapshot::Base;
use crate::tangle::view::{self, Stored, TangleView};

/// Reads of the store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    epochs: Epochs,
    ledger: Ledger,
    confirmed: Confirmed,
}

/// Outputs that a milestone made, and those that it spent.
pub type Changes = (Vec<OutputId>, Vec<OutputId>);

/// An output, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputRecord {
    /// The output.
    pub booked: Booked,
    /// By what it was spent, and at which milestone.
    pub spent: Option<(TransactionId, MilestoneIndex)>,
}

impl Reader {
    pub(super) fn new(epochs: Epochs, ledger: Ledger, confirmed: Confirmed) -> Self {
        Self { epochs, ledger, confirmed }
    }

    /// Index of the newest milestone that is durable.
    pub fn ledger_index(&self) -> MilestoneIndex {
        self.confirmed.get()
    }

    /// An output; one that was spent is forgotten when the milestone that did so is pruned.
    ///
    /// # Errors
    /// [`Error`] when the store cannot be read.
    pub fn output(&self, id: &OutputId) -> Result<Option<OutputRecord>, Error> {
        // While a milestone is applied, an output may be in neither place.
        self.stable(|| {
            if let Some(booked) = self.ledger.unspent(id)? {
                return Ok(Some(OutputRecord { booked, spent: None }));
            }
            let durable = self.confirmed.get();
            let spent = self.find(
                |seal| seal.ids.may_hold(beginning_of_output(id)),
                |epoch| Ok(epoch.spent(id)?.filter(|(_, milestone)| *milestone <= durable)),
            )?;
            Ok(spent.map(|(spent, milestone)| OutputRecord {
                booked: spent.booked,
                spent: Some((spent.transaction, milestone)),
            }))
        })
    }

    /// Ids of what a milestone made and spent; `None` when it is not confirmed, or pruned.
    ///
    /// # Errors
    /// [`Error`] when the store cannot be read.
    pub fn changes(&self, index: MilestoneIndex) -> Result<Option<Changes>, Error> {
        self.of_milestone(index, |epoch| epoch.changes(index))
    }

    /// What a milestone did to the ledger; `None` when it is not confirmed, or pruned.
    ///
    /// # Errors
    /// [`Error`] when the store cannot be read.
    pub fn delta(&self, index: MilestoneIndex) -> Result<Option<Delta>, Error> {
        self.of_milestone(index, |epoch| epoch.delta(index))
    }

    /// Of the epoch with a confirmed milestone.
    fn of_milestone<T>(
        &self,
        index: MilestoneIndex,
        mut read: impl FnMut(&Handles) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        if index > self.confirmed.get() {
            return Ok(None);
        }
        self.find(
            |seal| seal.holds_milestone(index),
            |epoch| match epoch.milestone(index)? {
                Some(_) => read(epoch).map(Some),
                None => Ok(None),
            },
        )
    }

    /// Milestones that are not pruned and brought a receipt, ascending.
    ///
    /// # Errors
    /// [`Error`] when the store cannot be read.
    pub fn receipt_milestones(&self) -> Result<Vec<MilestoneIndex>, Error> {
        let mut found = Vec::new();
        for epoch in self.epochs.all() {
            found.extend(epoch.read(|epoch| epoch.treasury_milestones().map(Some))?.unwrap_or_default());
        }
        Ok(found)
    }

    /// All unspent outputs in order of their ids. What is confirmed meanwhile may or may not be among them.
    pub fn all_unspent(&self) -> impl Iterator<Item = Result<Booked, Error>> + '_ {
        self.ledger.all_unspent()
    }

    /// Bytes that the store takes on disk.
    ///
    /// # Errors
    /// [`Error`] when it cannot be read.
    pub fn disk_bytes(&self) -> Result<u64, Error> {
        let mut bytes = self.ledger.disk_bytes()?;
        for epoch in self.epochs.all() {
            bytes += epoch.read(|epoch| epoch.disk_bytes().map(Some))?.unwrap_or(0);
        }
        Ok(bytes)
    }

    /// What the treasury holds.
    ///
    /// # Errors
    /// [`Error`] when the store cannot be read.
    pub fn treasury(&self) -> Result<Treasury, Error> {
        Ok(self.ledger.treasury()?.unwrap_or(Treasury::EMPTY))
    }

    /// The snapshot that the ledger began with; `None` before that was imported.
    ///
    /// # Errors
    /// [`Error`] when the store cannot be read.
    pub fn base(&self) -> Result<Option<Base>, Error> {
        self.ledger.base()
    }

    /// The first answer, newest epoch first, of those whose seal does not rule one out. O(epochs), most without a look at
    /// the disk.
    fn find<T>(
        &self,
        may_hold: impl Fn(&Seal) -> bool,
        mut read: impl FnMut(&Handles) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        for epoch in self.newest_first() {
            if epoch.sealed().is_none_or(&may_hold)
                && let Some(found) = epoch.read(&mut read)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn newest_first(&self) -> Vec<Arc<Epoch>> {
        self.epochs.all().into_iter().rev().collect()
    }

    pub(super) fn epochs_newest_first(&self) -> Vec<Arc<Epoch>> {
        self.newest_first()
    }

    /// The first milestone that is kept.
    ///
    /// # Errors
    /// [`Error`] when the store cannot be read.
    pub fn first_milestone(&self) -> Result<Option<MilestoneIndex>, Error> {
        for epoch in self.epochs.all() {
            if let Some(first) = epoch.first_milestone()? {
                return Ok(Some(first));
            }
        }
        Ok(None)
    }

    /// Reads of the ledger between two changes of it.
    pub(super) fn stable<T>(&self, read: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        self.ledger.stable(read)
    }

    pub(super) fn unspent_after(&self, after: Option<OutputId>, count: usize) -> Result<Vec<Booked>, Error> {
        self.ledger.unspent_after(after, count)
    }

    pub(super) fn schedule(&self) -> Result<Schedule, Error> {
        self.ledger.schedule()?.ok_or_else(|| self.ledger.damaged("protocol parameters"))
    }

    /// What the treasury held before a milestone that changed it.
    pub(super) fn treasury_before(&self, index: MilestoneIndex) -> Result<Option<Treasury>, Error> {
        let found = self.find(|seal| seal.holds_milestone(index), |epoch| epoch.treasury(index))?;
        Ok(found.map(|(before, _)| before))
    }

    /// Bytes of a block.
    ///
    /// # Errors
    /// [`Error`] when the store cannot be read.
    pub fn block(&self, id: &BlockId) -> Result<Option<Vec<u8>>, Error> {
        self.find(
            |seal| seal.ids.may_hold(beginning(&id.0)),
            |epoch| Ok(epoch.block_of(id)?.map(|(_, bytes)| bytes)),
        )
    }

    /// Whether a block is here.
    ///
    /// # Errors
    /// [`Error`] when the store cannot be read.
    pub fn knows(&self, id: &BlockId) -> Result<bool, Error> {
        Ok(self.block_key(id)?.is_some())
    }

    pub(super) fn block_key(&self, id: &BlockId) -> Result<Option<BlockKey>, Error> {
        self.find(|seal| seal.ids.may_hold(beginning(&id.0)), |epoch| epoch.block_key(id))
    }

    /// Which milestone references a block, `None` when none does or the block is not known.
    ///
    /// # Errors
    /// [`Error`] when the store cannot be read.
    pub fn reference(&self, id: &BlockId) -> Result<Option<Reference>, Error> {
        match self.block_key(id)? {
            Some(key) => self.reference_of(key),
            None => Ok(None),
        }
    }

    pub(super) fn reference_of(&self, key: BlockKey) -> Result<Option<Reference>, Error> {
        let durable = self.confirmed.get();
        // A block that came before milestone N is referenced by that or a later one.
        self.find(
            |seal| seal.milestones.is_some_and(|(_, last)| last >= key.interval),
            |epoch| Ok(epoch.reference(key)?.filter(|reference| reference.milestone <= durable)),
        )
    }

    /// A confirmed milestone.
    ///
    /// # Errors
    /// [`Error`] when the store cannot be read.
    pub fn milestone(&self, index: MilestoneIndex) -> Result<Option<StoredMilestone>, Error> {
        if index > self.confirmed.get() {
            return Ok(None);
        }
        let read = |epoch: &Handles| match epoch.milestone(index)? {
            Some((block_id, payload)) => {
                let parsed = StoredMilestone::parse(block_id, payload);
                Ok(Some(parsed.ok_or_else(|| epoch.damaged("milestone"))?))
            }
            None => Ok(None),
        };
        self.find(|seal| seal.holds_milestone(index), read)
    }

    /// Index of a confirmed milestone.
    ///
    /// # Errors
    /// [`Error`] when the store cannot be read.
    pub fn milestone_index(&self, id: &MilestoneId) -> Result<Option<MilestoneIndex>, Error> {
        let durable = self.confirmed.get();
        self.find(
            |seal| seal.ids.may_hold(beginning(&id.0)),
            |epoch| Ok(epoch.milestone_index(id)?.filter(|index| *index <= durable)),
        )
    }

    /// The newest epoch may be empty still: the marker is looked for in all of them.
    pub(super) fn newest_marker(&self) -> Result<Option<MilestoneIndex>, Error> {
        self.newest_first().iter().find_map(|epoch| epoch.marker().transpose()).transpose()
    }

    /// Keys of all blocks that arrived from `interval` on, in order; stops at the first epoch that has none.
    pub(super) fn block_keys_from(&self, interval: MilestoneIndex) -> Result<Vec<BlockKey>, Error> {
        let mut keys = Vec::new();
        for (age, epoch) in self.newest_first().into_iter().enumerate() {
            let found = epoch.read(|epoch| epoch.block_keys_from(interval).map(Some))?.unwrap_or_default();
            if found.is_empty() && age > 0 {
                break;
            }
            keys.extend(found);
        }
        keys.sort_unstable();
        Ok(keys)
    }

    pub(super) fn block_at(&self, key: BlockKey) -> Result<Option<Vec<u8>>, Error> {
        self.find(|seal| seal.holds_interval(key.interval), |epoch| epoch.block(key))
    }
}

impl TangleView for Reader {
    fn stored(&self, id: &BlockId) -> Result<Option<Stored>, ViewError> {
        let failed = |error: Error| ViewError(error.to_string());
        let Some(bytes) = self.block(id).map_err(failed)? else { return Ok(None) };
        let block = Block::parse(&bytes).map_err(|error| ViewError(format!("block {id}: {error}")))?;
        let referenced = self.reference(id).map_err(failed)?.map(|reference| reference.milestone);
        let milestone = match block.milestone() {
            None => None,
            // Validly signed exactly when it was confirmed under this index.
            Some(payload) => {
                self.milestone(payload.essence.index).map_err(failed)?.map(|stored| stored.stamp()).filter(
                    |stamp: &MilestoneStamp| {
                        let parents = payload.essence.parents.as_slice();
                        stamp.id == payload.essence.id() && parents.starts_with(block.parents.as_slice())
                    },
                )
            }
        };
        // Nobody kept what was found of its signatures.
        let transaction = block.transaction().map(|_| view::Transaction { signed: false });
        Ok(Some(Stored { parents: block.parents.as_slice().to_vec(), referenced, milestone, transaction }))
    }
}

impl LedgerView for Reader {
    fn output(&self, id: &OutputId) -> Result<Option<Known>, ViewError> {
        let found = Self::output(self, id).map_err(|error| ViewError(error.to_string()))?;
        Ok(found.map(|record| match record.spent {
            None => Known::Unspent(Box::new(record.booked)),
            Some(_) => Known::Spent,
        }))
    }

    fn transaction(&self, id: &BlockId) -> Result<Option<Transaction>, ViewError> {
        let bytes = self.block(id).map_err(|error| ViewError(error.to_string()))?;
        let bytes = bytes.ok_or_else(|| ViewError(format!("block {id} is missing")))?;
        let block = Block::parse(&bytes).map_err(|error| ViewError(format!("block {id}: {error}")))?;
        Ok(block.into_transaction())
    }
}
