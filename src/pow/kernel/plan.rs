//! Which trits of which round have to be evaluated, as lists of places.
//!
//! Curl's round is `new[i] = g(old[364 i], old[364 (i + 1)])`, places modulo 729. With trit `i` of the state before
//! round `r` kept at place `364^(r - s) i`, where `s` is the round at which both agree, a round only combines each place
//! with one at a fixed distance, `g(old[p], old[p + 364^(r - s + 1)])`: nothing moves, and a round can be done in place.

use std::collections::BTreeSet;

use crate::pow::curl::{HASH_TRITS, ROUNDS, STATE_TRITS};

/// First rounds of which only what depends on the lane is evaluated in all lanes: two passes.
pub(super) const HEAD_ROUNDS: usize = 6;

/// Last rounds of which only what the last trits of the hash depend on is evaluated: three passes.
pub(super) const TAIL_ROUNDS: usize = 9;

/// Where two operands of a round stand; the result takes the first one's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) x: u16,
    pub(super) y: u16,
}

/// One round of a list.
#[derive(Debug, Default, Clone)]
pub(super) struct Round {
    /// Places that have the same trit in every lane and are needed in all lanes from here on.
    pub(super) spread: Vec<u16>,
    /// From a place to its second operand.
    pub(super) distance: usize,
    /// In an order in which no operand is overwritten before its last use.
    pub(super) pairs: Vec<Pair>,
}

/// `364^exponent` modulo 729; negative exponents are the inverse.
pub(super) fn power(exponent: isize) -> usize {
    // The order of 364 divides phi(729) = 486.
    let exponent = exponent.rem_euclid(486);
    (0..exponent).fold(1, |product, _| product * 364 % STATE_TRITS)
}

/// Distance of the two operands of `round`, counted from the round at which place and trit agree.
pub(super) fn distance(round: isize) -> usize {
    power(round + 1)
}

/// What the first rounds evaluate.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// Place of each of the 243 input trits.
    pub(super) input: Vec<u16>,
    pub(super) rounds: Vec<Round>,
    /// Places that no round of the head evaluated: the same in every lane until the end of the head.
    pub(super) rest: Vec<u16>,
}

impl Head {
    /// For input trits `lane_trits`, which differ between lanes. Place and trit agree after the head.
    pub(super) fn new(lane_trits: impl Iterator<Item = usize>) -> Self {
        let start = power(HEAD_ROUNDS.cast_signed().wrapping_neg());
        let place = |trit: usize| trit * start % STATE_TRITS;
        let mut varies = lane_trits.map(place).collect::<BTreeSet<usize>>();
        let mut rounds = Vec::new();
        for round in 0..HEAD_ROUNDS {
            let distance = distance(round.cast_signed() - HEAD_ROUNDS.cast_signed());
            let back = STATE_TRITS - distance;
            let before = varies.clone();
            varies.extend(before.iter().map(|place| (place + back) % STATE_TRITS));
            let pairs = pairs(&varies, distance);
            let operands = pairs.iter().flat_map(|pair| [pair.x, pair.y]);
            let spread = operands.filter(|place| !before.contains(&usize::from(*place)));
            let spread = spread.collect::<BTreeSet<u16>>().into_iter().collect();
            rounds.push(Round { spread, distance, pairs });
        }
        Self {
            input: (0..HASH_TRITS).map(|trit| short(place(trit))).collect(),
            rounds,
            rest: (0..STATE_TRITS).filter(|place| !varies.contains(place)).map(short).collect(),
        }
    }
}

/// What the last rounds evaluate.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    pub(super) rounds: Vec<Round>,
    /// Places of the last trits of the hash, the very last one first.
    pub(super) output: Vec<u16>,
}

impl Tail {
    /// For the last `zeros` trits of the hash; trit `i` stands at `scale * i` before the tail.
    pub(super) fn new(zeros: usize, scale: usize) -> Self {
        let place = |trit: usize, rounds: usize| {
            trit * power(rounds.cast_signed()) % STATE_TRITS * scale % STATE_TRITS
        };
        let output = (HASH_TRITS - zeros.min(HASH_TRITS)..HASH_TRITS)
            .rev()
            .map(|trit| place(trit, TAIL_ROUNDS))
            .collect::<Vec<_>>();
        let mut needed = output.iter().copied().collect::<BTreeSet<usize>>();
        let mut rounds = Vec::new();
        for round in (0..TAIL_ROUNDS).rev() {
            let distance = distance(round.cast_signed()) * scale % STATE_TRITS;
            rounds.push(Round { spread: Vec::new(), distance, pairs: pairs(&needed, distance) });
            let operands = needed.iter().map(|place| (place + distance) % STATE_TRITS).collect::<Vec<_>>();
            needed.extend(operands);
        }
        rounds.reverse();
        Self { rounds, output: output.into_iter().map(short).collect() }
    }
}

/// Rounds between head and tail.
pub(super) const fn middle_rounds(head: bool) -> usize {
    ROUNDS - TAIL_ROUNDS - if head { HEAD_ROUNDS } else { 0 }
}

/// Every place of `wanted` with its second operand, each before the one whose operand it is.
fn pairs(wanted: &BTreeSet<usize>, distance: usize) -> Vec<Pair> {
    let pair = |place: usize| Pair { x: short(place), y: short((place + distance) % STATE_TRITS) };
    // Chains of places, one distance apart, each from its first place on: a ring of them all would have no first.
    let is_first = |place: &&usize| !wanted.contains(&((**place + STATE_TRITS - distance) % STATE_TRITS));
    let mut pairs = Vec::with_capacity(wanted.len());
    for first in wanted.iter().filter(is_first) {
        let chain = std::iter::successors(Some(*first), |place| Some((place + distance) % STATE_TRITS));
        pairs.extend(chain.take_while(|place| wanted.contains(place)).map(pair));
    }
    assert_eq!(pairs.len(), wanted.len(), "a round of all places has no beginning");
    pairs
}

fn short(place: usize) -> u16 {
    u16::try_from(place).expect("729 places")
}
