//! Nonce search: a share of the nonce space, stepped one batch at a time.

use super::curl;
use super::kernel::{Batches, Kernel};

/// Shares of the nonce space.
pub const SHARES: u32 = 256;

/// A search that its owner steps until it finds a nonce or is dropped. Holds two states, 47 KB for each 128 lanes.
#[derive(Debug)]
pub struct Search {
    digest: [u8; 32],
    zeros: u32,
    batches: Box<dyn Batches>,
}

impl Search {
    /// Looks for `zeros` trailing zero trits in share `share` of [`SHARES`] equal shares of all nonces. A search that
    /// wants 0 zeros finds a nonce in its first batch.
    pub fn new(kernel: Kernel, digest: [u8; 32], zeros: u32, share: u8) -> Self {
        Self { digest, zeros, batches: kernel.search(&digest, zeros, share) }
    }

    /// Hashes one batch and gives a nonce of it that has the zeros, confirmed by the reference.
    pub fn step(&mut self) -> Option<u64> {
        let mut found = None;
        self.batches.step(&mut |nonce| {
            if found.is_none() && curl::trailing_zeros(&self.digest, nonce) >= self.zeros {
                found = Some(nonce);
            }
        });
        found
    }
}
