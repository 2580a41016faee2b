//! White flag (TIP-2): the newly referenced past cone of a milestone in order, what its transactions do to the ledger one
//! after the other, and its two Merkle roots.

use std::collections::{HashMap, HashSet};

use super::semantic::Signatures;
use super::view::{ConeBlock, ConeView, Known, LedgerView};
use super::{Booked, Conflict, Delta, Inclusion, Referenced, Spent, semantic};
use crate::fault::ViewError;
use crate::planted::{Bug, is_planted};
use crate::protocol::block::Parents;
use crate::protocol::id::{BlockId, MilestoneId, MilestoneIndex, OutputId};
use crate::protocol::merkle;
use crate::protocol::milestone::MilestoneStamp;
use crate::protocol::transaction::Transaction;

/// The milestone whose cone is walked: known before it is signed, so a coordinator can ask too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its index.
    pub index: MilestoneIndex,
    /// Its Unix time, in seconds.
    pub timestamp: u32,
    /// Its parents.
    pub parents: Parents,
    /// The milestone before it; all zero for the first after genesis.
    pub previous: MilestoneId,
}

/// What the milestone does to the Tangle and the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutations {
    /// Newly referenced blocks in white-flag order.
    pub referenced: Vec<Referenced>,
    /// TIP-4 root over all of them.
    pub inclusion_merkle_root: [u8; 32],
    /// TIP-4 root over those that changed the ledger.
    pub applied_merkle_root: [u8; 32],
    /// What it does to the ledger; a receipt comes on top.
    pub delta: Delta,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A block of the cone is not known (yet).
    #[error("block {0} of the cone is missing")]
    Missing(BlockId),
    /// The previous milestone is not in the cone, or does not fit.
    #[error("previous milestone {previous} {problem}")]
    Previous {
        /// The id that the milestone names.
        previous: MilestoneId,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The store failed.
    #[error(transparent)]
    View(#[from] ViewError),
}

/// Walks the cone and judges its transactions. O(cone) reads and hashes; holds 40 bytes for each block, and each output
/// that is made or spent.
///
/// `genesis` is the index that the network started at.
///
/// # Errors
/// [`Error::Missing`] while the cone is not solid; [`Error::Previous`]; [`Error::View`].
pub fn apply(
    cone: &impl ConeView,
    ledger: &impl LedgerView,
    question: &Question,
    genesis: MilestoneIndex,
) -> Result<Mutations, Error> {
    let mut walk = Walk { view: cone, visited: HashSet::new(), order: Vec::new(), previous: None, question };
    for parent in question.parents.as_slice() {
        walk.from(*parent)?;
    }
    check_previous(question, walk.previous, genesis)?;
    let mut application = Application { ledger, question, delta: Delta::default(), state: HashMap::new() };
    let mut referenced = Vec::with_capacity(walk.order.len());
    for (id, signatures) in walk.order {
        let inclusion = match signatures {
            None => Inclusion::NoTransaction,
            Some(signatures) => match ledger.transaction(&id)? {
                None => Inclusion::NoTransaction,
                Some(transaction) => application.apply(id, &transaction, signatures)?,
            },
        };
        referenced.push(Referenced { id, inclusion });
    }
    let all = referenced.iter().map(|block| block.id).collect::<Vec<_>>();
    let included = referenced.iter().filter(|block| block.inclusion == Inclusion::Included);
    let included = included.map(|block| block.id).collect::<Vec<_>>();
    Ok(Mutations {
        referenced,
        inclusion_merkle_root: merkle::root(&all),
        applied_merkle_root: merkle::root(&included),
        delta: application.delta,
    })
}

/// The ledger with what the milestone did to it so far.
struct Application<'a, L> {
    ledger: &'a L,
    question: &'a Question,
    delta: Delta,
    /// Outputs that this milestone made or spent.
    state: HashMap<OutputId, State>,
}

#[derive(Clone, Copy)]
enum State {
    /// Unspent; where it stands in [`Delta::created`].
    Created(usize),
    Spent,
}

