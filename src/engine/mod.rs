//! The one owner of Tangle and confirmation: blocks in, effects out.
//!
//! Sans-IO (layer L2): time and randomness are arguments, reads go through [`TangleView`], everything to be
//! done is queued as an [`Effect`] for the executor, in order.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod arrival;
pub mod checked;
mod cone;
pub mod effect;
mod held;
mod milestone;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::fault::ViewError;
use crate::ledger::authority::Authority;
use crate::ledger::treasury::Treasury;
use crate::planted::{Bug, is_planted};
use crate::protocol::block::{Block, Parents, Payload};
use crate::protocol::id::{BlockId, MilestoneIndex};
use crate::protocol::milestone::Milestone;
use crate::protocol::milestone::MilestoneStamp;
use crate::protocol::params::{ProtocolParameters, Schedule};
use crate::snapshot::Base;
use crate::tangle::tips::Choice;
use crate::tangle::view::{TangleView, Transaction};
use crate::tangle::{Content, Inserted, Outlook, ParentState, Tangle};
use checked::CheckedBlock;
use effect::Effect;
use held::Held;

pub use milestone::Halt;

/// Milestones a node may lag behind and still count as almost synced.
const ALMOST_SYNCED: u32 = 2;

/// Milestones that are held ahead of the confirmed one, as many as are asked for.
const MOST_AHEAD: u32 = 150;

/// Blocks that are asked for at a time when a milestone waits.
const MOST_ASKED: usize = 1_024;

/// Where a block came from, which decides the rules it must pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client of this node: its parents must be known, solid and above the maximum depth.
    Local,
    /// This node's own store or journal, read at start: already acknowledged.
    Replayed,
    /// A peer.
    Peer {
        /// The milestone whose past cone it was asked for.
        wanted: Option<MilestoneIndex>,
    },
}

/// Answer to a submitted block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is part of the Tangle now; `known` when it was before.
    Accepted {
        /// It was there already.
        known: bool,
    },
    /// Nothing was stored: there is no room before the next milestone, or there will be none.
    NoRoom,
    /// A client's block on unfit parents; nothing was stored.
    Rejected(Unfit),
}

/// A parent that a block of this node may not approve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfit {
    /// The parent.
    pub parent: BlockId,
    /// Why.
    pub state: ParentState,
}

/// A milestone that waits for its cone or for its predecessors.
#[derive(Debug, Clone)]
struct Pending {
    block_id: BlockId,
    milestone: Milestone,
}

/// Where the engine begins: the ledger's newest milestone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The milestone.
    pub confirmed: MilestoneStamp,
    /// What the treasury holds after it.
    pub treasury: Treasury,
    /// Protocol parameters after it.
    pub schedule: Schedule,
    /// Index that the network was founded at.
    pub genesis: MilestoneIndex,
    /// Blocks that count as known, solid and referenced at the given index (TIP-35).
    pub entry_points: BTreeMap<BlockId, MilestoneIndex>,
}

impl Start {
    /// At the milestone of a snapshot.
    pub fn at(base: &Base) -> Self {
        Self {
            confirmed: base.target,
            treasury: base.treasury,
            schedule: base.schedule.clone(),
            genesis: base.genesis,
            entry_points: base.entry_points.iter().map(|id| (*id, base.target.index)).collect(),
        }
    }
}

/// Network constants that the engine works under.
#[derive(Debug, Clone)]
pub struct Network {
    /// Protocol parameters.
    pub params: ProtocolParameters,
    /// Milestone keys.
    pub authority: Authority,
}

/// See the module.
#[derive(Debug)]
pub struct Engine {
    tangle: Tangle,
    genesis: MilestoneIndex,
    confirmed: MilestoneStamp,
    treasury: Treasury,
    schedule: Schedule,
    latest: MilestoneStamp,
    pending: BTreeMap<MilestoneIndex, Pending>,
    halted: Option<Halt>,
    /// Blocks that are not solid.
    held: held::Waiting,
    effects: VecDeque<Effect>,
}

