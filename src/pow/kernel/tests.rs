//! Every kernel against the readable reference.

use proptest::prelude::{ProptestConfig, any, proptest};

use super::{Kernel, MAX_ZEROS, check};
use crate::pow::curl;
use crate::pow::miner::Search;
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

    #[test]
    fn searches_agree_with_the_reference(digest in any::<[u8; 32]>(), share in any::<u8>(), zeros in 1u32..5) {
        for kernel in Kernel::detect() {
            let batches = if kernel.lanes() < 256 { 6 } else { 2 };
            check::search(kernel, &digest, share, zeros, batches).unwrap_or_else(|what| panic!("{}: {what}", kernel.name()));
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

/// Searches, claims, and every trit that a tail evaluates.
#[test]
fn kernels_agree_with_the_reference() {
    for kernel in Kernel::detect() {
        assert!(kernel.check(7).unwrap_or_else(|wrong| panic!("{wrong}")) > 15 * kernel.lanes());
    }
}

/// Claims of real difficulty: those that hold by one zero too many do not.
#[test]
fn batches_tell_mined_blocks_from_almost_mined_ones() {
    let kernels = Kernel::detect();
    let mut claims = Vec::new();
    for (number, zeros) in [6, 8, 9, 10, 11].into_iter().enumerate() {
        let digest = [number.to_le_bytes()[0]; 32];
        let mut search = Search::new(kernels[kernels.len() - 1], digest, zeros, 3);
        let nonce = std::iter::repeat_with(|| search.step()).flatten().next().unwrap();
        let reached = curl::trailing_zeros(&digest, nonce);
        for needed in [1, zeros, reached, reached + 1, reached + 2, 20, MAX_ZEROS] {
            claims.push((Claim::new(&digest, nonce, needed), needed <= reached));
        }
    }
    let (claims, expected): (Vec<Claim>, Vec<bool>) = claims.into_iter().unzip();
    for kernel in kernels {
        let judged = Verifier::new(2, &[Cost { kernel, ns: 1 }]).verify(&claims);
        assert_eq!(judged, expected, "{}", kernel.name());
    }
}
