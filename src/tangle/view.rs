//! The reads that the Tangle needs of blocks it no longer holds.

use crate::fault::ViewError;
use crate::protocol::id::{BlockId, MilestoneIndex};
use crate::protocol::milestone::MilestoneStamp;

/// What the Tangle keeps of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transaction {
    /// All its signatures were found right when it came in.
    pub signed: bool,
}

/// A block in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its parents, ascending.
    pub parents: Vec<BlockId>,
    /// The milestone that references it.
    pub referenced: Option<MilestoneIndex>,
    /// The milestone it carries, when that is validly signed.
    pub milestone: Option<MilestoneStamp>,
    /// Its transaction, when it carries one.
    pub transaction: Option<Transaction>,
}

/// Reads of the store.
pub trait TangleView {
    /// The block, or `None` when the store has it not.
    ///
    /// # Errors
    /// [`ViewError`] when the store cannot be read.
    fn stored(&self, id: &BlockId) -> Result<Option<Stored>, ViewError>;
}
