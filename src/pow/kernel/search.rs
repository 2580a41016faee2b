//! Nonces by the batch: lanes enumerate the nonce's first byte, a counter the next six, shares the last.

use std::fmt::Debug;

use super::plan::Head;
use super::word::{Trit, Word};
use super::{MAX_ZEROS, Plan, Work};
use crate::pow::curl::NONCE_AT;
use crate::pow::trits::{TRITS_PER_BYTE, b1t6, write_b1t6};

/// A search of one share.
pub(in crate::pow) trait Batches: Debug + Send {
    /// Hashes the next batch; calls `hit` for each of its nonces that may have the zeros.
    fn step(&mut self, hit: &mut dyn FnMut(u64));
}

/// A search with lanes of `W`.
#[derive(Debug)]
pub(super) struct Lanes<W> {
    work: Work<W>,
    plan: Plan,
    /// The lanes' trits: those of the first byte in each of its parts, and one of the second where there are many.
    parts: Vec<Vec<(u16, Trit<W>)>>,
    /// Batches done.
    next: u64,
    share: u8,
}

/// Values of a byte whose first trit is -1 and whose successor differs in nothing but that: 85, with which the lanes
/// from 256 on enumerate one trit of the nonce's second byte.
fn twins() -> &'static [u8] {
    static TWINS: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
        (0..=u8::MAX)
            .filter(|byte| {
                let (own, next) = (b1t6(*byte), b1t6(byte.wrapping_add(1)));
                *byte < 255 && own[0] == -1 && next[0] == 0 && own[1..] == next[1..]
            })
            .collect()
    });
    &TWINS
}

impl<W: Word> Lanes<W> {
    pub(super) fn new(digest: &[u8; 32], zeros: u32, share: u8, in_place: bool) -> Self {
        let lane_trits = TRITS_PER_BYTE + usize::from(W::LANES > 256);
        let head = Head::new(NONCE_AT..NONCE_AT + lane_trits);
        let mut trits = [0; NONCE_AT];
        write_b1t6(digest, &mut trits, 0);
        let mut work = Work::new();
        for (place, trit) in head.input.iter().zip(trits) {
            work.input.set(*place, trit);
        }
        let places = &head.input[NONCE_AT..NONCE_AT + lane_trits];
        let parts = (0..256usize.div_ceil(W::LANES)).map(|part| lane_rows(places, part)).collect();
        let zeros = zeros.min(MAX_ZEROS) as usize;
        Self { work, plan: Plan::new(Some(head), zeros, in_place), parts, next: 0, share }
    }

    /// Batch `number`: which part of the first byte its lanes enumerate, and the nonce in lane 0.
    fn first_nonce(&self, number: u64) -> (usize, [u8; 8]) {
        let split = |count: usize| {
            let (quotient, rest) = (number / count as u64, number % count as u64);
            (quotient, usize::try_from(rest).expect("below a count of places"))
        };
        let (part, first, second, counter) = if W::LANES > 256 {
            let twins = twins();
            let (counter, twin) = split(twins.len());
            (0, 0, twins[twin], counter)
        } else {
            let (counter, part) = split(self.parts.len());
            let [first, ..] = (part * W::LANES).to_le_bytes();
            (part, first, counter.to_le_bytes()[0], counter >> 8)
        };
        let counter = counter.to_le_bytes();
        (part, [first, second, counter[0], counter[1], counter[2], counter[3], counter[4], self.share])
    }

    fn load(&mut self, part: usize, nonce: &[u8; 8]) {
        let head = self.plan.head.as_ref().expect("a search has one");
        for (byte, at) in nonce.iter().zip((NONCE_AT..).step_by(TRITS_PER_BYTE)).skip(1) {
            for (place, trit) in head.input[at..].iter().zip(b1t6(*byte)) {
                self.work.input.set(*place, trit);
            }
        }
        self.work.lanes.clone_from(&self.parts[part]);
    }
}

/// The trits that differ between lanes, with their places.
fn lane_rows<W: Word>(places: &[u16], part: usize) -> Vec<(u16, Trit<W>)> {
    let mut rows = vec![([0; 8], [0; 8]); TRITS_PER_BYTE];
    for lane in 0..W::LANES {
        let [byte, ..] = (part * W::LANES + lane).to_le_bytes();
        for (row, trit) in rows.iter_mut().zip(b1t6(byte)) {
            row.0[lane / 64] |= u64::from(trit == 1) << (lane % 64);
            row.1[lane / 64] |= u64::from(trit != -1) << (lane % 64);
        }
    }
    // The seventh: -1 in the first 256 lanes, 0 in the others.
    rows.push(([0; 8], [0, 0, 0, 0, !0, !0, !0, !0]));
    let trit =
        |(low, high): &([u64; 8], [u64; 8])| Trit { low: W::from_words(low), high: W::from_words(high) };
    places.iter().copied().zip(rows.iter().map(trit)).collect()
}

impl<W: Word + Debug> Batches for Lanes<W> {
    fn step(&mut self, hit: &mut dyn FnMut(u64)) {
        let (part, nonce) = self.first_nonce(self.next);
        self.next += 1;
        self.load(part, &nonce);
        W::transform(&mut self.work, &self.plan);
        let trits = self.work.state.trits();
        let all = self.plan.tail.output.iter().map(|place| trits[usize::from(*place)].zeros());
        let hits = all.reduce(W::and).map_or([!0; 8], W::to_words);
        for (word, mut hits) in hits[..W::LANES / 64].iter().copied().enumerate() {
            while hits != 0 {
                let [low, high, ..] = (64 * word + hits.trailing_zeros() as usize).to_le_bytes();
                hits &= hits - 1;
                let mut bytes = nonce;
                // Neither carries: parts begin at multiples of the lanes, and a twin has a successor.
                (bytes[0], bytes[1]) = (bytes[0] + low, bytes[1] + high);
                hit(u64::from_le_bytes(bytes));
            }
        }
    }
}
