//! The first ledger of a new network.

use super::Base;
use crate::ledger::Booked;
use crate::ledger::treasury::{Treasury, plain};
use crate::protocol::address::Address;
use crate::protocol::id::{BlockId, MilestoneId, MilestoneIndex, OutputId, TransactionId};
use crate::protocol::milestone::MilestoneStamp;
use crate::protocol::params::{ProtocolParameters, Schedule};

/// Where a new network begins: at milestone 0, with the zero block as its only solid entry point (TIP-35).
pub fn base(params: ProtocolParameters) -> Base {
    let index = MilestoneIndex(0);
    Base {
        genesis: index,
        target: MilestoneStamp { id: MilestoneId::ZERO, index, timestamp: 0 },
        treasury: Treasury::EMPTY,
        schedule: Schedule::new(params, index),
        entry_points: vec![BlockId::ZERO],
    }
}

/// The outputs of a new network: to `rest`, in the output whose id is all zero, whatever `grants` leave of the supply.
/// The others are counted from 1 in order of their addresses, as HORNET does, larger amounts first. `None` when there is not that much.
pub fn outputs(supply: u64, rest: Address, grants: &[(Address, u64)]) -> Option<Vec<Booked>> {
    let mut grants = grants.to_vec();
    grants.sort_unstable_by_key(|(owner, amount)| (*owner, std::cmp::Reverse(*amount)));
    let left = grants.iter().try_fold(supply, |left, (_, amount)| left.checked_sub(*amount))?;
    let amounts = std::iter::once((rest, left)).chain(grants);
    let outputs =
        (0u64..).zip(amounts).filter(|(_, (_, amount))| *amount > 0).map(|(number, (owner, amount))| {
            let mut transaction = TransactionId::ZERO;
            transaction.0[..8].copy_from_slice(&number.to_le_bytes());
            Booked {
                id: OutputId { transaction, index: 0 },
                block: BlockId::ZERO,
                index: MilestoneIndex(0),
                timestamp: 0,
                output: plain(owner, amount),
            }
        });
    Some(outputs.collect())
}