impl<L: LedgerView> Application<'_, L> {
    /// TIP-2: > a transaction that conflicts with the ledger or an earlier one of the order is ignored
    fn apply(
        &mut self,
        block: BlockId,
        transaction: &Transaction,
        signatures: Signatures,
    ) -> Result<Inclusion, ViewError> {
        let inputs = match self.inputs(&transaction.essence.inputs)? {
            Ok(inputs) => inputs,
            Err(conflict) => return Ok(Inclusion::Conflicting(conflict)),
        };
        let id = transaction.id();
        let time = self.question.timestamp;
        if let Err(conflict) = semantic::check(transaction, id, &inputs, time, signatures) {
            return Ok(Inclusion::Conflicting(conflict));
        }
        for booked in inputs {
            self.state.insert(booked.id, State::Spent);
            self.delta.consumed.push(Spent { booked, transaction: id });
        }
        for (index, output) in (0..).zip(&transaction.essence.outputs) {
            let id = OutputId { transaction: id, index };
            self.state.insert(id, State::Created(self.delta.created.len()));
            self.delta.created.push(Booked {
                id,
                block,
                index: self.question.index,
                timestamp: self.question.timestamp,
                output: output.clone(),
            });
        }
        Ok(Inclusion::Included)
    }

    /// The outputs that are to be spent; the first that cannot be decides on the reason.
    fn inputs(&self, ids: &[OutputId]) -> Result<Result<Vec<Booked>, Conflict>, ViewError> {
        let mut inputs = Vec::with_capacity(ids.len());
        for id in ids {
            let state = self.state.get(id).copied();
            match state.filter(|state| !matches!(state, State::Spent) || !is_planted(Bug::DoubleSpend)) {
                Some(State::Spent) => return Ok(Err(Conflict::InputSpentInMilestone)),
                Some(State::Created(at)) => inputs.push(self.delta.created[at].clone()),
                None => match self.ledger.output(id)? {
                    None => return Ok(Err(Conflict::InputNotFound)),
                    Some(Known::Spent) => return Ok(Err(Conflict::InputSpent)),
                    Some(Known::Unspent(booked)) => inputs.push(*booked),
                },
            }
        }
        Ok(Ok(inputs))
    }
}

/// TIP-29 §Semantic validation: > previousMilestoneId MUST match the previous milestone, which MUST be in
/// > the past cone; for the first milestone after genesis it MUST be all zero.
fn check_previous(
    question: &Question,
    seen: Option<MilestoneStamp>,
    genesis: MilestoneIndex,
) -> Result<(), Error> {
    let wrong = |problem| Error::Previous { previous: question.previous, problem };
    if question.index == genesis.next() {
        return match question.previous {
            MilestoneId::ZERO => Ok(()),
            _ => Err(wrong("must be all zero for a network's first milestone")),
        };
    }
    let Some(previous) = seen else { return Err(wrong("is not in the past cone")) };
    if previous.index.next() != question.index {
        return Err(wrong("has not the index before"));
    }
    if previous.timestamp >= question.timestamp {
        return Err(wrong("is not older"));
    }
    Ok(())
}

/// Iterative post-order walk: a block's parents in stored order, then the block; each block once.
struct Walk<'a, V> {
    view: &'a V,
    visited: HashSet<BlockId>,
    /// Each with its transaction's signatures, when it carries one.
    order: Vec<(BlockId, Option<Signatures>)>,
    previous: Option<MilestoneStamp>,
    question: &'a Question,
}

/// A block whose parents are being walked.
struct Frame {
    id: BlockId,
    transaction: Option<Signatures>,
    parents: Vec<BlockId>,
    next: usize,
}

