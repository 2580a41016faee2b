//! Blocks of peers whose past cone is not here yet: in memory alone. They reach the store when they are solid, so what
//! strangers make up costs no write, and a crash loses nothing that cannot be asked for again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

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
        while let Some((since_ms, id)) = self.unwanted.front().copied() {
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
