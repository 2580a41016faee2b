//! The state transition of one milestone: which blocks it references, in which order, and what their transactions do
//! to the ledger.
//!
//! Pure (layer L1): reads through the traits of [`view`], writes nothing.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod authority;
pub mod chain;
mod record;
pub mod semantic;
pub mod syntactic;
mod tokens;
pub mod treasury;
pub mod view;
pub mod whiteflag;

use crate::protocol::id::{BlockId, MilestoneIndex, OutputId, TransactionId};
use crate::protocol::output::Output;
use treasury::Treasury;

/// What a milestone made of a block it references (TIP-25 `ledgerInclusionState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inclusion {
    /// The block carries no transaction.
    NoTransaction,
    /// Its transaction changed the ledger.
    Included,
    /// Its transaction did nothing.
    Conflicting(Conflict),
}

/// Why a transaction does nothing: HORNET's codes. Nodes may differ in them (one that pruned a spent output says "not
/// found"); whether there is a conflict is what all agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Conflict {
    /// An input was spent by an earlier milestone.
    InputSpent = 1,
    /// An input was spent by an earlier block of the same milestone.
    InputSpentInMilestone = 2,
    /// An input is not known.
    InputNotFound = 3,
    /// Inputs and outputs hold different amounts of base tokens.
    SumMismatch = 4,
    /// A signature is wrong, or that of another address.
    Signature = 5,
    /// An input is locked until later.
    Timelock = 6,
    /// Native tokens are out of nothing, or too many.
    NativeTokens = 7,
    /// Less is returned than an input's storage deposit asks for.
    ReturnAmount = 8,
    /// An input is unlocked in a way that does not fit its owner.
    InputUnlock = 9,
    /// The essence names other inputs than it spends.
    InputsCommitment = 10,
    /// A sender unlocked nothing.
    Sender = 11,
    /// An alias, foundry or NFT may not change like that.
    ChainTransition = 12,
}

impl Conflict {
    const ALL: [Self; 12] = [
        Self::InputSpent,
        Self::InputSpentInMilestone,
        Self::InputNotFound,
        Self::SumMismatch,
        Self::Signature,
        Self::Timelock,
        Self::NativeTokens,
        Self::ReturnAmount,
        Self::InputUnlock,
        Self::InputsCommitment,
        Self::Sender,
        Self::ChainTransition,
    ];

    /// TIP-25 `conflictReason`.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The inverse of [`Conflict::code`].
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|conflict| conflict.code() == code)
    }
}

/// A block newly referenced by a milestone; its place in the list is its white-flag index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Referenced {
    /// The block.
    pub id: BlockId,
    /// What became of its payload.
    pub inclusion: Inclusion,
}

/// An output, and how it came into the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booked {
    /// Its id.
    pub id: OutputId,
    /// The block that made it; zero for migrated funds and for those of the genesis.
    pub block: BlockId,
    /// The milestone that booked it.
    pub index: MilestoneIndex,
    /// Time of that, in Unix seconds.
    pub timestamp: u32,
    /// What it is.
    pub output: Output,
}

/// An output that was spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// Which.
    pub booked: Booked,
    /// What spent it.
    pub transaction: TransactionId,
}

/// What a milestone does to the ledger. An output that is made and spent by one milestone is in both lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// New outputs, in white-flag order; migrated funds last.
    pub created: Vec<Booked>,
    /// Spent ones, in white-flag order.
    pub consumed: Vec<Spent>,
    /// What the treasury holds now, when a receipt changed that.
    pub treasury: Option<Treasury>,
}
