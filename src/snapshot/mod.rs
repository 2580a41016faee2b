//! Snapshots (TIP-35): the ledger in a file, wire- and file-compatible with HORNET 2.0.
//!
//! A full snapshot holds all unspent outputs at its ledger index, and the milestone diffs that lead back to its target
//! index; a delta snapshot holds the diffs that lead on from a full one. Over `Read` and `Write` only (layer L1), and
//! streamed: never more than one output or one diff in memory.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod delta;
pub mod full;
pub mod genesis;
pub mod hash;
pub mod load;
pub mod record;
mod source;

use crate::ledger::treasury::Treasury;
use crate::protocol;
use crate::protocol::id::{BlockId, MilestoneIndex};
use crate::protocol::milestone::MilestoneStamp;
use crate::protocol::params::Schedule;

/// Version of the file format.
pub const VERSION: u8 = 2;

/// Most bytes of one milestone diff in a file; it is held in memory.
const MAX_DIFF_BYTES: u32 = 1 << 27;

/// Highest index that a file may be of: a network reaches it after 600 years of milestones of five seconds, and a node can
/// count on from there.
const MAX_INDEX: u32 = u32::MAX - (1 << 20);

/// A milestone's index in the head of a file.
fn check_index(field: &'static str, index: MilestoneIndex) -> Result<(), Error> {
    protocol::pack::check_range(field, index.0.into(), 0, MAX_INDEX.into())?;
    Ok(())
}

/// Where a ledger begins: what a snapshot says beside its outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Index that the network was founded at.
    pub genesis: MilestoneIndex,
    /// The milestone that the ledger is at; id and time of zero for a new network.
    pub target: MilestoneStamp,
    /// What the treasury holds.
    pub treasury: Treasury,
    /// Protocol parameters in force, and to come.
    pub schedule: Schedule,
    /// Blocks that count as known, solid and referenced at the target.
    pub entry_points: Vec<BlockId>,
}

/// Why a file is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read or written.
    #[error("{field}: {source}")]
    Io {
        /// What was being read or written.
        field: &'static str,
        /// Why that failed.
        source: std::io::Error,
    },
    /// A field is not what it must be.
    #[error(transparent)]
    Field(#[from] protocol::Error),
    /// What the file says of itself does not hold.
    #[error("{0}")]
    Inconsistent(String),
}
