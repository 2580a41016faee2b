//! Every kernel against the readable reference.

use proptest::prelude::{ProptestConfig, any, proptest};

use super::Kernel;
use crate::pow::curl;
use crate::pow::verify::{Claim, Cost, Verifier};

#[test]
fn every_processor_has_kernels() {
    let names = Kernel::detect().into_iter().map(Kernel::name).collect::<Vec<_>>();
    assert!(names.contains(&"u64/ping-pong"), "{names:?}");
    for name in names {
        assert_eq!(Kernel::named(name).map(Kernel::name), Some(name));
    }
    assert_eq!(Kernel::named("abacus"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    /// The nonces that a batch reports are those of its lanes that have the zeros, no more and no fewer.
    #[test]
    fn searches_agree_with_the_reference(digest in any::<[u8; 32]>(), share in any::<u8>(), zeros in 1u32..5) {
        for kernel in Kernel::detect() {
            let mut search = kernel.search(&digest, zeros, share);
            let mut everything = kernel.search(&digest, 0, share);
            for _ in 0..if kernel.lanes() < 256 { 6 } else { 2 } {
                let (mut hits, mut nonces) = (Vec::new(), Vec::new());
                search.step(&mut |nonce| hits.push(nonce));
                everything.step(&mut |nonce| nonces.push(nonce));
                assert_eq!(nonces.len(), kernel.lanes(), "{}", kernel.name());
                assert!(nonces.iter().all(|nonce| nonce >> 56 == u64::from(share)));
                let has_zeros = |nonce: &u64| curl::trailing_zeros(&digest, *nonce) >= zeros;
                let expected = nonces.into_iter().filter(has_zeros).collect::<Vec<_>>();
                assert_eq!(hits, expected, "{}", kernel.name());
            }
        }
    }

    /// A batch of any size says of each claim what the reference says.
    #[test]
    fn batches_agree_with_the_reference(
        blocks in proptest::collection::vec((any::<[u8; 32]>(), any::<u64>(), 0u32..4), 1..513),
    ) {
        let claims = blocks.iter().map(|(digest, nonce, zeros)| Claim::new(digest, *nonce, *zeros));
        let claims = claims.collect::<Vec<_>>();
        let has_zeros = |(digest, nonce, zeros): &([u8; 32], u64, u32)| curl::trailing_zeros(digest, *nonce) >= *zeros;
        let expected = blocks.iter().map(has_zeros).collect::<Vec<_>>();
        for kernel in Kernel::detect() {
            let cheap = Cost { kernel, ns: 1 };
            assert_eq!(Verifier::new(2, &[cheap]).verify(&claims), expected, "{}", kernel.name());
        }
        assert_eq!(Verifier::new(1, &[]).verify(&claims), expected);
    }
}

/// No nonce is tried twice, over a whole round of the counter's lowest bytes.
#[test]
fn nonces_of_a_search_differ() {
    for kernel in Kernel::detect().into_iter().filter(|kernel| kernel.name().ends_with("/ping-pong")) {
        let mut search = kernel.search(&[3; 32], 0, 9);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..2 * 256 * 256 / kernel.lanes() {
            search.step(&mut |nonce| assert!(seen.insert(nonce), "{} tries {nonce:x} again", kernel.name()));
        }
    }
}
