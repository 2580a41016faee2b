//! Hashes of different blocks, one in each lane.

use std::fmt::Debug;

use super::word::{Trit, Word};
use super::{MAX_ZEROS, Plan, Work};
use crate::pow::trits::TRITS_PER_BYTE;
use crate::pow::verify::{Claim, INPUT_WORDS};

/// Room for a batch.
pub(in crate::pow) trait Check: Debug + Send {
    /// Whether each claim holds; as many as there are lanes at most.
    fn check(&mut self, claims: &[Claim]) -> Vec<bool>;
}

/// Room for a batch in lanes of `W`.
#[derive(Debug)]
pub(super) struct Lanes<W> {
    work: Work<W>,
    plan: Plan,
    zeros: u32,
    in_place: bool,
}

impl<W: Word> Lanes<W> {
    pub(super) fn new(in_place: bool) -> Self {
        Self { work: Work::new(), plan: Plan::new(None, 0, in_place), zeros: 0, in_place }
    }
}

impl<W: Word + Debug> Check for Lanes<W> {
    fn check(&mut self, claims: &[Claim]) -> Vec<bool> {
        assert!(claims.len() <= W::LANES, "{} claims for {} lanes", claims.len(), W::LANES);
        let most = claims.iter().map(|claim| claim.zeros).max().unwrap_or(0);
        // Claims of one network hardly differ: lists for more zeros serve those for fewer.
        if most > self.zeros {
            self.zeros = most;
            self.plan = Plan::new(None, most as usize, self.in_place);
        }
        W::load(&mut self.work, claims);
        W::transform(&mut self.work, &self.plan);
        let trits = self.work.state.trits();
        // Lanes with at least so many zeros.
        let mut reached = [[!0; 8]; MAX_ZEROS as usize + 1];
        for (zeros, place) in self.plan.tail.output.iter().enumerate() {
            let row = trits[usize::from(*place)].zeros().to_words();
            reached[zeros + 1] = std::array::from_fn(|word| reached[zeros][word] & row[word]);
        }
        let holds =
            |(lane, claim): (usize, &Claim)| reached[claim.zeros as usize][lane / 64] >> (lane % 64) & 1 == 1;
        claims.iter().enumerate().map(holds).collect()
    }
}

/// The claims' input into the state, a lane for each.
#[inline(always)]
pub(super) fn load<W: Word>(work: &mut Work<W>, claims: &[Claim]) {
    let (input, rest) = work.state.trits().split_at_mut(INPUT_WORDS * 8 * TRITS_PER_BYTE);
    // A row of lanes for each bit, from a row of bits for each lane. Lanes without a claim hold what they may.
    let mut rows = [[0; 64]; 8];
    for (word, trits) in input.chunks_exact_mut(8 * TRITS_PER_BYTE).enumerate() {
        for (rows, claims) in rows.iter_mut().zip(claims.chunks(64)) {
            for (row, claim) in rows.iter_mut().zip(claims) {
                *row = claim.input[word];
            }
            transpose(rows);
        }
        for (byte, trits) in trits.chunks_exact_mut(TRITS_PER_BYTE).enumerate() {
            let row = |bit: usize| W::from_words(&std::array::from_fn(|group| rows[group][8 * byte + bit]));
            trits.copy_from_slice(&encode(std::array::from_fn(row)));
        }
    }
    rest.fill(Trit { low: W::splat(0), high: W::splat(!0) });
}

/// b1t6 (TIP-5) of a byte in each lane, from its eight bits.
///
/// The trits are the digits, less one, of 236 + 128 + the signed byte in base 3. A digit is two rows, "is 2" and "is not 0",
/// and 2 d + carry of a digit takes six operations.
#[inline(always)]
fn encode<W: Word>(mut bits: [W; 8]) -> [Trit<W>; TRITS_PER_BYTE] {
    let (zero, one) = (W::splat(0), W::splat(!0));
    // 128 more than the signed byte.
    bits[7] = bits[7].xor(one);
    let mut carry = zero;
    for (at, bit) in bits.iter_mut().enumerate() {
        let sum = bit.xor(carry);
        (*bit, carry) =
            if 236 >> at & 1 == 1 { (sum.xor(one), bit.or(carry)) } else { (sum, bit.and(carry)) };
    }
    let mut digits = [Trit { low: zero, high: zero }; TRITS_PER_BYTE];
    digits[0].high = carry;
    // Digits of 1, 3, 7, 15, ... 255: what there is to double before each bit.
    for (bit, count) in bits.iter().rev().zip([1, 2, 2, 3, 4, 4, 5, 6]) {
        let mut carry = *bit;
        for digit in &mut digits[..count] {
            let Trit { low: two, high: some } = *digit;
            *digit = Trit { low: two.xor(carry).andn(some), high: some.xor(carry).or(two) };
            carry = some.and(carry).or(two);
        }
        if let Some(next) = digits.get_mut(count) {
            next.high = carry;
        }
    }
    digits
}

/// Mirrors a square of bits at its diagonal: bit `j` of row `i` and bit `i` of row `j` change places.
#[inline(always)]
fn transpose(square: &mut [u64; 64]) {
    halves::<32>(square, 0x0000_0000_ffff_ffff);
    halves::<16>(square, 0x0000_ffff_0000_ffff);
    halves::<8>(square, 0x00ff_00ff_00ff_00ff);
    halves::<4>(square, 0x0f0f_0f0f_0f0f_0f0f);
    halves::<2>(square, 0x3333_3333_3333_3333);
    halves::<1>(square, 0x5555_5555_5555_5555);
}

/// In every square of `2 * SIZE` rows, changes its two quarters off the diagonal; `mask` has the lower half of each.
#[inline(always)]
fn halves<const SIZE: usize>(square: &mut [u64; 64], mask: u64) {
    for block in (0..64).step_by(2 * SIZE) {
        for row in block..block + SIZE {
            let swap = (square[row] >> SIZE ^ square[row + SIZE]) & mask;
            square[row] ^= swap << SIZE;
            square[row + SIZE] ^= swap;
        }
    }
}
