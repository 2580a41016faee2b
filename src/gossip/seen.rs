//! Blocks that passed by of late, and who is known to have them.
//!
//! Two generations of ids: when the younger is full it becomes the older, and what only the older knew is forgotten.
//! Nothing is lost by that: a block that was forgotten is looked at once more.

use std::collections::HashMap;

use super::Slots;
use crate::protocol::id::BlockId;

/// Blocks of one generation; about 64 bytes each, so 2 MiB for both.
const GENERATION: usize = 16_384;

/// What is known of a block that came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passed {
    /// Peers that have it: they sent it, or it was sent to them.
    pub(super) holders: Slots,
    /// Until then it is being looked at. Whoever looks may never say what came of it, as when its connection ends.
    pub(super) checking_until_ms: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Seen {
    young: HashMap<BlockId, Passed>,
    old: HashMap<BlockId, Passed>,
}

impl Seen {
    /// The record of a block, moved to the younger generation; `None` when it is not known.
    pub(super) fn get(&mut self, id: &BlockId) -> Option<&mut Passed> {
        if !self.young.contains_key(id) {
            let passed = self.old.remove(id)?;
            self.insert(*id, passed);
        }
        self.young.get_mut(id)
    }

    /// Remembers a block.
    pub(super) fn insert(&mut self, id: BlockId, passed: Passed) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, passed);
    }

    /// Forgets a block: it may come again.
    pub(super) fn remove(&mut self, id: &BlockId) -> Option<Passed> {
        self.young.remove(id).or_else(|| self.old.remove(id))
    }

    /// A place that is given to another peer.
    pub(super) fn forget_holder(&mut self, slot: super::Slot) {
        for passed in self.young.values_mut().chain(self.old.values_mut()) {
            passed.holders.remove(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockId, GENERATION, Passed, Seen, Slots};

    fn id(number: usize) -> BlockId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_le_bytes());
        BlockId(id)
    }

    #[test]
    fn memory_is_bounded_and_what_is_asked_for_stays() {
        let passed = Passed { holders: Slots::default(), checking_until_ms: 0 };
        let mut seen = Seen::default();
        for number in 0..10 * GENERATION {
            seen.insert(id(number), passed);
            assert!(seen.get(&id(0)).is_some(), "{number}");
            assert!(seen.young.len() + seen.old.len() <= 2 * GENERATION);
        }
        assert!(seen.get(&id(1)).is_none() && seen.get(&id(10 * GENERATION - 1)).is_some());
    }
}