impl Engine {
    /// An engine at a confirmed milestone.
    pub fn new(start: Start) -> Self {
        let below_max_depth = start.schedule.active.below_max_depth;
        Self {
            tangle: Tangle::new(start.entry_points, below_max_depth),
            genesis: start.genesis,
            confirmed: start.confirmed,
            treasury: start.treasury,
            schedule: start.schedule,
            latest: start.confirmed,
            pending: BTreeMap::new(),
            halted: None,
            held: held::Waiting::default(),
            effects: VecDeque::new(),
        }
    }

    /// Takes a block that passed the stateless rules. What it asks for has to be done before [`Engine::advance`], which
    /// has to be called before the next block.
    ///
    /// # Errors
    /// [`ViewError`]: the store cannot be read; the node must stop.
    pub fn submit(
        &mut self,
        view: &impl TangleView,
        block: CheckedBlock,
        origin: Origin,
        now_ms: u64,
    ) -> Result<Verdict, ViewError> {
        if origin == Origin::Local
            && let Some(unfit) = self.unfit_parent(view, &block.block.parents)?
        {
            // A milestone may reference what is too deep for others: refusing it would end the network.
            if block.milestone.is_none() || unfit.state != ParentState::BelowMaxDepth {
                return Ok(Verdict::Rejected(unfit));
            }
        }
        let CheckedBlock { id, bytes, block, milestone, signed } = block;
        let stored = view.stored(&id)?;
        // Memory may have forgotten it, or never seen it since a restart: it must not be referenced again.
        let referenced = stored.as_ref().is_some_and(|stored| stored.referenced.is_some());
        if referenced && !is_planted(Bug::ReferencedTwice) {
            return Ok(Verdict::Accepted { known: true });
        }
        let stamp = milestone.as_ref().map(|milestone| milestone.essence.stamp());
        // Nobody asked for it, and it is too far ahead to be held until its turn: it says only how far the network is.
        if let (Origin::Peer { wanted: None }, Some(stamp)) = (origin, stamp)
            && stamp.index.0 > self.confirmed.index.0.saturating_add(MOST_AHEAD)
        {
            if stamp.index > self.latest.index {
                self.latest = stamp;
            }
            return Ok(Verdict::NoRoom);
        }
        let content = match (stamp, &block.payload) {
            (Some(stamp), _) => Content::Milestone(stamp),
            (None, Some(Payload::Transaction(_))) => Content::Transaction(Transaction { signed }),
            (None, Some(Payload::TaggedData(_) | Payload::Milestone(_)) | None) => Content::Data,
        };
        let Inserted::New { solid, missing } = self.tangle.insert(view, id, block.parents, content)? else {
            return Ok(Verdict::Accepted { known: true });
        };
        let known = stored.is_some();
        let cone = match origin {
            Origin::Peer { wanted } => {
                // What is confirmed needs nothing more.
                let index = stamp.map(|stamp| stamp.index).into_iter().chain(wanted).min();
                index.filter(|index| *index > self.confirmed.index)
            }
            Origin::Local | Origin::Replayed => None,
        };
        // HORNET: > not requested
        let forward = matches!(origin, Origin::Local | Origin::Peer { wanted: None });
        let held = Held { bytes: (!known).then_some(bytes), wanted: cone, forward };
        self.held.insert(id, held, now_ms);
        if let (Some(milestone), Some(stamp)) = (milestone, stamp) {
            self.note_milestone(id, milestone, stamp);
        }
        if !missing.is_empty() {
            self.effects.push_back(Effect::Request { ids: missing, cone, child: Some(id) });
        }
        for newly in solid {
            self.became_solid(newly, now_ms);
        }
        Ok(Verdict::Accepted { known })
    }

    fn became_solid(&mut self, id: BlockId, now_ms: u64) {
        if let Some(Held { bytes: Some(bytes), forward, .. }) = self.held.take(&id) {
            // HORNET: > the node and the block are within below max depth of the newest milestone
            let depth = u32::from(self.schedule.active.below_max_depth);
            let near = self.confirmed.index.0.saturating_add(depth) >= self.latest.index.0;
            let forward = forward && near && self.tangle.is_near(&id, self.latest.index);
            self.effects.push_back(Effect::Store { id, bytes, forward });
        }
        if self.lag() <= ALMOST_SYNCED {
            self.tangle.offer_tip(id, self.confirmed.index, now_ms);
        }
    }

