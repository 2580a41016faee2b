//! Proof of Work of a block (TIP-12): the score rule, the readable reference and a nonce search.
//!
//! Pure (layer L0): the search is stepped batch by batch; who runs the steps on which thread, and when
//! they stop, is the caller's business.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod curl;
pub mod lanes;
pub mod miner;
pub mod trits;

use crate::protocol::blake2b_256;
use crate::protocol::block::NONCE_BYTES;

/// Trailing zero trits of the Curl-P-81 hash of a block: its digest (without the nonce) and the nonce,
/// as 243 trits. `None` when the block is shorter than a nonce.
pub fn trailing_zeros(block: &[u8]) -> Option<u32> {
    let split = block.len().checked_sub(NONCE_BYTES)?;
    let (message, nonce) = block.split_at(split);
    let nonce = u64::from_le_bytes(nonce.try_into().expect("split at the nonce's length"));
    Some(curl::trailing_zeros(&blake2b_256(message), nonce))
}

/// Score of a block: 3^(trailing zeros) / length, as HORNET computes it. `None` as [`trailing_zeros`].
pub fn score(block: &[u8]) -> Option<f64> {
    Some(score_of(trailing_zeros(block)?, block.len()))
}

/// Whether a block reaches `min_score` (TIP-12; 0 asks for nothing).
///
/// Compares floats as HORNET does: at the boundary the last bit decides, and it must be the same bit.
pub fn is_sufficient(block: &[u8], min_score: u32) -> bool {
    min_score == 0 || score(block).is_some_and(|score| score >= f64::from(min_score))
}

/// Trits of a hash: no block has more trailing zeros.
const HASH_TRITS: u32 = 243;

/// Trailing zeros that a block of `length` bytes needs: the smallest z with 3^z / length >= `min_score`.
pub fn required_zeros(length: usize, min_score: u32) -> u32 {
    (0..HASH_TRITS).find(|zeros| score_of(*zeros, length) >= f64::from(min_score)).unwrap_or(HASH_TRITS)
}

fn score_of(zeros: u32, length: usize) -> f64 {
    // A block is at most 32,768 bytes: exact in a float.
    3f64.powi(i32::try_from(zeros).unwrap_or(i32::MAX)) / length as f64
}
