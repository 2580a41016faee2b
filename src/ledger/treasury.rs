//! The treasury (TIP-34): funds that have not been migrated yet, and the receipts that move them into the ledger.

use super::Booked;
use crate::protocol::address::Address;
use crate::protocol::id::{BlockId, MilestoneId, OutputId, TransactionId};
use crate::protocol::milestone::MilestoneStamp;
use crate::protocol::output::condition::{Condition, Conditions};
use crate::protocol::output::{Basic, Output, Value};
use crate::protocol::treasury::{MIN_MIGRATED, Receipt};

/// What is left to migrate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Treasury {
    /// The milestone that made it so; zero for the genesis.
    pub milestone: MilestoneId,
    /// Base tokens.
    pub amount: u64,
}

impl Treasury {
    /// Of a network that never had one.
    pub const EMPTY: Self = Self { milestone: MilestoneId::ZERO, amount: 0 };
}

/// A receipt that breaks a rule: nobody signs such a one by accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The same bundle twice.
    #[error("receipt: a tail transaction hash stands twice")]
    Twice,
    /// An entry is too small.
    #[error("receipt: {0} base tokens are less than the least that was migrated at once, {MIN_MIGRATED}")]
    TooLittle(u64),
    /// The sums do not match.
    #[error("receipt: the treasury holds {held}, and {migrated} leave it, but {left} are said to be left")]
    Sum {
        /// Before.
        held: u64,
        /// By the receipt.
        migrated: u128,
        /// After, as the receipt says.
        left: u64,
    },
}

/// The outputs that a receipt makes, and what it leaves.
///
/// # Errors
/// [`Error`].
pub fn migrate(
    receipt: &Receipt,
    milestone: MilestoneStamp,
    treasury: Treasury,
) -> Result<(Vec<Booked>, Treasury), Error> {
    let mut tails = receipt.funds().iter().map(|entry| entry.tail_transaction_hash).collect::<Vec<_>>();
    tails.sort_unstable();
    if tails.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Error::Twice);
    }
    if let Some(entry) = receipt.funds().iter().find(|entry| entry.amount < MIN_MIGRATED) {
        return Err(Error::TooLittle(entry.amount));
    }
    let migrated = receipt.funds().iter().map(|entry| u128::from(entry.amount)).sum::<u128>();
    let (held, left) = (treasury.amount, receipt.transaction.amount);
    // HORNET: > what the treasury held, less what is migrated, must be what it holds (TIP-34 says "plus" by mistake)
    if u128::from(held) != migrated + u128::from(left) {
        return Err(Error::Sum { held, migrated, left });
    }
    let output = |(at, entry): (u16, &crate::protocol::treasury::MigratedFunds)| Booked {
        // TIP-34: > the id of a migrated output is that of the milestone and its place in the receipt
        id: OutputId { transaction: TransactionId(milestone.id.0), index: at },
        block: BlockId::ZERO,
        index: milestone.index,
        timestamp: milestone.timestamp,
        output: plain(Address::Ed25519(entry.address), entry.amount),
    };
    let outputs = (0..).zip(receipt.funds()).map(output).collect();
    Ok((outputs, Treasury { milestone: milestone.id, amount: left }))
}

/// A basic output that its owner can spend at once.
pub fn plain(owner: Address, amount: u64) -> Output {
    let conditions = Conditions::new(vec![Condition::Address(owner)], &[0], &[0]).expect("one is in order");
    let value = Value { amount, native_tokens: Default::default() };
    Output::Basic(Basic { value, conditions, features: Default::default() })
}
