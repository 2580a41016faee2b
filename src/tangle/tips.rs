//! Tip pool (TIP-3): solid blocks that new blocks should approve.
//!
//! Limits are HORNET's: 100 healthy and 20 semi-lazy tips. A tip leaves 3 s after its first child, or with
//! its 30th child (2nd when semi-lazy). At most 120 entries, so look-ups scan.

use super::cone::Laziness;
use crate::protocol::id::BlockId;

const MAX_HEALTHY: usize = 100;
const MAX_SEMI_LAZY: usize = 20;
const HEALTHY_CHILDREN: u32 = 30;
const SEMI_LAZY_CHILDREN: u32 = 2;
/// "More than two" are chosen where they are allowed: a block on one of them alone would not make them fewer.
const ENOUGH_SEMI_LAZY: usize = 3;
const LINGER_MS: u64 = 3_000;

/// Which tips somebody wants to build on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Healthy ones; semi-lazy ones only when there is no other.
    NonLazy,
    /// Semi-lazy ones, if there are several: for those who send many blocks and help the others along.
    SemiLazyAllowed,
}

#[derive(Debug, Clone)]
struct Tip {
    id: BlockId,
    semi_lazy: bool,
    children: u32,
    first_child_ms: Option<u64>,
}

/// The pool, oldest first.
#[derive(Debug, Default)]
pub struct Tips {
    tips: Vec<Tip>,
    /// The newest tip ever offered: an answer when the pool is empty.
    newest: Option<BlockId>,
}

impl Tips {
    /// Adds a block and counts it as a child of its parents.
    pub fn add(&mut self, id: BlockId, parents: &[BlockId], laziness: Laziness, now_ms: u64) {
        for tip in self.tips.iter_mut().filter(|tip| parents.contains(&tip.id)) {
            tip.children += 1;
            tip.first_child_ms.get_or_insert(now_ms);
        }
        self.expire(now_ms);
        let semi_lazy = match laziness {
            Laziness::Healthy => false,
            Laziness::SemiLazy => true,
            Laziness::Lazy | Laziness::BelowMaxDepth => return,
        };
        let limit = if semi_lazy { MAX_SEMI_LAZY } else { MAX_HEALTHY };
        let full = self.tips.iter().filter(|tip| tip.semi_lazy == semi_lazy).count() >= limit;
        if full && let Some(oldest) = self.tips.iter().position(|tip| tip.semi_lazy == semi_lazy) {
            self.tips.remove(oldest);
        }
        self.tips.push(Tip { id, semi_lazy, children: 0, first_child_ms: None });
        self.newest = Some(id);
    }

    /// Removes tips that have enough children or had one for long enough.
    pub fn expire(&mut self, now_ms: u64) {
        self.tips.retain(|tip| {
            let most = if tip.semi_lazy { SEMI_LAZY_CHILDREN } else { HEALTHY_CHILDREN };
            let lingered = tip.first_child_ms.is_some_and(|since| now_ms >= since + LINGER_MS);
            tip.children < most && !lingered
        });
    }

    /// Sorts tips anew after a milestone.
    pub fn rescore(&mut self, laziness: impl Fn(&BlockId) -> Laziness) {
        self.tips.retain_mut(|tip| match laziness(&tip.id) {
            Laziness::Healthy => {
                tip.semi_lazy = false;
                true
            }
            Laziness::SemiLazy => {
                tip.semi_lazy = true;
                true
            }
            Laziness::Lazy | Laziness::BelowMaxDepth => false,
        });
        if self.newest.is_some_and(|id| matches!(laziness(&id), Laziness::Lazy | Laziness::BelowMaxDepth)) {
            self.newest = None;
        }
    }

    /// Up to `count` distinct tips, uniformly.
    pub fn select(
        &self,
        count: usize,
        choice: Choice,
        random: &mut dyn FnMut(usize) -> usize,
    ) -> Vec<BlockId> {
        let pool = |semi_lazy: bool| {
            self.tips
                .iter()
                .filter(move |tip| tip.semi_lazy == semi_lazy)
                .map(|tip| tip.id)
                .collect::<Vec<_>>()
        };
        let (healthy, semi_lazy) = (pool(false), pool(true));
        let helps = choice == Choice::SemiLazyAllowed && semi_lazy.len() >= ENOUGH_SEMI_LAZY;
        let mut pool = if helps || healthy.is_empty() { semi_lazy } else { healthy };
        let mut chosen = Vec::new();
        while chosen.len() < count && !pool.is_empty() {
            chosen.push(pool.swap_remove(random(pool.len())));
        }
        if chosen.is_empty() {
            chosen.extend(self.newest);
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::{Choice, LINGER_MS, MAX_HEALTHY, Tips};
    use crate::protocol::id::BlockId;
    use crate::tangle::cone::Laziness;

    fn id(n: u8) -> BlockId {
        BlockId([n; 32])
    }

    #[test]
    fn a_tip_lingers_after_its_first_child() {
        let mut tips = Tips::default();
        tips.add(id(1), &[], Laziness::Healthy, 0);
        tips.add(id(2), &[id(1)], Laziness::Healthy, 10);
        assert_eq!(tips.select(8, Choice::NonLazy, &mut |_| 0).len(), 2);
        tips.expire(10 + LINGER_MS);
        assert_eq!(tips.select(8, Choice::NonLazy, &mut |_| 0), [id(2)]);
    }

    #[test]
    fn semi_lazy_tips_are_chosen_where_that_makes_them_fewer() {
        let mut tips = Tips::default();
        tips.add(id(1), &[], Laziness::Healthy, 0);
        let chosen = |tips: &Tips, choice| {
            let mut chosen = tips.select(4, choice, &mut |_| 0);
            chosen.sort_unstable();
            chosen
        };
        for n in [2, 3] {
            tips.add(id(n), &[], Laziness::SemiLazy, 0);
        }
        assert_eq!(chosen(&tips, Choice::SemiLazyAllowed), [id(1)]);
        tips.add(id(4), &[], Laziness::SemiLazy, 0);
        assert_eq!(chosen(&tips, Choice::SemiLazyAllowed), [id(2), id(3), id(4)]);
        assert_eq!(chosen(&tips, Choice::NonLazy), [id(1)]);
    }

    #[test]
    fn the_pool_is_bounded_and_never_offers_lazy_blocks() {
        let mut tips = Tips::default();
        for n in 0..=255 {
            tips.add(id(n), &[], Laziness::Healthy, 0);
        }
        assert_eq!(tips.select(1_000, Choice::NonLazy, &mut |_| 0).len(), MAX_HEALTHY);
        tips.rescore(|_| Laziness::Lazy);
        assert!(tips.select(8, Choice::NonLazy, &mut |_| 0).is_empty());
    }
}
