//! Proof of work of many blocks at once.

use super::kernel::{Check, Kernel, MAX_ZEROS, ring};
use super::trits::Rows;

/// Words of digest and nonce.
pub(super) const INPUT_WORDS: usize = 5;

/// What a block claims: that its hash ends in that many zero trits.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// Digest and nonce, the first byte in the lowest bits.
    pub(super) input: [u64; INPUT_WORDS],
    pub(super) zeros: u32,
}

impl Claim {
    /// Of the block's digest without its nonce, the nonce, and [`required_zeros`](super::required_zeros), of which
    /// there are 61 at most.
    pub fn new(digest: &[u8; 32], nonce: u64, zeros: u32) -> Self {
        let mut input = [nonce; INPUT_WORDS];
        for (word, bytes) in input.iter_mut().zip(digest.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self { input, zeros: zeros.min(MAX_ZEROS) }
    }

    /// Whether it holds, found out for it alone.
    pub fn holds(&self) -> bool {
        self.zeros == 0 || ring::trailing_zeros(&Rows::new(&self.input)) >= self.zeros
    }
}

/// What a kernel's batch costs, however full it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// The kernel.
    pub kernel: Kernel,
    /// Of one batch, in nanoseconds.
    pub ns: u64,
}

/// Kernels with room to work in, and when each is worth it. Holds about 100 KB for each.
#[derive(Debug)]
pub struct Verifier {
    /// Cost of one hash alone.
    single_ns: u64,
    kernels: Vec<(Cost, Box<dyn Check>)>,
}

impl Verifier {
    /// A verifier that takes whatever costs least: one by one, `single_ns` each, or a batch of one of `costs`.
    pub fn new(single_ns: u64, costs: &[Cost]) -> Self {
        Self { single_ns, kernels: costs.iter().map(|cost| (*cost, cost.kernel.checker())).collect() }
    }

    /// Whether each claim holds.
    pub fn verify(&mut self, claims: &[Claim]) -> Vec<bool> {
        let mut holds = Vec::with_capacity(claims.len());
        while holds.len() < claims.len() {
            let rest = &claims[holds.len()..];
            let used = |cost: &Cost| rest.len().min(cost.kernel.lanes()) as u64;
            // Nanoseconds for each, compared without division.
            let order = |a: &Cost, b: &Cost| (a.ns * used(b)).cmp(&(b.ns * used(a)));
            let single_ns = self.single_ns;
            match self.kernels.iter_mut().min_by(|(a, _), (b, _)| order(a, b)) {
                Some((cost, check)) if cost.ns < single_ns * used(cost) => {
                    holds.extend(check.check(&rest[..rest.len().min(cost.kernel.lanes())]));
                }
                _ => holds.extend(rest.iter().map(Claim::holds)),
            }
        }
        holds
    }
}
