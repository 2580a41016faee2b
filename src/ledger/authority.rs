//! Who may issue milestones: key ranges and the number of signatures (TIP-29 §Syntactic validation).

use crate::config;
use crate::protocol::block::Block;
use crate::protocol::id::MilestoneIndex;
use crate::protocol::milestone::Milestone;
use crate::protocol::signature;

/// A key and the milestones it may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRange {
    /// Ed25519 public key, 32 bytes.
    pub public_key: [u8; 32],
    /// First index, inclusive.
    pub start: MilestoneIndex,
    /// Last index, inclusive; 0 stands for "for ever".
    pub end: MilestoneIndex,
}

/// The network's milestone keys, from each node's configuration (never from the ledger).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// All keys.
    pub keys: Vec<KeyRange>,
    /// Signatures that a milestone needs.
    pub threshold: usize,
}

/// Why a milestone payload is not a milestone of this network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The block does not approve the parents that the payload names.
    #[error("block parents are not the milestone's parents")]
    Parents,
    /// Too few signatures, or too few keys apply at this index.
    #[error("{found} signatures, {needed} needed")]
    TooFew {
        /// Signatures or applicable keys.
        found: usize,
        /// The threshold.
        needed: usize,
    },
    /// A signature is by a key that may not sign this index.
    #[error("signed by a key that does not apply at index {0}")]
    ForeignKey(MilestoneIndex),
    /// A signature does not verify.
    #[error("a signature is wrong")]
    Signature,
}

impl Authority {
    /// Of a node with this configuration; a founder's own key counts when no other is named.
    pub fn of(network: &config::Network, own_key: Option<[u8; 32]>) -> Self {
        let range = |public_key, start, end| KeyRange {
            public_key,
            start: MilestoneIndex(start),
            end: MilestoneIndex(end),
        };
        let named = network.milestone_keys.iter().map(|key| range(key.public_key, key.start, key.end));
        let mut keys = named.collect::<Vec<_>>();
        if keys.is_empty() {
            keys.extend(own_key.map(|key| range(key, 0, 0)));
        }
        Self { keys, threshold: network.milestone_threshold }
    }

    fn applies(&self, public_key: &[u8; 32], index: MilestoneIndex) -> bool {
        self.keys.iter().any(|range| {
            range.public_key == *public_key
                && range.start <= index
                && (index <= range.end || range.end == MilestoneIndex(0))
        })
    }

    /// Checks that `block` is the milestone block of its payload. Costs one Ed25519 check a signature.
    ///
    /// # Errors
    /// [`Refusal`]: the block stays an ordinary block, which others may reference (as in HORNET).
    pub fn check(&self, block: &Block, milestone: &Milestone) -> Result<(), Refusal> {
        // HORNET compares a prefix: a block with only the first parents of its payload is a milestone too.
        if !milestone.essence.parents.as_slice().starts_with(block.parents.as_slice()) {
            return Err(Refusal::Parents);
        }
        let index = milestone.essence.index;
        let mut applicable = self.keys.iter().map(|range| range.public_key).collect::<Vec<_>>();
        applicable.retain(|key| self.applies(key, index));
        applicable.sort_unstable();
        applicable.dedup();
        let found = applicable.len().min(milestone.signatures().len());
        if found < self.threshold {
            return Err(Refusal::TooFew { found, needed: self.threshold });
        }
        let message = milestone.essence.id();
        for made in milestone.signatures() {
            // TIP-29: > each signature MUST be by a key that applies at the milestone's index
            if !self.applies(&made.public_key, index) {
                return Err(Refusal::ForeignKey(index));
            }
            if !signature::is_valid(&made.public_key, &made.signature, &message.0) {
                return Err(Refusal::Signature);
            }
        }
        Ok(())
    }
}
