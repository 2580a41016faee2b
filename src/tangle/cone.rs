//! Cone roots and what they say of a block (TIP-8; HORNET's YCRI and OCRI).

use crate::protocol::id::MilestoneIndex;

/// Indexes of the youngest and the oldest milestone that the block's past cone hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConeRoots {
    /// TIP-8 YMRSI.
    pub youngest: MilestoneIndex,
    /// TIP-8 OMRSI.
    pub oldest: MilestoneIndex,
}

impl ConeRoots {
    /// Roots of a block that milestone `index` references.
    pub fn at(index: MilestoneIndex) -> Self {
        Self { youngest: index, oldest: index }
    }

    /// Roots over two parents.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self { youngest: self.youngest.max(other.youngest), oldest: self.oldest.min(other.oldest) }
    }
}

/// How far a block lags behind, as tip selection sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Laziness {
    /// A good tip.
    Healthy,
    /// A tip only when there are few better ones.
    SemiLazy,
    /// No tip; a promotion helps.
    Lazy,
    /// No tip and no parent any more.
    BelowMaxDepth,
}

/// The distances that part them, in milestones.
#[derive(Debug, Clone, Copy)]
pub struct Depth {
    below_max_depth: u32,
}

/// HORNET `tangle.tipselection`: distance of the youngest root from which on a block is lazy.
const YOUNGEST_MAX: u32 = 8;

/// HORNET `tangle.tipselection`: distance of the oldest root from which on a block is semi-lazy.
const OLDEST_MAX: u32 = 13;

impl Depth {
    /// `below_max_depth` is the network's parameter.
    pub fn new(below_max_depth: u8) -> Self {
        Self { below_max_depth: u32::from(below_max_depth) }
    }

    /// TIP-8: > CMI - OMRSI > belowMaxDepth
    pub fn is_below_max_depth(self, roots: ConeRoots, confirmed: MilestoneIndex) -> bool {
        distance(confirmed, roots.oldest) > self.below_max_depth
    }

    /// The class of a block, in HORNET's order of checks.
    pub fn laziness(self, roots: ConeRoots, confirmed: MilestoneIndex) -> Laziness {
        if self.is_below_max_depth(roots, confirmed) {
            Laziness::BelowMaxDepth
        } else if distance(confirmed, roots.youngest) > YOUNGEST_MAX {
            Laziness::Lazy
        } else if distance(confirmed, roots.oldest) > OLDEST_MAX {
            Laziness::SemiLazy
        } else {
            Laziness::Healthy
        }
    }
}

/// A root may be younger than the confirmed index while a newer milestone is being applied: distance 0.
fn distance(confirmed: MilestoneIndex, root: MilestoneIndex) -> u32 {
    confirmed.0.saturating_sub(root.0)
}

#[cfg(test)]
mod tests {
    use super::{ConeRoots, Depth, Laziness};
    use crate::protocol::id::MilestoneIndex;

    #[test]
    fn classes_at_their_boundaries() {
        let depth = Depth::new(15);
        let class = |youngest, oldest| {
            let roots = ConeRoots { youngest: MilestoneIndex(youngest), oldest: MilestoneIndex(oldest) };
            depth.laziness(roots, MilestoneIndex(100))
        };
        assert_eq!(class(92, 87), Laziness::Healthy);
        assert_eq!(class(92, 86), Laziness::SemiLazy);
        assert_eq!(class(92, 85), Laziness::SemiLazy);
        assert_eq!(class(91, 87), Laziness::Lazy);
        assert_eq!(class(92, 84), Laziness::BelowMaxDepth);
        assert_eq!(class(101, 101), Laziness::Healthy);
    }
}
