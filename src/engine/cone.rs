//! The Tangle as the white-flag walk reads it: here the two meet, who do not know each other.

use crate::fault::ViewError;
use crate::ledger::semantic::Signatures;
use crate::ledger::view::{ConeBlock, ConeView};
use crate::protocol::id::BlockId;
use crate::tangle::Tangle;
use crate::tangle::view::TangleView;

/// Memory first, then the store.
pub(super) struct Cone<'a, V> {
    pub(super) tangle: &'a Tangle,
    pub(super) view: &'a V,
}

impl<V: TangleView> ConeView for Cone<'_, V> {
    fn cone_block(&self, id: &BlockId) -> Result<Option<ConeBlock>, ViewError> {
        Ok(self.tangle.ancestor(self.view, id)?.map(|block| match block.referenced {
            Some(_) => ConeBlock::Referenced,
            None => ConeBlock::Unreferenced {
                parents: block.parents,
                milestone: block.milestone,
                transaction: block.transaction.map(|transaction| match transaction.signed {
                    true => Signatures::Right,
                    false => Signatures::Unknown,
                }),
            },
        }))
    }
}
