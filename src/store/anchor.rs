//! Where the node's own snapshot leads to: a damaged ledger is made again from there and from what milestones did since, so
//! nothing after it is pruned.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::protocol::id::MilestoneIndex;

/// See the module. Cheap to clone: the store asks it, whoever takes snapshots moves it.
#[derive(Debug, Clone)]
pub struct Anchor(Arc<Indices>);

#[derive(Debug)]
struct Indices {
    reached: AtomicU32,
    wanted: AtomicU32,
}

impl Anchor {
    /// Of a node that takes no snapshots: nothing is held back.
    pub fn none() -> Self {
        Self::at(MilestoneIndex(u32::MAX))
    }

    /// Of one whose files lead to this milestone.
    pub fn at(reached: MilestoneIndex) -> Self {
        Self(Arc::new(Indices { reached: reached.0.into(), wanted: 0.into() }))
    }

    /// The milestone that the files lead to.
    pub fn reached(&self) -> MilestoneIndex {
        MilestoneIndex(self.0.reached.load(Ordering::Acquire))
    }

    /// They lead there now.
    pub fn reach(&self, index: MilestoneIndex) {
        self.0.reached.store(index.0, Ordering::Release);
    }

    /// The newest milestone that pruning waits for.
    pub fn wanted(&self) -> MilestoneIndex {
        MilestoneIndex(self.0.wanted.load(Ordering::Acquire))
    }

    /// Whether everything up to `index` may go; if not, a snapshot is wanted.
    pub fn lets_go(&self, index: MilestoneIndex) -> bool {
        if self.reached() >= index {
            return true;
        }
        self.0.wanted.fetch_max(index.0, Ordering::AcqRel);
        false
    }
}
