//! The hash of a ledger's state, as HORNET's `snap-hash` and `db-hash` print it.

use sha2::{Digest, Sha256};

use crate::ledger::Booked;
use crate::ledger::treasury::Treasury;
use crate::protocol::id::{BlockId, MilestoneIndex};

/// A ledger's hash while its outputs are fed to it.
pub struct LedgerHash(Sha256);

impl std::fmt::Debug for LedgerHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LedgerHash").finish_non_exhaustive()
    }
}

impl LedgerHash {
    /// Of a ledger at this index.
    pub fn new(index: MilestoneIndex, treasury: Treasury) -> Self {
        let mut hash = Sha256::new();
        hash.update(index.0.to_le_bytes());
        hash.update(treasury.milestone.0);
        hash.update(treasury.amount.to_le_bytes());
        Self(hash)
    }

    /// The next unspent output: they have to come in order of their ids.
    pub fn add(&mut self, output: &Booked) {
        self.0.update(output.to_bytes());
    }

    /// Without and with the solid entry points.
    pub fn finish(self, mut entry_points: Vec<BlockId>) -> ([u8; 32], [u8; 32]) {
        let without = self.0.clone().finalize().into();
        entry_points.sort_unstable();
        let mut hash = self.0;
        entry_points.iter().for_each(|point| hash.update(point.0));
        (without, hash.finalize().into())
    }
}
