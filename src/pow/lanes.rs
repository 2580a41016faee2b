//! Bit-sliced Curl-P-81: 64 hashes at once, one in each bit of a machine word.
//!
//! A trit is two bits `(low, high)`: -1 = (1, 0), 0 = (1, 1), 1 = (0, 1). Costs 81 rounds of 729 trits of
//! seven word operations, 23 KB of state.

use super::curl::{HASH_TRITS, ROUNDS, STATE_TRITS};

/// Hashes per batch.
pub const LANES: usize = 64;

/// One trit of 64 hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trit {
    low: u64,
    high: u64,
}

impl Trit {
    /// The same trit in every lane.
    pub fn splat(trit: i8) -> Self {
        Self { low: if trit == 1 { 0 } else { !0 }, high: if trit == -1 { 0 } else { !0 } }
    }

    /// Sets the trit of one lane.
    pub fn set(&mut self, lane: usize, trit: i8) {
        let bit = 1 << lane;
        self.low = if trit == 1 { self.low & !bit } else { self.low | bit };
        self.high = if trit == -1 { self.high & !bit } else { self.high | bit };
    }

    /// Lanes in which the trit is zero.
    fn zeros(self) -> u64 {
        self.low & self.high
    }
}

/// Lanes whose hash of `input` ends in at least `zeros` zero trits, as a bit mask.
pub fn lanes_with_zeros(input: &[Trit; HASH_TRITS], zeros: u32) -> u64 {
    let mut state = [Trit::splat(0); STATE_TRITS];
    state[..HASH_TRITS].copy_from_slice(input);
    let mut old = state;
    let mut at = 0;
    for _ in 0..ROUNDS {
        std::mem::swap(&mut old, &mut state);
        for trit in &mut state {
            let a = old[at];
            at = if at < 365 { at + 364 } else { at - 365 };
            *trit = sbox(a, old[at]);
        }
    }
    let tail = &state[HASH_TRITS - (zeros as usize).min(HASH_TRITS)..HASH_TRITS];
    tail.iter().fold(!0, |mask, trit| mask & trit.zeros())
}

/// Curl's truth table on both bits.
fn sbox(a: Trit, b: Trit) -> Trit {
    let delta = (a.low | !b.high) & (b.low ^ a.high);
    Trit { low: !delta, high: (a.low ^ b.high) | delta }
}

#[cfg(test)]
mod tests {
    use super::{LANES, Trit, lanes_with_zeros};
    use crate::pow::curl;

    #[test]
    fn every_lane_agrees_with_the_reference() {
        let digest = [7; 32];
        let mut input = curl::input(&digest, 0).map(Trit::splat);
        for lane in 0..LANES {
            for (slot, trit) in input.iter_mut().zip(curl::input(&digest, lane as u64)) {
                slot.set(lane, trit);
            }
        }
        for zeros in 0..4 {
            let mask = lanes_with_zeros(&input, zeros);
            for lane in 0..LANES {
                let expected = curl::trailing_zeros(&digest, lane as u64) >= zeros;
                assert_eq!(mask >> lane & 1 == 1, expected, "lane {lane}, {zeros} zeros");
            }
        }
    }
}
