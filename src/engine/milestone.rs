//! Confirmation: the next milestone, once solid, is walked, compared and committed.

use super::cone::Cone;
use super::effect::{Confirmation, Effect};
use super::{Engine, Pending};
use crate::fault::ViewError;
use crate::ledger::treasury;
use crate::ledger::view::LedgerView;
use crate::ledger::whiteflag::{self, Mutations, Question};
use crate::protocol::id::{BlockId, MilestoneIndex};
use crate::protocol::milestone::{Milestone, MilestoneStamp};
use crate::tangle::view::TangleView;

/// Why this node stopped confirming: it would have to guess to go on. It keeps serving, unhealthy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The cone gives other roots than the milestone names.
    #[error("milestone {index}: the {root} Merkle root of its cone differs from the signed one")]
    Root {
        /// The milestone.
        index: MilestoneIndex,
        /// Which root.
        root: &'static str,
    },
    /// The chain of milestones does not hold.
    #[error("milestone {index}: {problem}")]
    Chain {
        /// The milestone.
        index: MilestoneIndex,
        /// What is wrong.
        problem: String,
    },
    /// Parameters come into force that this node does not know.
    #[error("milestone {index}: {error}: this version cannot go on; update the node")]
    Parameters {
        /// The milestone.
        index: MilestoneIndex,
        /// What is not known.
        error: crate::protocol::Error,
    },
    /// The coordinator signed two different milestones for one index.
    #[error("milestone {index}: two different ones are validly signed")]
    Fork {
        /// The index.
        index: MilestoneIndex,
    },
}

impl Engine {
    /// Remembers a validly signed milestone until it can be confirmed.
    pub(super) fn note_milestone(&mut self, block_id: BlockId, milestone: Milestone, stamp: MilestoneStamp) {
        if stamp.index <= self.confirmed.index {
            let forked = stamp.index == self.confirmed.index && stamp.id != self.confirmed.id;
            if forked {
                self.halted.get_or_insert(Halt::Fork { index: stamp.index });
            }
            return;
        }
        if let Some(known) = self.pending.get(&stamp.index) {
            if known.milestone.essence != milestone.essence {
                self.halted.get_or_insert(Halt::Fork { index: stamp.index });
            }
            return;
        }
        if stamp.index > self.latest.index {
            self.latest = stamp;
        }
        self.pending.insert(stamp.index, Pending { block_id, milestone });
    }

    /// Confirms the next milestone if it is solid: whether there may be more. What it asks for has to be done before the
    /// next call.
    ///
    /// # Errors
    /// [`ViewError`]: the store cannot be read; the node must stop.
    pub fn advance(&mut self, view: &(impl TangleView + LedgerView)) -> Result<bool, ViewError> {
        let next = self.confirmed.index.next();
        let Some(pending) = self.pending.get(&next).filter(|_| self.halted.is_none()) else {
            return Ok(false);
        };
        let parents = pending.milestone.essence.parents.as_slice();
        if !self.tangle.all_solid(view, parents)? {
            return Ok(false);
        }
        let Some(pending) = self.pending.remove(&next) else { return Ok(false) };
        match self.confirm(view, pending)? {
            Ok(()) => Ok(true),
            Err(halt) => {
                self.halted = Some(halt);
                Ok(false)
            }
        }
    }

    fn confirm(
        &mut self,
        view: &(impl TangleView + LedgerView),
        pending: Pending,
    ) -> Result<Result<(), Halt>, ViewError> {
        let Pending { block_id, milestone } = pending;
        let essence = &milestone.essence;
        let index = essence.index;
        let question = Question {
            index,
            timestamp: essence.timestamp,
            parents: essence.parents.clone(),
            previous: essence.previous,
        };
        let mutations = match self.white_flag(view, &question) {
            Ok(mutations) => mutations,
            Err(whiteflag::Error::View(error)) => return Err(error),
            Err(error @ (whiteflag::Error::Missing(_) | whiteflag::Error::Previous { .. })) => {
                return Ok(Err(Halt::Chain { index, problem: error.to_string() }));
            }
        };
        // TIP-29 §Semantic validation: > the roots MUST match those of the newly referenced blocks
        if mutations.inclusion_merkle_root != essence.inclusion_merkle_root {
            return Ok(Err(Halt::Root { index, root: "inclusion" }));
        }
        if mutations.applied_merkle_root != essence.applied_merkle_root {
            return Ok(Err(Halt::Root { index, root: "applied" }));
        }
        let Mutations { referenced, mut delta, .. } = mutations;
        let stamp = essence.stamp();
        if let Some(receipt) = essence.options.receipt() {
            match treasury::migrate(receipt, stamp, self.treasury) {
                Ok((outputs, left)) => {
                    delta.created.extend(outputs);
                    delta.treasury = Some(left);
                    self.treasury = left;
                }
                Err(error) => return Ok(Err(Halt::Chain { index, problem: error.to_string() })),
            }
        }
        let schedule = match self.schedule.confirm(index, essence.options.parameters()) {
            Ok(false) => None,
            Ok(true) => {
                self.tangle.set_below_max_depth(self.schedule.active.below_max_depth);
                Some(self.schedule.clone())
            }
            Err(error) => return Ok(Err(Halt::Parameters { index, error })),
        };
        self.confirmed = stamp;
        let catching_up = !self.is_almost_synced();
        self.tangle.confirm(view, index, referenced.iter().map(|block| block.id), catching_up)?;
        self.effects.push_back(Effect::Commit(Box::new(Confirmation {
            block_id,
            milestone,
            stamp,
            referenced,
            delta,
            schedule,
        })));
        Ok(Ok(()))
    }

    /// Walks the cone of a milestone to be and judges its transactions. O(cone).
    ///
    /// # Errors
    /// As [`whiteflag::apply`]; [`whiteflag::Error::Previous`] when `question` is not the next milestone.
    pub fn white_flag(
        &self,
        view: &(impl TangleView + LedgerView),
        question: &Question,
    ) -> Result<Mutations, whiteflag::Error> {
        if question.index != self.confirmed.index.next() {
            let problem = "is not the milestone after the confirmed one";
            return Err(whiteflag::Error::Previous { previous: question.previous, problem });
        }
        whiteflag::apply(&Cone { tangle: &self.tangle, view }, view, question, self.genesis)
    }
}
