//! The Tangle in memory: the unreferenced and the recently referenced part of the DAG, solidity, tips.
//!
//! Pure (layer L1): older blocks are read through [`view::TangleView`]. Holds one node (about 400
//! bytes) for each block that is not referenced yet, or was within the last `keep` milestones; at 100
//! blocks/s, milestones each 5 s and `keep` = 20 that is 10,000 nodes, 4 MB.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod cone;
mod solidify;
pub mod tips;
pub mod view;

use std::collections::{BTreeMap, HashMap};

use crate::fault::ViewError;
use crate::protocol::block::Parents;
use crate::protocol::id::{BlockId, MilestoneIndex};
use crate::protocol::milestone::MilestoneStamp;
use cone::ConeRoots;
use tips::{Choice, Tips};
use view::{Stored, TangleView, Transaction};

/// One block in memory.
#[derive(Debug, Clone)]
struct Node {
    parents: Parents,
    /// The milestone it carries, when validly signed.
    milestone: Option<MilestoneStamp>,
    transaction: Option<Transaction>,
    /// Parents that are not solid.
    open: u8,
    /// All of its past cone is known.
    solid: bool,
    /// Its place among the solid ones.
    order: u64,
    /// The milestone that references it.
    referenced: Option<MilestoneIndex>,
    /// Meaningful once solid.
    roots: ConeRoots,
}

/// What a REST client is told of a block that no milestone references yet (TIP-25, TIP-8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// All of its past cone is known.
    pub solid: bool,
    /// The milestone it carries.
    pub milestone: Option<MilestoneIndex>,
    /// A new block on top of it would help.
    pub should_promote: bool,
    /// It is too deep to be referenced any more.
    pub should_reattach: bool,
}

/// Milestones between two looks at what is too deep, while the node catches up.
const EVICT_EVERY: u32 = 16;

/// The DAG's living part. Sole owner: the engine.
#[derive(Debug)]
pub struct Tangle {
    nodes: HashMap<BlockId, Node>,
    /// Unreferenced solid blocks by order of solidification, which is a topological order.
    unreferenced: BTreeMap<u64, BlockId>,
    solidified: u64,
    waiting: solidify::Waiting,
    /// Blocks that count as known, solid and referenced at the given index (TIP-35).
    entry_points: BTreeMap<BlockId, MilestoneIndex>,
    tips: Tips,
    depth: cone::Depth,
    keep: u32,
}

/// What a block brings, as far as the Tangle has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Nothing that changes anything.
    Data,
    /// A transaction.
    Transaction(Transaction),
    /// A milestone that is validly signed.
    Milestone(MilestoneStamp),
}

/// What became of an inserted block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inserted {
    /// It was known before.
    Known,
    /// It is new. The blocks that became solid by it, in topological order, itself among them or not.
    New {
        /// Newly solid blocks.
        solid: Vec<BlockId>,
        /// Parents that are not known.
        missing: Vec<BlockId>,
    },
}

impl Tangle {
    /// A Tangle that begins at its solid entry points.
    pub fn new(entry_points: BTreeMap<BlockId, MilestoneIndex>, below_max_depth: u8) -> Self {
        let depth = cone::Depth::new(below_max_depth);
        Self {
            nodes: HashMap::new(),
            unreferenced: BTreeMap::new(),
            solidified: 0,
            waiting: solidify::Waiting::default(),
            entry_points,
            tips: Tips::default(),
            depth,
            keep: u32::from(below_max_depth) + 5,
        }
    }

    /// From now on, other blocks are too deep.
    pub fn set_below_max_depth(&mut self, below_max_depth: u8) {
        self.depth = cone::Depth::new(below_max_depth);
        self.keep = u32::from(below_max_depth) + 5;
    }

    /// Solid blocks that no milestone references.
    pub fn unreferenced(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.unreferenced.values().copied()
    }

    /// Blocks that count as known, solid and referenced.
    pub fn entry_points(&self) -> Vec<BlockId> {
        self.entry_points.keys().copied().collect()
    }

