//! The reads that the white-flag walk needs, as a trait its callers implement.

use crate::fault::ViewError;
use crate::protocol::id::BlockId;
use crate::protocol::milestone::MilestoneStamp;

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
