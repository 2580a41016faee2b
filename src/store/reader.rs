//! The reading side: everybody may hold one; reads never wait for the engine, only for a commit's flush.

use std::sync::Arc;

use super::epoch::{Epoch, Handles};
use super::keys::{BlockKey, Reference};
use super::{Confirmed, Epochs, Error, StoredMilestone};
use crate::fault::ViewError;
use crate::protocol::block::Block;
use crate::protocol::id::{BlockId, MilestoneId, MilestoneIndex};
use crate::protocol::milestone::MilestoneStamp;
use crate::tangle::view::{Stored, TangleView};

/// Reads of the store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    epochs: Epochs,
    confirmed: Confirmed,
}

impl Reader {
    pub(super) fn new(epochs: Epochs, confirmed: Confirmed) -> Self {
        Self { epochs, confirmed }
    }

    /// The first answer, newest epoch first. O(epochs) look-ups.
    fn find<T>(
        &self,
        mut read: impl FnMut(&Handles) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        for epoch in self.newest_first() {
            if let Some(found) = epoch.read(&mut read)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn newest_first(&self) -> Vec<Arc<Epoch>> {
        self.epochs.all().into_iter().rev().collect()
    }

    /// Bytes of a block.
    ///
    /// # Errors
    /// [`Error`] when the store cannot be read.
    pub fn block(&self, id: &BlockId) -> Result<Option<Vec<u8>>, Error> {
        self.find(|epoch| match epoch.block_key(id)? {
            Some(key) => epoch.block(key),
            None => Ok(None),
        })
    }

    pub(super) fn block_key(&self, id: &BlockId) -> Result<Option<BlockKey>, Error> {
        self.find(|epoch| epoch.block_key(id))
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
        self.find(|epoch| Ok(epoch.reference(key)?.filter(|reference| reference.milestone <= durable)))
    }

    /// A confirmed milestone.
    ///
    /// # Errors
    /// [`Error`] when the store cannot be read.
    pub fn milestone(&self, index: MilestoneIndex) -> Result<Option<StoredMilestone>, Error> {
        if index > self.confirmed.get() {
            return Ok(None);
        }
        self.find(|epoch| match epoch.milestone(index)? {
            Some((block_id, payload)) => {
                let parsed = StoredMilestone::parse(block_id, payload);
                Ok(Some(parsed.ok_or_else(|| epoch.damaged("milestone"))?))
            }
            None => Ok(None),
        })
    }

    /// Index of a confirmed milestone.
    ///
    /// # Errors
    /// [`Error`] when the store cannot be read.
    pub fn milestone_index(&self, id: &MilestoneId) -> Result<Option<MilestoneIndex>, Error> {
        let durable = self.confirmed.get();
        self.find(|epoch| Ok(epoch.milestone_index(id)?.filter(|index| *index <= durable)))
    }

    /// The newest epoch may be empty still: the marker is looked for in all of them.
    pub(super) fn newest_marker(&self) -> Result<Option<MilestoneIndex>, Error> {
        self.find(Handles::marker)
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
        self.find(|epoch| epoch.block(key))
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
        Ok(Some(Stored { parents: block.parents.as_slice().to_vec(), referenced, milestone }))
    }
}