    /// Blocks in memory.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether no block is in memory.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds a block; amortised O(parents + newly solid blocks).
    ///
    /// # Errors
    /// [`ViewError`].
    pub fn insert(
        &mut self,
        view: &impl TangleView,
        id: BlockId,
        parents: Parents,
        content: Content,
    ) -> Result<Inserted, ViewError> {
        // TIP-35: > solid entry points count as known; what lies before them is of no use
        if self.nodes.contains_key(&id) || self.entry_points.contains_key(&id) {
            return Ok(Inserted::Known);
        }
        let (milestone, transaction) = match content {
            Content::Data => (None, None),
            Content::Transaction(transaction) => (None, Some(transaction)),
            Content::Milestone(stamp) => (Some(stamp), None),
        };
        let roots = ConeRoots::default();
        let node = Node {
            parents,
            milestone,
            transaction,
            open: 0,
            solid: false,
            order: 0,
            referenced: None,
            roots,
        };
        self.nodes.insert(id, node);
        self.solidify_from(view, id)
    }

    /// What is known of an unreferenced block, `None` when it is not in memory.
    pub fn outlook(&self, id: &BlockId, confirmed: MilestoneIndex) -> Option<Outlook> {
        let node = self.nodes.get(id)?;
        let milestone = node.milestone.map(|stamp| stamp.index);
        let mut outlook =
            Outlook { solid: node.solid, milestone, should_promote: false, should_reattach: false };
        if node.solid && node.referenced.is_none() {
            let laziness = self.depth.laziness(node.roots, confirmed);
            outlook.should_reattach = laziness == cone::Laziness::BelowMaxDepth;
            outlook.should_promote = !outlook.should_reattach && laziness != cone::Laziness::Healthy;
        }
        Some(outlook)
    }

    /// Whether a block may be a parent of a new one: solid and above the maximum depth.
    ///
    /// # Errors
    /// [`ViewError`].
    pub fn parent_state(
        &self,
        view: &impl TangleView,
        id: &BlockId,
        confirmed: MilestoneIndex,
    ) -> Result<ParentState, ViewError> {
        Ok(match self.roots_of(view, id)? {
            Known::Unknown => ParentState::Unknown,
            Known::NotSolid => ParentState::NotSolid,
            Known::Solid(roots) if self.depth.is_below_max_depth(roots, confirmed) => {
                ParentState::BelowMaxDepth
            }
            Known::Solid(_) => ParentState::Good,
        })
    }

    /// Whether a solid block in memory is not too deep for a milestone of that index.
    pub fn is_near(&self, id: &BlockId, latest: MilestoneIndex) -> bool {
        self.nodes.get(id).is_some_and(|node| !self.depth.is_below_max_depth(node.roots, latest))
    }

    /// Up to `count` random tips; `random` maps a bound to a number below it.
    pub fn select_tips(
        &self,
        count: usize,
        choice: Choice,
        random: &mut dyn FnMut(usize) -> usize,
    ) -> Vec<BlockId> {
        self.tips.select(count, choice, random)
    }

