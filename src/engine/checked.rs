//! The stateless rules of a block, checked once: the type is the proof.

use std::sync::Arc;

use super::Network;
use crate::ledger::semantic::{self, Signatures};
use crate::ledger::syntactic;
use crate::pow;
use crate::pow::verify::Claim;
use crate::protocol::block::{self, Block, NONCE_BYTES, Payload};
use crate::protocol::id::BlockId;
use crate::protocol::milestone::Milestone;
use crate::protocol::pack::check_range;
use crate::protocol::{MAX_BLOCK_BYTES, blake2b_256};

/// A block that satisfies every rule that needs no other block.
#[derive(Debug, Clone)]
pub struct CheckedBlock {
    /// BLAKE2b-256 of `bytes`.
    pub id: BlockId,
    /// Binary form, as it came or as it was packed.
    pub bytes: Arc<[u8]>,
    /// Parsed form.
    pub block: Block,
    /// Its payload when that is a milestone of this network; a milestone payload that is not stays an
    /// ordinary block (HORNET stores it, and others may reference it).
    pub milestone: Option<Milestone>,
    /// All signatures of its transaction are right. One whose signatures are not is no worse a block: its transaction
    /// will do nothing.
    pub signed: bool,
}

/// Why a block is refused without looking at any other.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Not a block.
    #[error(transparent)]
    Syntax(#[from] crate::protocol::Error),
    /// Made for another protocol version.
    #[error("protocolVersion: {found} is not the network's version {expected}")]
    Version {
        /// The block's.
        found: u8,
        /// The network's.
        expected: u8,
    },
    /// Too little proof of work.
    #[error("nonce: proof-of-work score {score:.2} is below the network's minimum {minimum}")]
    Score {
        /// Score of the block.
        score: f64,
        /// The network's parameter.
        minimum: u32,
    },
    /// A transaction that can never be valid.
    #[error(transparent)]
    Transaction(#[from] syntactic::Error),
    /// A milestone payload needs no proof of work and must have none.
    #[error("nonce: must be 0 in a block with a milestone payload")]
    MilestoneNonce,
}

impl Refusal {
    /// Whether the block may have been good under other parameters of the network: of work, of storage deposit.
    pub fn is_of_its_time(&self) -> bool {
        match self {
            Self::Score { .. } => true,
            Self::Transaction(error) => error.is_deposit(),
            Self::Syntax(_) | Self::Version { .. } | Self::MilestoneNonce => false,
        }
    }
}

/// The rules that need no proof of work: before a nonce is looked for, these must hold. `length` is that of the binary
/// form.
///
/// # Errors
/// [`Refusal`].
pub fn check_form(network: &Network, length: usize, block: &Block) -> Result<(), Refusal> {
    // TIP-24 §Syntactic validation: > the total length of the block MUST NOT exceed 32768 bytes. A block in
    // JSON is measured here for the first time.
    check_range("block length", length as u64, 0, MAX_BLOCK_BYTES as u64)?;
    let expected = network.params.version;
    if block.protocol_version != expected {
        return Err(Refusal::Version { found: block.protocol_version, expected });
    }
    match &block.payload {
        Some(Payload::Transaction(transaction)) => Ok(syntactic::check(transaction, &network.params)?),
        Some(Payload::Milestone(_) | Payload::TaggedData(_)) | None => Ok(()),
    }
}

/// What is known of a block's proof of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Nothing yet.
    Unknown,
    /// Whether what [`claim`] says holds.
    Judged(bool),
}

/// The proof of work that a block has to show; `None` when it needs none.
pub fn claim(network: &Network, bytes: &[u8], block: &Block) -> Option<Claim> {
    let minimum = network.params.min_pow_score;
    if minimum == 0 || block.milestone().is_some() {
        return None;
    }
    let digest = blake2b_256(bytes.get(..bytes.len().checked_sub(NONCE_BYTES)?)?);
    Some(Claim::new(&digest, block.nonce, pow::required_zeros(bytes.len(), minimum)))
}

/// Checks bytes from outside. O(bytes) and one Curl hash, plus an Ed25519 check for each signature.
///
/// # Errors
/// [`Refusal`], worded for the sender.
pub fn check(network: &Network, bytes: Arc<[u8]>) -> Result<CheckedBlock, Refusal> {
    let block = Block::parse(&bytes)?;
    check_parsed(network, bytes, block, Work::Unknown)
}

/// As [`check`], for a block that was parsed or built here; `bytes` is its binary form.
///
/// # Errors
/// [`Refusal`].
pub fn check_parsed(
    network: &Network,
    bytes: Arc<[u8]>,
    block: Block,
    work: Work,
) -> Result<CheckedBlock, Refusal> {
    check_form(network, bytes.len(), &block)?;
    match block.milestone() {
        // HORNET: > nonce must be 0, no proof-of-work check at all
        Some(_) if block.nonce != 0 => return Err(Refusal::MilestoneNonce),
        Some(_) => {}
        None => {
            // TIP-12: > the score of a block must reach the network's minimum
            let holds = match work {
                Work::Judged(holds) => holds,
                Work::Unknown => claim(network, &bytes, &block).is_none_or(|claim| claim.holds()),
            };
            if !holds {
                let minimum = network.params.min_pow_score;
                return Err(Refusal::Score { score: pow::score(&bytes).unwrap_or_default(), minimum });
            }
        }
    }
    let milestone =
        block.milestone().filter(|payload| network.authority.check(&block, payload).is_ok()).cloned();
    let signed =
        block.transaction().is_some_and(|transaction| semantic::signatures(transaction) == Signatures::Right);
    Ok(CheckedBlock { id: block::id_of(&bytes), bytes, block, milestone, signed })
}