    /// Time passed: asks for what the next milestone lacks, and forgets what no milestone needs and nobody completes. To be
    /// called each second; what it asks for has to be done before the next block.
    ///
    /// # Errors
    /// [`ViewError`]: the store cannot be read; the node must stop.
    pub fn tick(&mut self, view: &impl TangleView, now_ms: u64) -> Result<(), ViewError> {
        while let Some(id) = self.held.overdue(now_ms) {
            self.held.take(&id);
            self.tangle.forget(&id);
        }
        if let Some((index, pending)) = self.pending.first_key_value()
            && !is_planted(Bug::NeverAskedAgain)
        {
            let parents = pending.milestone.essence.parents.as_slice();
            let ids = self.tangle.missing(view, parents, MOST_ASKED)?;
            if !ids.is_empty() {
                self.effects.push_back(Effect::Request { ids, cone: Some(*index), child: None });
            }
        }
        Ok(())
    }

    /// Bytes of a block that waits for its past cone: the store has it not.
    pub fn held(&self, id: &BlockId) -> Option<Arc<[u8]>> {
        self.held.get(id)?.bytes.clone()
    }

    /// Bytes that blocks take which wait for their past cone.
    pub fn held_bytes(&self) -> usize {
        self.held.bytes()
    }

    /// Blocks that count as known, solid and referenced.
    pub fn entry_points(&self) -> Vec<BlockId> {
        self.tangle.entry_points()
    }

    /// Milestones that wait for their past cone or for one another, ascending.
    pub fn pending(&self) -> impl Iterator<Item = MilestoneIndex> + '_ {
        self.pending.keys().copied()
    }

    /// The block of the newest milestone known, unless that is confirmed.
    pub fn latest_block(&self) -> Option<Block> {
        let pending = self.pending.get(&self.latest.index)?;
        Some(Block::of_milestone(pending.milestone.clone()))
    }

    /// Milestones between the confirmed and the newest known one.
    fn lag(&self) -> u32 {
        self.latest.index.0.saturating_sub(self.confirmed.index.0)
    }

    /// The first parent that does not fit HORNET's rules for a block that the node itself sends out.
    ///
    /// # Errors
    /// [`ViewError`].
    pub fn unfit_parent(
        &self,
        view: &impl TangleView,
        parents: &Parents,
    ) -> Result<Option<Unfit>, ViewError> {
        for parent in parents.as_slice() {
            match self.tangle.parent_state(view, parent, self.confirmed.index)? {
                ParentState::Good => {}
                state @ (ParentState::Unknown | ParentState::NotSolid | ParentState::BelowMaxDepth) => {
                    return Ok(Some(Unfit { parent: *parent, state }));
                }
            }
        }
        Ok(None)
    }

    /// The next thing to do, in order.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Up to `count` parents for a new block; none when the node is not synced enough to know any.
    pub fn select_tips(
        &mut self,
        count: usize,
        choice: Choice,
        now_ms: u64,
        random: &mut dyn FnMut(usize) -> usize,
    ) -> Vec<BlockId> {
        if !self.is_almost_synced() {
            return Vec::new();
        }
        self.tangle.expire_tips(now_ms);
        let mut tips = self.tangle.select_tips(count, choice, random);
        tips.sort_unstable();
        tips
    }

    /// What is known of a block that no milestone references yet.
    pub fn outlook(&self, id: &BlockId) -> Option<Outlook> {
        self.tangle.outlook(id, self.confirmed.index)
    }

    /// The newest confirmed milestone; index 0 before the first.
    pub fn confirmed(&self) -> MilestoneStamp {
        self.confirmed
    }

    /// Protocol parameters in force, and to come.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The newest milestone known.
    pub fn latest(&self) -> MilestoneStamp {
        self.latest
    }

    /// Why confirmation stopped for good, if it did.
    pub fn halted(&self) -> Option<&Halt> {
        self.halted.as_ref()
    }

    /// Blocks that a milestone may reference yet.
    pub fn unreferenced(&self) -> HashSet<BlockId> {
        self.tangle.unreferenced().collect()
    }

    /// Blocks held in memory.
    pub fn blocks_in_memory(&self) -> usize {
        self.tangle.len()
    }

    /// HORNET: > CMI >= LMI - 2
    pub fn is_almost_synced(&self) -> bool {
        self.lag() <= ALMOST_SYNCED && self.latest.index != self.genesis
    }
}
