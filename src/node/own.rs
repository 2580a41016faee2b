//! Blocks that this node took from clients, and that no milestone references yet: who connects later is told of them, too.
//! Without that, a block would stay here alone when the others were away at the time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::protocol::id::BlockId;

/// Older ones are left to those who build on them.
const MOST: usize = 1_000;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);

/// Told at a time, so that nobody's queue is filled.
pub(super) const AT_ONCE: usize = 200;

/// See the module. Holds 32 KB at most.
#[derive(Debug)]
pub(super) struct Own {
    ids: VecDeque<BlockId>,
    looked: Instant,
}

impl Own {
    pub(super) fn new() -> Self {
        Self { ids: VecDeque::new(), looked: Instant::now() }
    }

    /// `known`: it may be here already.
    pub(super) fn add(&mut self, id: BlockId, known: bool) {
        if known && self.ids.contains(&id) {
            return;
        }
        if self.ids.len() >= MOST {
            self.ids.pop_front();
        }
        self.ids.push_back(id);
    }

    /// Those that are still of concern; none when it is too early for the next look.
    pub(super) fn look(&mut self, concerns: impl Fn(&BlockId) -> bool) -> Vec<BlockId> {
        if self.looked.elapsed() < EVERY {
            return Vec::new();
        }
        self.looked = Instant::now();
        self.ids.retain(concerns);
        self.ids.iter().copied().collect()
    }
}