impl<V: ConeView> Walk<'_, V> {
    fn from(&mut self, start: BlockId) -> Result<(), Error> {
        let mut stack = Vec::new();
        stack.extend(self.enter(start)?);
        while let Some(frame) = stack.last_mut() {
            match frame.parents.get(frame.next).copied() {
                Some(parent) => {
                    frame.next += 1;
                    stack.extend(self.enter(parent)?);
                }
                None => {
                    self.order.push((frame.id, frame.transaction));
                    stack.pop();
                }
            }
        }
        Ok(())
    }

    /// A frame for a block that is to be walked, `None` for one that is not.
    fn enter(&mut self, id: BlockId) -> Result<Option<Frame>, Error> {
        if self.visited.contains(&id) {
            return Ok(None);
        }
        match self.view.cone_block(&id)?.ok_or(Error::Missing(id))? {
            ConeBlock::Referenced => Ok(None),
            ConeBlock::Unreferenced { parents, milestone, transaction } => {
                self.visited.insert(id);
                if let Some(stamp) = milestone.filter(|stamp| stamp.id == self.question.previous) {
                    self.previous = Some(stamp);
                }
                Ok(Some(Frame { id, transaction, parents, next: 0 }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Error, Question, apply};
    use crate::fault::ViewError;
    use crate::ledger::view::{ConeBlock, ConeView, Known, LedgerView};
    use crate::protocol::block::Parents;
    use crate::protocol::id::{BlockId, MilestoneId, MilestoneIndex, OutputId};
    use crate::protocol::merkle;
    use crate::protocol::milestone::MilestoneStamp;
    use crate::protocol::transaction::Transaction;

    struct Map(BTreeMap<BlockId, ConeBlock>);

    impl ConeView for Map {
        fn cone_block(&self, id: &BlockId) -> Result<Option<ConeBlock>, ViewError> {
            Ok(self.0.get(id).cloned())
        }
    }

    /// Of a network without value.
    impl LedgerView for Map {
        fn output(&self, _: &OutputId) -> Result<Option<Known>, ViewError> {
            Ok(None)
        }

        fn transaction(&self, _: &BlockId) -> Result<Option<Transaction>, ViewError> {
            Ok(None)
        }
    }

    fn id(name: u8) -> BlockId {
        BlockId([name; 32])
    }

    /// 0 is the genesis; 1 approves it; 2 and 3 approve 1; 4 approves 2 and 3 and carries milestone 1.
    fn diamond() -> Map {
        let milestone = MilestoneStamp { id: MilestoneId([1; 32]), index: MilestoneIndex(1), timestamp: 10 };
        let plain = |parents: &[u8]| ConeBlock::Unreferenced {
            parents: parents.iter().copied().map(id).collect(),
            milestone: None,
            transaction: None,
        };
        Map(BTreeMap::from([
            (id(0), ConeBlock::Referenced),
            (id(1), plain(&[0])),
            (id(2), plain(&[1])),
            (id(3), plain(&[1])),
            (
                id(4),
                ConeBlock::Unreferenced {
                    parents: vec![id(2), id(3)],
                    milestone: Some(milestone),
                    transaction: None,
                },
            ),
        ]))
    }

    fn question(index: u32, parents: &[u8], previous: MilestoneId, timestamp: u32) -> Question {
        let parents = Parents::new(parents.iter().copied().map(id).collect()).unwrap();
        Question { index: MilestoneIndex(index), timestamp, parents, previous }
    }

    #[test]
    fn visits_parents_first_in_stored_order_and_each_once() {
        let question = question(1, &[3, 4], MilestoneId::ZERO, 11);
        let first = apply(&diamond(), &diamond(), &question, MilestoneIndex(0)).unwrap();
        let order = first.referenced.iter().map(|block| block.id).collect::<Vec<_>>();
        assert_eq!(order, [id(1), id(3), id(2), id(4)]);
        assert_eq!(first.inclusion_merkle_root, merkle::root(&order));
        assert_eq!(first.applied_merkle_root, merkle::root(&[]));
    }

    #[test]
    fn the_previous_milestone_must_be_in_the_cone_and_fit() {
        let ask = |question| apply(&diamond(), &diamond(), &question, MilestoneIndex(0));
        ask(question(2, &[4], MilestoneId([1; 32]), 11)).unwrap();
        for wrong in [
            question(2, &[3], MilestoneId([1; 32]), 11),
            question(2, &[4], MilestoneId([1; 32]), 10),
            question(3, &[4], MilestoneId([1; 32]), 11),
            question(1, &[4], MilestoneId([1; 32]), 11),
        ] {
            assert!(matches!(ask(wrong), Err(Error::Previous { .. })));
        }
        assert_eq!(ask(question(1, &[9], MilestoneId::ZERO, 1)), Err(Error::Missing(id(9))));
    }
}
