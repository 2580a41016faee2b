//! The reads that the state transition needs, as traits their callers implement.

use super::Booked;
use super::semantic::Signatures;
use crate::fault::ViewError;
use crate::protocol::id::{BlockId, OutputId};
use crate::protocol::milestone::MilestoneStamp;
use crate::protocol::transaction::Transaction;

/// What the walk must know of one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConeBlock {
    /// Referenced by an earlier milestone, or a solid entry point: the walk does not enter it.
    Referenced,
    /// Not referenced yet.
    Unreferenced {
        /// Its parents, ascending.
        parents: Vec<BlockId>,
        /// The milestone it carries, when that is validly signed.
        milestone: Option<MilestoneStamp>,
        /// Its transaction's signatures, when it carries one.
        transaction: Option<Signatures>,
    },
}

/// Reads of the Tangle as it is before the milestone.
pub trait ConeView {
    /// The block, or `None` when it is not known.
    ///
    /// # Errors
    /// [`ViewError`] when the store cannot be read.
    fn cone_block(&self, id: &BlockId) -> Result<Option<ConeBlock>, ViewError>;
}

/// What the ledger knows of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It can be spent.
    Unspent(Box<Booked>),
    /// It was spent; forgotten when the milestone that did so is pruned.
    Spent,
}

/// Reads of the ledger as it is before the milestone.
pub trait LedgerView {
    /// An output, or `None` when it is not known.
    ///
    /// # Errors
    /// [`ViewError`] when the store cannot be read.
    fn output(&self, id: &OutputId) -> Result<Option<Known>, ViewError>;

    /// The transaction of a stored block; `None` when it has none.
    ///
    /// # Errors
    /// [`ViewError`] when the store cannot be read, or has no such block.
    fn transaction(&self, id: &BlockId) -> Result<Option<Transaction>, ViewError>;
}
