//! Proof of work beside the published implementations: the score rule at its boundary, and blocks that we mined.

use bee_pow::score::PoWScorer as Bee;
use iota_sdk::pow::score::PowScorer as Sdk;
use osmia::pow::kernel::Kernel;
use osmia::pow::miner::Search;
use osmia::pow::{self, required_zeros};
use osmia::protocol::blake2b_256;
use proptest::prelude::{ProptestConfig, any, proptest};

/// HORNET's rule: a quotient of floats against the minimum as a float.
fn floats(zeros: u32, length: usize, minimum: u32) -> bool {
    3f64.powi(i32::try_from(zeros).unwrap()) / length as f64 >= f64::from(minimum)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Integers decide as floats do, also a hair's breadth from the boundary.
    #[test]
    fn the_integer_rule_is_hornets(zeros in 0u32..62, length in 1usize..=32_768, offset in -2i64..3, any in any::<u32>()) {
        let boundary = i64::try_from(3u128.pow(zeros) / length as u128).unwrap_or(i64::MAX / 2) + offset;
        for minimum in [u32::try_from(boundary.max(0)).unwrap_or(u32::MAX), any] {
            let integers = zeros >= required_zeros(length, minimum);
            proptest::prop_assert_eq!(integers, floats(zeros, length, minimum), "{} {} {}", zeros, length, minimum);
        }
    }
}

#[test]
fn the_integer_rule_holds_for_every_zero_and_its_neighbours() {
    for length in [8, 9, 27, 81, 102, 308, 729, 2_187, 6_561, 19_683, 32_767, 32_768] {
        for minimum in [1, 2, 3, 27, 100, 1_500, 4_000, 59_049, u32::MAX] {
            let zeros = required_zeros(length, minimum);
            assert!(floats(zeros, length, minimum), "{length} {minimum}");
            assert!(zeros == 0 || !floats(zeros - 1, length, minimum), "{length} {minimum}");
        }
    }
}

/// Ten thousand blocks of random content, found by every kernel in turn: all accepted by the published scorers, which
/// give the same score.
#[test]
fn published_scorers_accept_what_we_mine() {
    let kernels = Kernel::detect();
    let (mut bee, mut sdk) = (Bee::new(), Sdk::new());
    for number in 0..10_000usize {
        let seed = blake2b_256(&number.to_le_bytes());
        let mut block = seed.repeat(2 + number % 8);
        let (length, minimum) = (block.len() + 8, 1 + u32::from(seed[0]) % 4);
        let zeros = required_zeros(length, minimum);
        let mut search = Search::new(kernels[number % kernels.len()], blake2b_256(&block), zeros, seed[1]);
        let nonce = std::iter::repeat_with(|| search.step()).flatten().next().unwrap();
        block.extend(nonce.to_le_bytes());
        let score = pow::score(&block).unwrap();
        assert!(score >= f64::from(minimum) && pow::is_sufficient(&block, minimum), "block {number}");
        assert_eq!(bee.score(&block).to_bits(), score.to_bits(), "block {number}, bee-pow");
        assert_eq!(sdk.score(&block).to_bits(), score.to_bits(), "block {number}, iota-sdk");
    }
}
