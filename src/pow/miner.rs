//! Nonce search: a share of the nonce space, stepped one batch of 64 nonces at a time.

use super::curl::{self, HASH_TRITS, NONCE_AT};
use super::lanes::{LANES, Trit, lanes_with_zeros};
use super::trits::{TRITS_PER_BYTE, b1t6};

/// A search that its owner steps until it finds a nonce or is dropped. Holds 4 KB.
#[derive(Debug)]
pub struct Search {
    digest: [u8; 32],
    zeros: u32,
    next: u64,
    input: [Trit; HASH_TRITS],
}

impl Search {
    /// Looks for `zeros` trailing zero trits in share `worker` of `workers` equal shares of all nonces.
    ///
    /// # Panics
    /// When `workers` is 0 or `worker` is not below it.
    pub fn new(digest: [u8; 32], zeros: u32, worker: u32, workers: u32) -> Self {
        assert!(worker < workers, "worker {worker} of {workers}");
        let next = u64::MAX / u64::from(workers) * u64::from(worker);
        // A batch counts in the lanes' bits of the nonce, so it starts at a multiple of them.
        let next = next - next % LANES as u64;
        Self { digest, zeros, next, input: curl::input(&digest, 0).map(Trit::splat) }
    }

    /// Hashes one batch and gives a nonce of it that has the zeros, confirmed by the reference.
    pub fn step(&mut self) -> Option<u64> {
        self.load_batch();
        let base = self.next;
        self.next = self.next.wrapping_add(LANES as u64);
        let mask = lanes_with_zeros(&self.input, self.zeros);
        (0..LANES)
            .filter(|lane| mask >> lane & 1 == 1)
            .map(|lane| base + lane as u64)
            .find(|nonce| curl::trailing_zeros(&self.digest, *nonce) >= self.zeros)
    }

    /// Byte 0 of the nonce differs between lanes; the other seven are the same in all.
    fn load_batch(&mut self) {
        let bytes = self.next.to_le_bytes();
        for (index, byte) in bytes.into_iter().enumerate().skip(1) {
            let at = NONCE_AT + index * TRITS_PER_BYTE;
            for (slot, trit) in self.input[at..].iter_mut().zip(b1t6(byte)) {
                *slot = Trit::splat(trit);
            }
        }
        for (lane, offset) in (0..LANES).zip(0..=u8::MAX) {
            let byte = bytes[0] + offset;
            for (slot, trit) in self.input[NONCE_AT..].iter_mut().zip(b1t6(byte)) {
                slot.set(lane, trit);
            }
        }
    }
}
