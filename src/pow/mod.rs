//! Proof of Work of a block (TIP-12): the score rule, the readable reference and a nonce search.
//!
//! Pure (layer L0): the search is stepped batch by batch; who runs the steps on which thread, and when
//! they stop, is the caller's business.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod curl;
pub mod kernel;
pub mod miner;
pub mod trits;
pub mod tuning;
pub mod verify;

use crate::protocol::blake2b_256;
use crate::protocol::block::NONCE_BYTES;

/// Trailing zero trits of the Curl-P-81 hash of a block: its digest (without the nonce) and the nonce,
/// as 243 trits. `None` when the block is shorter than a nonce.
pub fn trailing_zeros(block: &[u8]) -> Option<u32> {
    let split = block.len().checked_sub(NONCE_BYTES)?;
    let (message, nonce) = block.split_at(split);
    let nonce = u64::from_le_bytes(nonce.try_into().expect("split at the nonce's length"));
    let claim = verify::Claim::new(&blake2b_256(message), nonce, 0);
    Some(kernel::ring::trailing_zeros(&trits::Rows::new(&claim.input)))
}

/// Score of a block: 3^(trailing zeros) / length, as HORNET computes and shows it. `None` as [`trailing_zeros`].
pub fn score(block: &[u8]) -> Option<f64> {
    // A block is at most 32,768 bytes: exact in a float.
    Some(3f64.powi(trailing_zeros(block)?.cast_signed()) / block.len() as f64)
}

/// Whether a block reaches `min_score` (TIP-12; 0 asks for nothing).
pub fn is_sufficient(block: &[u8], min_score: u32) -> bool {
    // TIP-12: > the score is 3^zeros / length and must reach the minimum
    min_score == 0
        || trailing_zeros(block).is_some_and(|zeros| zeros >= required_zeros(block.len(), min_score))
}

/// Trailing zeros that a block of `length` bytes needs: the smallest z with 3^z / length >= `min_score`.
///
/// In integers; HORNET divides floats, with the same outcome for every block: 3^z is exact in a float where it is
/// close to the boundary, a quotient below the minimum is below by at least 1 / 32,768, and floats near the minimum,
/// which is below 2^32, are at most 2^-21 apart.
pub fn required_zeros(length: usize, min_score: u32) -> u32 {
    let product = length as u128 * u128::from(min_score);
    let powers = std::iter::successors(Some(1u128), |power| power.checked_mul(3));
    let below = powers.take_while(|power| *power < product).count();
    u32::try_from(below).expect("2^128 is below 3^81")
}