    /// Whether all of these blocks are solid.
    ///
    /// # Errors
    /// [`ViewError`].
    pub fn all_solid(&self, view: &impl TangleView, ids: &[BlockId]) -> Result<bool, ViewError> {
        for id in ids {
            if !matches!(self.roots_of(view, id)?, Known::Solid(_)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes over what milestone `index` referenced: O(its cone + blocks in memory). While the node catches up, what tips
    /// need is left for later, and so are most of the costs: O(its cone).
    ///
    /// # Errors
    /// [`ViewError`].
    pub fn confirm(
        &mut self,
        view: &impl TangleView,
        index: MilestoneIndex,
        referenced: impl Iterator<Item = BlockId>,
        catching_up: bool,
    ) -> Result<(), ViewError> {
        for id in referenced {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.referenced = Some(index);
                node.roots = ConeRoots::at(index);
                self.unreferenced.remove(&node.order);
            }
        }
        if catching_up && !index.0.is_multiple_of(EVICT_EVERY) {
            return Ok(());
        }
        self.refresh_roots(view)?;
        let (nodes, depth) = (&self.nodes, self.depth);
        self.tips.rescore(|id| {
            nodes.get(id).map_or(cone::Laziness::BelowMaxDepth, |node| depth.laziness(node.roots, index))
        });
        self.evict(index);
        Ok(())
    }

    /// Recomputes the cone roots of what is still unreferenced, parents before children.
    fn refresh_roots(&mut self, view: &impl TangleView) -> Result<(), ViewError> {
        let order = self.unreferenced.values().copied().collect::<Vec<_>>();
        for id in order {
            let Some(node) = self.nodes.get(&id) else { continue };
            if let Known::Solid(roots) = self.joined_roots(view, &node.parents.clone())? {
                self.nodes.entry(id).and_modify(|node| node.roots = roots);
            }
        }
        Ok(())
    }

    /// Forgets what is so deep that no new block may approve it.
    fn evict(&mut self, confirmed: MilestoneIndex) {
        let limit = confirmed.0.saturating_sub(self.keep);
        self.nodes.retain(|_, node| match node.referenced {
            Some(index) => index.0 >= limit,
            None => !node.solid || node.roots.youngest.0 >= limit,
        });
        let nodes = &self.nodes;
        self.unreferenced.retain(|_, id| nodes.contains_key(id));
    }
}

/// Whether a block may be approved by a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParentState {
    /// It may.
    Good,
    /// No such block here.
    Unknown,
    /// Part of its past cone is missing.
    NotSolid,
    /// Its oldest cone root is too far behind (TIP-8).
    BelowMaxDepth,
}

/// What memory, entry points and store know of a block's solidity.
enum Known {
    Unknown,
    NotSolid,
    Solid(ConeRoots),
}

impl Tangle {
    fn roots_of(&self, view: &impl TangleView, id: &BlockId) -> Result<Known, ViewError> {
        if let Some(node) = self.nodes.get(id) {
            return Ok(if node.solid { Known::Solid(node.roots) } else { Known::NotSolid });
        }
        if let Some(index) = self.entry_points.get(id) {
            return Ok(Known::Solid(ConeRoots::at(*index)));
        }
        Ok(match view.stored(id)? {
            None => Known::Unknown,
            Some(stored) => match stored.referenced {
                Some(index) => Known::Solid(ConeRoots::at(index)),
                // Only solid blocks leave memory unreferenced, and only when they are too deep.
                None => Known::Solid(ConeRoots::default()),
            },
        })
    }

    /// Youngest and oldest roots over all parents; `NotSolid` when one is not solid or not known.
    fn joined_roots(&self, view: &impl TangleView, parents: &Parents) -> Result<Known, ViewError> {
        let mut joined: Option<ConeRoots> = None;
        for parent in parents.as_slice() {
            let Known::Solid(roots) = self.roots_of(view, parent)? else { return Ok(Known::NotSolid) };
            joined = Some(joined.map_or(roots, |sum| sum.join(roots)));
        }
        Ok(joined.map_or(Known::NotSolid, Known::Solid))
    }

    /// What memory, entry points and store know of a block, `None` when none knows it.
    ///
    /// # Errors
    /// [`ViewError`].
    pub fn ancestor(&self, view: &impl TangleView, id: &BlockId) -> Result<Option<Stored>, ViewError> {
        if let Some(node) = self.nodes.get(id) {
            return Ok(Some(Stored {
                parents: node.parents.as_slice().to_vec(),
                referenced: node.referenced,
                milestone: node.milestone,
                transaction: node.transaction,
            }));
        }
        if let Some(index) = self.entry_points.get(id) {
            let referenced = Some(*index);
            return Ok(Some(Stored { parents: Vec::new(), referenced, milestone: None, transaction: None }));
        }
        view.stored(id)
    }

    /// Memory for tips is bounded; see [`tips`]. Drops those whose time is over.
    pub fn expire_tips(&mut self, now_ms: u64) {
        self.tips.expire(now_ms);
    }

    /// Makes a solid block a tip and counts it as a child of its parents.
    pub fn offer_tip(&mut self, id: BlockId, confirmed: MilestoneIndex, now_ms: u64) {
        if let Some(node) = self.nodes.get(&id).filter(|node| node.solid) {
            let laziness = self.depth.laziness(node.roots, confirmed);
            self.tips.add(id, node.parents.as_slice(), laziness, now_ms);
        }
    }
}
