//! Every key and value in an epoch's database.
//!
//! | tree | key | value |
//! | --- | --- | --- |
//! | `block` | block key: interval u32 BE, sequence u32 BE | the block (TIP-24) |
//! | `reference` | block key | milestone u32 BE, white-flag index u32 BE, inclusion u8: 0 no transaction, 255 included, else the conflict's code |
//! | `milestone` | index u32 BE | block id, 32 bytes; milestone payload (TIP-29, with its type) |
//! | `created` | milestone u32 BE, number u32 BE | an output that it made (TIP-35) |
//! | `consumed` | the same | an output that it spent, and the transaction that did so (TIP-35) |
//! | `treasury` | milestone u32 BE | what the treasury held before and after it: milestone id, 32 bytes, amount u64 LE, twice |
//! | (default) | `!m` | newest milestone committed to this epoch, u32 BE |
//! | every | 40 bytes of 0xff | nothing: no tree may be empty |
//!
//! Ids are looked up beside the database: see `ids.rs`.
//!
//! The interval of a block is the milestone that was next when it arrived: keys ascend in order of arrival,
//! so sled writes whole leaves. The record of a reference stands in the epoch of the milestone, which may
//! be a later one than the block's.

use crate::ledger::{Conflict, Inclusion};
use crate::protocol::id::{BlockId, MilestoneIndex};

pub(super) const BLOCK: &str = "block";
pub(super) const REFERENCE: &str = "reference";
pub(super) const MILESTONE: &str = "milestone";
pub(super) const CREATED: &str = "created";
pub(super) const CONSUMED: &str = "consumed";
pub(super) const TREASURY: &str = "treasury";
pub(super) const MARKER: &[u8] = b"!m";
/// Key of a record that only keeps a tree from being empty: longer than any other key and sorted last.
pub(super) const FILLER: &[u8] = &[0xff; 40];

/// Place of a block in order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockKey {
    /// The milestone that was next when the block arrived.
    pub interval: MilestoneIndex,
    /// Order within the interval, from 0.
    pub sequence: u32,
}

impl BlockKey {
    pub(super) fn to_bytes(self) -> [u8; 8] {
        numbered(self.interval, self.sequence)
    }

    pub(super) fn to_number(self) -> u64 {
        u64::from_be_bytes(self.to_bytes())
    }

    pub(super) fn from_number(number: u64) -> Self {
        let part = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Self { interval: MilestoneIndex(part(number >> 32)), sequence: part(number & 0xffff_ffff) }
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (interval, sequence) = two_numbers(bytes)?;
        Some(Self { interval: MilestoneIndex(interval), sequence })
    }
}

/// Which milestone references a block, and where in its white-flag order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// The milestone.
    pub milestone: MilestoneIndex,
    /// From 0.
    pub white_flag_index: u32,
    /// What it made of the block.
    pub inclusion: Inclusion,
}

/// Code of a transaction that was included.
const INCLUDED: u8 = 255;

impl Reference {
    pub(super) fn to_bytes(self) -> [u8; 9] {
        let mut bytes = [0; 9];
        bytes[..8].copy_from_slice(&numbered(self.milestone, self.white_flag_index));
        bytes[8] = match self.inclusion {
            Inclusion::NoTransaction => 0,
            Inclusion::Included => INCLUDED,
            Inclusion::Conflicting(conflict) => conflict.code(),
        };
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (numbers, code) = bytes.split_at_checked(8)?;
        let (milestone, white_flag_index) = two_numbers(numbers)?;
        let inclusion = match code {
            [0] => Inclusion::NoTransaction,
            [INCLUDED] => Inclusion::Included,
            [code] => Inclusion::Conflicting(Conflict::from_code(*code)?),
            _ => return None,
        };
        Some(Self { milestone: MilestoneIndex(milestone), white_flag_index, inclusion })
    }
}

/// Key of what is counted within a milestone.
pub(super) fn numbered(milestone: MilestoneIndex, number: u32) -> [u8; 8] {
    (u64::from(milestone.0) << 32 | u64::from(number)).to_be_bytes()
}

/// The milestone in such a key.
pub(super) fn milestone_of(key: &[u8]) -> Option<MilestoneIndex> {
    two_numbers(key).map(|(milestone, _)| MilestoneIndex(milestone))
}

fn two_numbers(bytes: &[u8]) -> Option<(u32, u32)> {
    let (high, low) = bytes.split_at_checked(4)?;
    Some((u32::from_be_bytes(high.try_into().ok()?), u32::from_be_bytes(low.try_into().ok()?)))
}

pub(super) fn milestone_value(block_id: &BlockId, payload: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(32 + payload.len());
    value.extend_from_slice(&block_id.0);
    value.extend_from_slice(payload);
    value
}

pub(super) fn split_milestone_value(value: &[u8]) -> Option<(BlockId, &[u8])> {
    let (block_id, payload) = value.split_at_checked(32)?;
    Some((BlockId(block_id.try_into().ok()?), payload))
}
