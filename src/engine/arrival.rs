//! What a block of a peer has to satisfy, and what is to become of it.

use super::Network;
use super::checked::{CheckedBlock, Refusal};
use crate::gossip::{Arrival, Finding};
use crate::protocol::id::MilestoneIndex;

/// Rules for blocks that a milestone references, perhaps: they were good under the parameters of their time, of which work
/// and storage deposit may have changed since. HORNET: > requested blocks skip the proof of work
#[must_use]
pub fn rules_of_cones(network: &Network) -> Network {
    let mut network = network.clone();
    network.params.min_pow_score = 0;
    network.params.rent.v_byte_cost = 0;
    network
}

/// What was found of a block that came as `arrival`.
pub fn finding(arrival: Arrival, result: &Result<CheckedBlock, Refusal>) -> Finding {
    let block = match result {
        Ok(block) => block,
        // Who was asked for it is not to blame.
        Err(refusal) if arrival == Arrival::Asked && refusal.is_of_its_time() => return Finding::Useless,
        Err(_) => return Finding::Invalid,
    };
    let milestone = block.milestone.as_ref().map(|found| found.essence.index);
    let forged = block.block.milestone().is_some() && milestone.is_none();
    match arrival {
        Arrival::Wanted(_) => Finding::Good(milestone),
        Arrival::Check | Arrival::Milestone | Arrival::Asked | Arrival::Ignore if forged => Finding::Forged,
        Arrival::Check | Arrival::Milestone | Arrival::Asked | Arrival::Ignore => Finding::Good(milestone),
    }
}

/// The milestone whose past cone a good block was asked for.
pub fn wanted(arrival: Arrival, block: &CheckedBlock) -> Option<MilestoneIndex> {
    match arrival {
        Arrival::Wanted(index) => Some(index),
        Arrival::Milestone => block.milestone.as_ref().map(|found| found.essence.index),
        Arrival::Check | Arrival::Asked | Arrival::Ignore => None,
    }
}
