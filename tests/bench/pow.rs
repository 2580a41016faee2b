//! Proof of work: hashes per second of processor time, our miner beside the published implementation.
//!
//! `cargo bench --bench pow`. The last line is one JSON object.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark reports and panics")]

use std::hint::black_box;

use crypto::encoding::ternary::{T1B1Buf, TritBuf};
use crypto::hashes::ternary::curl_p::{CurlP, CurlPBatchHasher};
use osmia::pow::curl;
use osmia::pow::lanes::LANES;
use osmia::pow::miner::Search;
use rustix::time::{ClockId, clock_gettime};

/// Rounds of each measurement; the median counts.
const ROUNDS: usize = 5;

fn main() {
    let mut search = Search::new([7; 32], 60, 0, 1);
    let miner = rate(64 * 40, || {
        (0..40).for_each(|_| {
            black_box(search.step());
        })
    });
    let reference = rate(200, || {
        (0..200).for_each(|nonce| {
            black_box(curl::trailing_zeros(&[7; 32], nonce));
        })
    });
    let input: TritBuf<T1B1Buf> = TritBuf::from_i8s(&curl::input(&[7; 32], 0)).unwrap();
    let published = rate(200, || (0..200).for_each(|_| drop(black_box(CurlP::new().digest(&input)))));
    let mut hasher = CurlPBatchHasher::<T1B1Buf>::new(243);
    let batch = rate(64 * 10, || {
        for _ in 0..10 {
            (0..LANES).for_each(|_| hasher.add(input.clone()));
            hasher.hash().for_each(|hash| drop(black_box(hash)));
        }
    });
    let row = |name: &str, value: f64, peer: f64| {
        println!("{name:24} {value:>12.0} hashes/s   {:>6.2} x iota-crypto", value / peer);
        format!(
            "{{\"name\":\"{name}\",\"value\":{value:.0},\"unit\":\"hashes/s\",\"vs\":{{\"iota-crypto\":{:.3}}}}}",
            value / peer
        )
    };
    let rows = [row("mine/u64/1", miner, batch), row("verify/single", reference, published)];
    println!("{{\"bench\":\"pow\",\"rows\":[{}]}}", rows.join(","));
}

/// Median of hashes per second of processor time.
fn rate(hashes: u32, mut work: impl FnMut()) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let mut rates = (0..ROUNDS)
        .map(|_| {
            let started = now();
            work();
            f64::from(hashes) / (now() - started)
        })
        .collect::<Vec<_>>();
    rates.sort_by(f64::total_cmp);
    rates[ROUNDS / 2]
}
