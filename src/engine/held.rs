//! Blocks of peers whose past cone is not here yet: in memory alone. They reach the store when they are solid, so what
//! strangers make up costs no write, and a crash loses nothing that cannot be asked for again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::planted::{Bug, is_planted};
use crate::protocol::id::{BlockId, MilestoneIndex};

/// Milliseconds after which a block is forgotten that no milestone needs and whose parents do not come.
const PATIENCE_MS: u64 = 60_000;

/// Bytes of blocks that no milestone needs.
const MOST_UNWANTED_BYTES: usize = 16 << 20;

/// What one block takes beside its bytes.
const OVERHEAD_BYTES: usize = 512;

/// One block.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// `None` when the store has it.
    pub(super) bytes: Option<Arc<[u8]>>,
    /// Part of that milestone's past cone.
    pub(super) wanted: Option<MilestoneIndex>,
    /// Peers should have it, if it is not too deep when it is solid.
    pub(super) forward: bool,
}

impl Held {
    fn weight(&self) -> usize {
        self.bytes.as_ref().map_or(0, |bytes| bytes.len()) + OVERHEAD_BYTES
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    blocks: HashMap<BlockId, Held>,
    bytes: usize,
    /// Those that no milestone needs, oldest first. Some of them may be gone.
    unwanted: VecDeque<(u64, BlockId)>,
    unwanted_bytes: usize,
}

impl Waiting {
    pub(super) fn insert(&mut self, id: BlockId, held: Held, now_ms: u64) {
        self.bytes += held.weight();
        if held.wanted.is_none() {
            self.unwanted_bytes += held.weight();
            self.unwanted.push_back((now_ms, id));
        }
        self.blocks.insert(id, held);
    }

    pub(super) fn take(&mut self, id: &BlockId) -> Option<Held> {
        let held = self.blocks.remove(id)?;
        self.bytes -= held.weight();
        if held.wanted.is_none() {
            self.unwanted_bytes -= held.weight();
        }
        // Most blocks are solid as they come: nothing is left of them here.
        if self.unwanted.back().is_some_and(|(_, newest)| newest == id) {
            self.unwanted.pop_back();
        }
        Some(held)
    }

    pub(super) fn get(&self, id: &BlockId) -> Option<&Held> {
        self.blocks.get(id)
    }

    /// Bytes that all of them take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// One that is to be forgotten, if there is one.
    pub(super) fn overdue(&mut self, now_ms: u64) -> Option<BlockId> {
        while let Some((since_ms, id)) =
            self.unwanted.front().copied().filter(|_| !is_planted(Bug::KeepsForEver))
        {
            let gone = self.blocks.get(&id).is_none_or(|held| held.wanted.is_some());
            if !gone && since_ms + PATIENCE_MS > now_ms && self.unwanted_bytes <= MOST_UNWANTED_BYTES {
                return None;
            }
            self.unwanted.pop_front();
            if !gone {
                return Some(id);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockId, Held, MOST_UNWANTED_BYTES, MilestoneIndex, OVERHEAD_BYTES, PATIENCE_MS, Waiting};

    fn id(number: usize) -> BlockId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_le_bytes());
        BlockId(id)
    }

    fn held(bytes: usize, wanted: Option<u32>) -> Held {
        Held { bytes: Some(vec![0; bytes].into()), wanted: wanted.map(MilestoneIndex), forward: true }
    }

    #[test]
    fn what_comes_solid_leaves_nothing_behind() {
        let mut waiting = Waiting::default();
        for number in 0..10_000 {
            waiting.insert(id(number), held(300, None), 0);
            assert!(waiting.take(&id(number)).is_some());
        }
        assert_eq!((waiting.bytes(), waiting.unwanted.len(), waiting.blocks.len()), (0, 0, 0));
    }

    #[test]
    fn what_no_milestone_needs_is_bounded_by_time_and_bytes() {
        let mut waiting = Waiting::default();
        waiting.insert(id(0), held(300, Some(7)), 0);
        waiting.insert(id(1), held(300, None), 0);
        assert_eq!(waiting.overdue(PATIENCE_MS - 1), None);
        assert_eq!(waiting.overdue(PATIENCE_MS), Some(id(1)));
        waiting.take(&id(1));
        assert_eq!((waiting.overdue(u64::MAX), waiting.bytes()), (None, 300 + OVERHEAD_BYTES));
        let most = MOST_UNWANTED_BYTES / (32_768 + OVERHEAD_BYTES);
        for number in 2..=most + 4 {
            waiting.insert(id(number), held(32_768, None), 0);
        }
        let mut forgotten = 0;
        while let Some(oldest) = waiting.overdue(1) {
            waiting.take(&oldest);
            forgotten += 1;
        }
        assert_eq!(forgotten, 3);
        assert!(waiting.get(&id(0)).is_some() && waiting.get(&id(2)).is_none());
    }
}
