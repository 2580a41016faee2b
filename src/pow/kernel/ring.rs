//! One hash at a time, quickly: the state as rows of 729 bits.
//!
//! A round combines each place with one at a fixed distance (see `plan`): the row with itself, turned. Bits `L` and `h` of
//! 64 trits lie side by side in a pair of words, so that every load is of exactly what was stored: loads that straddle
//! two stores wait for both, and that would be half of the time. A hash costs 81 rounds of twelve pairs.

use crate::pow::curl::{HASH_TRITS, ROUNDS, STATE_TRITS};
use crate::pow::trits::Rows;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use self::Portable as Native;
#[cfg(target_arch = "aarch64")]
use super::neon::NeonPair as Native;
#[cfg(target_arch = "x86_64")]
use super::x86::Sse2Pair as Native;

/// Pairs of a row.
const PAIRS: usize = STATE_TRITS.div_ceil(64);

/// Trits of the last one.
const LAST_TRITS: u32 = 25;

/// A row twice over: reading from any place on needs no turn.
type Row<P> = [P; 2 * PAIRS];

/// Bits `L` (or `l`) and `h` (or `H`) of 64 trits, see [`Trit`](super::Trit).
pub(super) trait Pair: Copy {
    fn new(low: u64, high: u64) -> Self;
    fn get(self) -> (u64, u64);
    /// Trits from `right` on, 0 to 63, of these and the next 64.
    fn funnel(self, next: Self, right: u32) -> Self;
    /// `(high ^ other.low, low ^ other.high)`
    fn crossed(self, other: Self) -> Self;
    /// `(differs.low | low, differs.low & differs.high)`; in all three, `differs` is `crossed`.
    fn end_1(self, differs: Self) -> Self;
    /// `(!differs.low & low, differs.low & differs.high)`
    fn end_2(self, differs: Self) -> Self;
    /// `(!low & differs.low, differs.low | differs.high)`
    fn end_3(self, differs: Self) -> Self;
}

/// Distance of the two operands of each round: 364^(round + 1) modulo 729.
const DISTANCES: [usize; ROUNDS] = {
    let mut distances = [364; ROUNDS];
    let mut round = 1;
    while round < ROUNDS {
        distances[round] = distances[round - 1] * 364 % STATE_TRITS;
        round += 1;
    }
    distances
};

/// Trit `i` of the hash stands at `PLACE * i`.
const PLACE: usize = DISTANCES[ROUNDS - 1];

/// Trailing zero trits of a hash.
pub(in crate::pow) fn trailing_zeros(input: &Rows) -> u32 {
    hash::<Native>(input)
}

fn hash<P: Pair>(input: &Rows) -> u32 {
    let mut state = [P::new(0, !0); 2 * PAIRS];
    for ((pair, low), high) in state.iter_mut().zip(input.low()).zip(input.high()) {
        *pair = P::new(low, high);
    }
    let first = state;
    double(&mut state, first[..PAIRS].try_into().expect("as many"));
    for round in (0..ROUNDS).step_by(3) {
        turn(&mut state, DISTANCES[round], P::end_1);
        turn(&mut state, DISTANCES[round + 1], P::end_2);
        turn(&mut state, DISTANCES[round + 2], P::end_3);
    }
    let is_zero = |trit: &usize| {
        let place = trit * PLACE % STATE_TRITS;
        let (low, high) = state[place / 64].get();
        (!low & high) >> (place % 64) & 1 == 1
    };
    u32::try_from((0..HASH_TRITS).rev().take_while(is_zero).count()).expect("243 at most")
}

/// One round: every place with the one at `distance`.
#[inline(always)]
fn turn<P: Pair>(state: &mut Row<P>, distance: usize, end: impl Fn(P, P) -> P) {
    let right = u32::try_from(distance % 64).expect("below 64");
    let from: &[P; PAIRS + 1] = state[distance / 64..][..=PAIRS].try_into().expect("as many");
    let new = std::array::from_fn(|at| {
        let x = state[at];
        end(x, x.crossed(from[at].funnel(from[at + 1], right)))
    });
    double(state, new);
}

/// The row from its 729 trits; what stands behind them in the last pair is of no account.
#[inline(always)]
fn double<P: Pair>(state: &mut Row<P>, row: [P; PAIRS]) {
    // The last pair's trits at the top, so that the row goes on behind them.
    let last = P::new(0, 0).funnel(row[PAIRS - 1], LAST_TRITS);
    state[..PAIRS].copy_from_slice(&row);
    state[PAIRS - 1] = last.funnel(row[0], 64 - LAST_TRITS);
    for at in 0..PAIRS - 2 {
        state[PAIRS + at] = row[at].funnel(row[at + 1], 64 - LAST_TRITS);
    }
    let end = row[PAIRS - 2].funnel(row[PAIRS - 1], 64 - LAST_TRITS);
    state[2 * PAIRS - 2] = end;
    state[2 * PAIRS - 1] = end;
}

#[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
type Portable = (u64, u64);

#[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
impl Pair for Portable {
    fn new(low: u64, high: u64) -> Self {
        (low, high)
    }
    fn get(self) -> (u64, u64) {
        self
    }
    fn funnel(self, next: Self, right: u32) -> Self {
        // Two shifts, as one by 64 is none.
        (self.0 >> right | next.0 << 1 << (63 - right), self.1 >> right | next.1 << 1 << (63 - right))
    }
    fn crossed(self, other: Self) -> Self {
        (self.1 ^ other.0, self.0 ^ other.1)
    }
    fn end_1(self, differs: Self) -> Self {
        (differs.0 | self.0, differs.0 & differs.1)
    }
    fn end_2(self, differs: Self) -> Self {
        (!differs.0 & self.0, differs.0 & differs.1)
    }
    fn end_3(self, differs: Self) -> Self {
        (!self.0 & differs.0, differs.0 | differs.1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{Portable, Rows, hash};
    use crate::pow::curl;
    use crate::pow::verify::Claim;

    proptest! {
        #[test]
        fn as_the_reference(digest in any::<[u8; 32]>(), nonce in any::<u64>()) {
            let rows = Rows::new(&Claim::new(&digest, nonce, 0).input);
            let expected = curl::trailing_zeros(&digest, nonce);
            proptest::prop_assert_eq!(super::trailing_zeros(&rows), expected);
            proptest::prop_assert_eq!(hash::<Portable>(&rows), expected, "portable");
        }
    }
}
