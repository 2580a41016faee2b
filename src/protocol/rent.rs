//! Storage deposit (TIP-19): what an output must hold for the room it takes.

use super::output::Output;
use super::params::RentStructure;

/// Bytes of an output's id, its key in the ledger.
const KEY_BYTES: u64 = 34;

/// Bytes stored with each output: id of its block, index and time of its milestone.
const BOOKING_BYTES: u64 = 32 + 4 + 4;

/// Least amount of base tokens in `output`.
///
/// TIP-19: every byte of the output counts as data, its id as a key.
pub fn min_deposit(rent: &RentStructure, output: &Output) -> u64 {
    let data = BOOKING_BYTES + output.to_bytes().len() as u64;
    let virtual_bytes =
        u64::from(rent.v_byte_factor_key) * KEY_BYTES + u64::from(rent.v_byte_factor_data) * data;
    // At most 2^32 times 2^24.
    u64::from(rent.v_byte_cost) * virtual_bytes
}
