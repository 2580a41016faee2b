//! The reads that the Tangle needs of blocks it no longer holds.

use crate::fault::ViewError;
use crate::protocol::id::{BlockId, MilestoneIndex};
use crate::protocol::milestone::MilestoneStamp;

/// A block in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its parents, ascending.
    pub parents: Vec<BlockId>,
    /// The milestone that references it.
    pub referenced: Option<MilestoneIndex>,
    /// The milestone it carries, when that is validly signed.
    pub milestone: Option<MilestoneStamp>,
    /// Whether it carries a transaction.
    pub transaction: bool,
}

/// Reads of the store.
pub trait TangleView {
    /// The block, or `None` when the store has it not.
    ///
    /// # Errors
    /// [`ViewError`] when the store cannot be read.
    fn stored(&self, id: &BlockId) -> Result<Option<Stored>, ViewError>;
}
