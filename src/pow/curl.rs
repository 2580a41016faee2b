//! Curl-P-81, the readable reference: every faster kernel must agree with it.

use super::trits::{TRITS_PER_BYTE, write_b1t6};

/// Trits absorbed and squeezed at once.
pub const HASH_TRITS: usize = 243;

/// Trits of the sponge's state.
pub const STATE_TRITS: usize = 3 * HASH_TRITS;

/// Rounds of the transformation.
pub const ROUNDS: usize = 81;

/// Where the nonce's trits begin: behind the 32 bytes of the digest.
pub const NONCE_AT: usize = 32 * TRITS_PER_BYTE;

/// TIP-12: next trit from two. Trits are counted from 0 here (-1 is 0, 0 is 1, 1 is 2), and the entry for
/// `a` and `b` is `a + 4 * b`; the 9s are never reached.
const TRUTH: [u8; 11] = [2, 1, 0, 9, 2, 0, 1, 9, 0, 2, 1];

/// The block of 243 trits that is hashed: digest, nonce, three zeros (TIP-12).
pub fn input(digest: &[u8; 32], nonce: u64) -> [i8; HASH_TRITS] {
    let mut trits = [0; HASH_TRITS];
    write_b1t6(digest, &mut trits, 0);
    write_b1t6(&nonce.to_le_bytes(), &mut trits, NONCE_AT);
    trits
}

/// Hash of one block of trits.
pub fn hash(input: &[i8; HASH_TRITS]) -> [i8; HASH_TRITS] {
    let mut state = [1; STATE_TRITS];
    for (slot, trit) in state.iter_mut().zip(input) {
        *slot = (trit + 1).cast_unsigned();
    }
    // The index runs on from round to round.
    let mut at = 0;
    for _ in 0..ROUNDS {
        let old = state;
        for trit in &mut state {
            let a = old[at];
            at = if at < 365 { at + 364 } else { at - 365 };
            *trit = TRUTH[usize::from(a + 4 * old[at])];
        }
    }
    let mut out = [0; HASH_TRITS];
    for (slot, trit) in out.iter_mut().zip(state) {
        *slot = trit.cast_signed() - 1;
    }
    out
}

/// Trailing zero trits of the hash of a digest and a nonce.
pub fn trailing_zeros(digest: &[u8; 32], nonce: u64) -> u32 {
    let hash = hash(&input(digest, nonce));
    u32::try_from(hash.iter().rev().take_while(|trit| **trit == 0).count()).expect("243 at most")
}
