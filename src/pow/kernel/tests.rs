//! Every kernel against the readable reference.

use proptest::prelude::{ProptestConfig, any, proptest};

use super::word::Word;
use super::{Kernel, MAX_ZEROS, Plan, Work};
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

/// Every trit that a tail evaluates, for few zeros and for the most that any block needs, in every lane.
fn tails_agree<W: Word>(name: &str) {
    let blocks = (0..W::LANES as u64)
        .map(|lane| ([lane.to_le_bytes()[0]; 32], lane * 0x0123_4567_89ab))
        .collect::<Vec<_>>();
    let claims = blocks.iter().map(|(digest, nonce)| Claim::new(digest, *nonce, 0)).collect::<Vec<_>>();
    let hashes =
        blocks.iter().map(|(digest, nonce)| curl::hash(&curl::input(digest, *nonce))).collect::<Vec<_>>();
    for zeros in [1, 2, 5, 8, 9, 13, 14, 20, 27, 30, 45, MAX_ZEROS as usize] {
        for in_place in [true, false] {
            let (mut work, plan) = (Work::<W>::new(), Plan::new(None, zeros, in_place));
            W::load(&mut work, &claims);
            W::transform(&mut work, &plan);
            assert_eq!(plan.tail.output.len(), zeros);
            let trits = work.state.trits();
            for (back, place) in plan.tail.output.iter().enumerate() {
                let trit = trits[usize::from(*place)];
                let (low, high) = (trit.low.to_words(), trit.high.to_words());
                for (lane, hash) in hashes.iter().enumerate() {
                    let bit = |row: &[u64; 8]| row[lane / 64] >> (lane % 64) & 1 == 1;
                    let expected = hash[curl::HASH_TRITS - 1 - back];
                    let place = format!("{name} {zeros} {in_place} lane {lane} trit {back} from the end");
                    assert_eq!((bit(&low), bit(&high)), (expected == 1, expected != -1), "{place}");
                }
            }
        }
    }
}

#[test]
fn tails_agree_with_the_reference() {
    tails_agree::<u64>("u64");
    #[cfg(target_arch = "x86_64")]
    {
        use super::x86::{Avx, Avx2, Sse2, Ternary128, Ternary256, Ternary512};
        let has = |name| Kernel::named(name).is_some();
        tails_agree::<Sse2>("sse2");
        if has("avx/in-place") {
            tails_agree::<Avx>("avx");
        }
        if has("avx2/in-place") {
            tails_agree::<Avx2>("avx2");
        }
        if has("avx512vl-128/in-place") {
            tails_agree::<Ternary128>("avx512vl-128");
            tails_agree::<Ternary256>("avx512vl-256");
        }
        if has("avx512/in-place") {
            tails_agree::<Ternary512>("avx512");
        }
    }
    #[cfg(target_arch = "aarch64")]
    tails_agree::<super::neon::Neon>("neon");
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
