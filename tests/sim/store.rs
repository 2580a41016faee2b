//! A store in memory. What was committed survives a crash; what was put since does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use osmia::engine::effect::Confirmation;
use osmia::fault::ViewError;
use osmia::ledger::Booked;
use osmia::ledger::view::{Known, LedgerView};
use osmia::protocol::block::Block;
use osmia::protocol::id::{BlockId, MilestoneIndex, OutputId};
use osmia::protocol::milestone::{Milestone, MilestoneStamp};
use osmia::protocol::transaction::Transaction;
use osmia::tangle::view::{self, Stored, TangleView};

#[derive(Debug, Clone)]
struct Kept {
    bytes: Arc<[u8]>,
    referenced: Option<MilestoneIndex>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct MemStore {
    blocks: BTreeMap<BlockId, Kept>,
    /// In order of arrival.
    order: Vec<BlockId>,
    milestones: BTreeMap<MilestoneIndex, (BlockId, Milestone)>,
    unspent: BTreeMap<OutputId, Booked>,
    spent: BTreeSet<OutputId>,
}

impl MemStore {
    pub(crate) fn founded(outputs: Vec<Booked>) -> Self {
        let unspent = outputs.into_iter().map(|booked| (booked.id, booked)).collect();
        Self { unspent, ..Self::default() }
    }

    pub(crate) fn put(&mut self, id: BlockId, bytes: Arc<[u8]>) {
        self.order.push(id);
        self.blocks.insert(id, Kept { bytes, referenced: None });
    }

    pub(crate) fn commit(&mut self, confirmation: &Confirmation) {
        let index = confirmation.stamp.index;
        for referenced in &confirmation.referenced {
            let block = self.blocks.get_mut(&referenced.id).expect("what is referenced was put");
            assert_eq!(block.referenced, None, "{} is referenced twice", referenced.id);
            block.referenced = Some(index);
        }
        self.milestones.insert(index, (confirmation.block_id, confirmation.milestone.clone()));
        for booked in &confirmation.delta.created {
            self.unspent.insert(booked.id, booked.clone());
        }
        for spent in &confirmation.delta.consumed {
            self.unspent.remove(&spent.booked.id);
            self.spent.insert(spent.booked.id);
        }
    }

    pub(crate) fn bytes(&self, id: &BlockId) -> Option<Arc<[u8]>> {
        self.blocks.get(id).map(|block| block.bytes.clone())
    }

    pub(crate) fn referenced(&self, id: &BlockId) -> Option<MilestoneIndex> {
        self.blocks.get(id)?.referenced
    }

    pub(crate) fn milestone(&self, index: MilestoneIndex) -> Option<&(BlockId, Milestone)> {
        self.milestones.get(&index)
    }

    /// The newest milestone.
    pub(crate) fn confirmed(&self) -> Option<(BlockId, MilestoneStamp)> {
        let (_, (id, milestone)) = self.milestones.last_key_value()?;
        Some((*id, milestone.essence.stamp()))
    }

    /// Blocks that no milestone references, in order of arrival.
    pub(crate) fn unreferenced(&self) -> Vec<Arc<[u8]>> {
        let blocks = self.order.iter().filter_map(|id| self.blocks.get(id));
        blocks.filter(|block| block.referenced.is_none()).map(|block| block.bytes.clone()).collect()
    }

    pub(crate) fn unspent(&self) -> &BTreeMap<OutputId, Booked> {
        &self.unspent
    }
}

impl TangleView for MemStore {
    fn stored(&self, id: &BlockId) -> Result<Option<Stored>, ViewError> {
        let Some(kept) = self.blocks.get(id) else { return Ok(None) };
        let block = Block::parse(&kept.bytes).map_err(|error| ViewError(error.to_string()))?;
        let stamp = |payload: &Milestone| {
            let (_, stored) = self.milestones.get(&payload.essence.index)?;
            (stored.essence.id() == payload.essence.id()).then(|| payload.essence.stamp())
        };
        let milestone = block.milestone().and_then(stamp);
        let transaction = block.transaction().map(|_| view::Transaction { signed: false });
        let parents = block.parents.as_slice().to_vec();
        Ok(Some(Stored { parents, referenced: kept.referenced, milestone, transaction }))
    }
}

impl LedgerView for MemStore {
    fn output(&self, id: &OutputId) -> Result<Option<Known>, ViewError> {
        let unspent = self.unspent.get(id).map(|booked| Known::Unspent(Box::new(booked.clone())));
        Ok(unspent.or_else(|| self.spent.contains(id).then_some(Known::Spent)))
    }

    fn transaction(&self, id: &BlockId) -> Result<Option<Transaction>, ViewError> {
        let Some(kept) = self.blocks.get(id) else {
            return Err(ViewError(format!("block {id} is not stored")));
        };
        let block = Block::parse(&kept.bytes).map_err(|error| ViewError(error.to_string()))?;
        Ok(block.transaction().cloned())
    }
}
