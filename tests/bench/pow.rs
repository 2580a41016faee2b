//! Proof of work: hashes per second of processor time, beside the published implementations in one process.
//!
//! `cargo bench --bench pow`; the last line is one JSON object. `vs` says how many times the peer's figure ours is:
//! mining against the peer's own miner; verification, hash for hash, against `iota-crypto`'s one at a time (and 64 at a
//! time, `iota-crypto-batch`), and block for block, BLAKE2b included, against `bee-pow`'s scorer. On aarch64, also
//! under emulation, instructions for each hash are counted by qemu.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark reports and panics")]

use std::collections::BTreeMap;
use std::hint::black_box;

use bee_pow::providers::{NonceProvider, NonceProviderBuilder, miner::MinerBuilder};
use crypto::encoding::ternary::{T1B1Buf, TritBuf};
use crypto::hashes::ternary::curl_p::{CurlP, CurlPBatchHasher};
use osmia::pow::kernel::Kernel;
use osmia::pow::miner::Search;
use osmia::pow::verify::{Claim, Cost, Verifier};
use osmia::pow::{curl, is_sufficient, required_zeros};
use osmia::protocol::blake2b_256;
use rustix::time::{ClockId, clock_gettime};

/// Times that everything is measured, in turn; medians count, also of the ratios within a round, as a machine that others
/// share is faster in one second than in the next.
const ROUNDS: usize = 15;

/// A block's bytes before its nonce.
const MESSAGE: [u8; 300] = [7; 300];

/// Asks for nine zeros of a block of 308 bytes: 19,683 hashes on average.
const SCORE: u32 = 50;

fn main() {
    #[cfg(target_arch = "aarch64")]
    if counted() {
        return;
    }
    let mut works = works();
    let mut figures: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for (name, work) in &mut works {
            let started = processor_time();
            let hashes = work();
            let rate = hashes as f64 / (processor_time() - started);
            figures.entry(name.clone()).or_default().push(rate);
        }
    }
    let median = |name: &str| middle(figures[name].clone());
    let ratio = |name: &str, peer: &str| {
        middle(figures[name].iter().zip(&figures[peer]).map(|(own, peer)| own / peer).collect())
    };
    println!("{:28} {:>12}   ", "", "hashes/s");
    for (name, _) in &works {
        println!("{name:28} {:>12.0}", median(name));
    }
    let best = |names: Vec<String>| {
        let names = names.into_iter().filter(|name| figures.contains_key(name));
        names.max_by(|a, b| median(a).total_cmp(&median(b)))
    };
    let mut rows = Vec::new();
    let mut mining = |name: &str, kernels: &[&str], threads: u32| {
        let names = kernels.iter().map(|kernel| format!("mine/{kernel}/{threads}"));
        let Some(best) = best(names.collect()) else { return };
        let value = median(&best);
        rows.push(row(
            &format!("mine/{name}/{threads}"),
            value,
            "hashes/s",
            &[
                ("bee-pow", ratio(&best, "peer/bee-pow/mine")),
                ("iota-sdk", ratio(&best, "peer/iota-sdk/mine")),
                ("iota-crypto", ratio(&best, "peer/iota-crypto/batch64")),
            ],
        ));
    };
    mining("u64", &["u64/in-place", "u64/ping-pong"], 1);
    mining("sse2", &["sse2/in-place", "sse2/ping-pong"], 1);
    mining("avx2", &["avx2/in-place", "avx2/ping-pong"], 1);
    mining(
        "avx512",
        &["avx512vl-256/in-place", "avx512vl-256/ping-pong", "avx512/in-place", "avx512/ping-pong"],
        1,
    );
    mining("avx2", &["avx2/in-place", "avx2/ping-pong"], 2);
    mining("neon", &["neon/in-place", "neon/ping-pong"], 1);
    for name in ["verify/single", "verify/batch64", "verify/batch256"] {
        let kernels = Kernel::detect().into_iter().map(|kernel| format!("{name}/{}", kernel.name()));
        let best = best(kernels.collect()).unwrap_or_else(|| name.to_owned());
        rows.push(row(
            name,
            median(&best),
            "hashes/s",
            &[
                ("bee-pow", ratio(&format!("{best}/block"), "peer/bee-pow/score")),
                ("iota-crypto", ratio(&best, "peer/iota-crypto/single")),
                ("iota-crypto-batch", ratio(&best, "peer/iota-crypto/batch64")),
            ],
        ));
    }
    #[cfg(target_arch = "aarch64")]
    for work in ["mine", "verify"] {
        if let Some(value) = instructions_per_hash(work) {
            rows.push(row(&format!("{work}/neon/insn_per_hash"), value, "instructions", &[]));
        }
    }
    println!("{{\"bench\":\"pow\",\"rows\":[{}]}}", rows.join(","));
}

fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn row(name: &str, value: f64, unit: &str, peers: &[(&str, f64)]) -> String {
    print!("{name:28} {value:>12.0} {unit}");
    peers.iter().for_each(|(peer, ratio)| print!("   {ratio:.2} x {peer}"));
    println!();
    let peers = peers.iter().map(|(peer, ratio)| format!("\"{peer}\":{ratio:.3}")).collect::<Vec<_>>();
    let peers = peers.join(",");
    format!("{{\"name\":\"{name}\",\"value\":{value:.0},\"unit\":\"{unit}\",\"vs\":{{{peers}}}}}")
}

/// A piece of work that says how many hashes it did.
type Work = Box<dyn FnMut() -> u64>;

fn works() -> Vec<(String, Work)> {
    let mut works: Vec<(String, Work)> = Vec::new();
    for kernel in Kernel::detect() {
        let batches = (1 << 16) / kernel.lanes() as u64;
        // Long enough that starting the threads takes no part.
        let batches = |threads: u8| if threads > 1 { 8 * batches } else { batches };
        let threads: &[u8] = if kernel.name().starts_with("avx2") { &[1, 2] } else { &[1] };
        for threads in threads.iter().copied() {
            let batches = batches(threads);
            let work = move || mine(kernel, batches, threads);
            works.push((format!("mine/{}/{threads}", kernel.name()), Box::new(work)));
        }
    }
    // The peers begin at nonce 0 and hash 64 at once.
    let batches_of_64 = |nonce: u64| (nonce / 64 + 1) * 64;
    works.push((
        "peer/bee-pow/mine".to_owned(),
        Box::new(move || {
            batches_of_64(
                MinerBuilder::default().with_num_workers(1).finish().nonce(&MESSAGE, SCORE).unwrap(),
            )
        }),
    ));
    works.push((
        "peer/iota-sdk/mine".to_owned(),
        Box::new(move || {
            batches_of_64(iota_sdk::pow::miner::get_miner_num_workers(SCORE, 1)(&MESSAGE).unwrap())
        }),
    ));
    let input: TritBuf<T1B1Buf> = TritBuf::from_i8s(&curl::input(&[7; 32], 0)).unwrap();
    let single = input.clone();
    works.push((
        "peer/iota-crypto/single".to_owned(),
        Box::new(move || times(1_000, 1, || drop(black_box(CurlP::new().digest(&single))))),
    ));
    let mut hasher = CurlPBatchHasher::<T1B1Buf>::new(243);
    works.push((
        "peer/iota-crypto/batch64".to_owned(),
        Box::new(move || {
            times(20, 64, || {
                (0..64).for_each(|_| hasher.add(input.clone()));
                hasher.hash().for_each(|hash| drop(black_box(hash)));
            })
        }),
    ));
    let blocks = (0..256u64).map(|nonce| [&MESSAGE[..], &nonce.to_le_bytes()].concat()).collect::<Vec<_>>();
    let scored = blocks[0].clone();
    works.push((
        "peer/bee-pow/score".to_owned(),
        Box::new(move || {
            times(1_000, 1, || {
                black_box(bee_pow::score::PoWScorer::new().score(&scored));
            })
        }),
    ));
    let judged = blocks[0].clone();
    works.push((
        "verify/single/block".to_owned(),
        Box::new(move || {
            times(4_000, 1, || {
                black_box(is_sufficient(&judged, SCORE));
            })
        }),
    ));
    works.push((
        "verify/single".to_owned(),
        Box::new(move || {
            times(4_000, 1, || {
                black_box(Claim::new(&[7; 32], black_box(5), 9).holds());
            })
        }),
    ));
    for (size, kernel) in
        [64, 256].into_iter().flat_map(|size| Kernel::detect().into_iter().map(move |one| (size, one)))
    {
        let verifier = || Verifier::new(2, &[Cost { kernel, ns: 1 }]);
        let digests = blocks[..size].iter().map(|block| blake2b_256(&block[..300])).collect::<Vec<_>>();
        let mut hashes = verifier();
        works.push((
            format!("verify/batch{size}/{}", kernel.name()),
            Box::new(move || {
                times(40, size as u64, || {
                    let claims = (0u64..).zip(&digests).map(|(nonce, digest)| Claim::new(digest, nonce, 9));
                    black_box(hashes.verify(&claims.collect::<Vec<_>>()));
                })
            }),
        ));
        let (mut whole, blocks) = (verifier(), blocks[..size].to_vec());
        works.push((
            format!("verify/batch{size}/{}/block", kernel.name()),
            Box::new(move || {
                times(10, size as u64, || {
                    let claims = (0u64..).zip(&blocks).map(|(nonce, block)| {
                        Claim::new(&blake2b_256(&block[..300]), nonce, required_zeros(block.len(), SCORE))
                    });
                    black_box(whole.verify(&claims.collect::<Vec<_>>()));
                })
            }),
        ));
    }
    works
}

fn times(count: u64, hashes: u64, mut work: impl FnMut()) -> u64 {
    (0..count).for_each(|_| work());
    count * hashes
}

fn mine(kernel: Kernel, batches: u64, threads: u8) -> u64 {
    let searches = (0..threads).map(|share| {
        let mut search = Search::new(kernel, [7; 32], 14, share);
        std::thread::spawn(move || {
            (0..batches).for_each(|_| {
                black_box(search.step());
            })
        })
    });
    searches.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
    batches * kernel.lanes() as u64 * u64::from(threads)
}

/// Full batches of different blocks.
#[cfg(target_arch = "aarch64")]
fn verify(kernel: Kernel, batches: u64) {
    let mut verifier = Verifier::new(u64::MAX >> 32, &[Cost { kernel, ns: 1 }]);
    let claims = vec![Claim::new(&[5; 32], 0, 14); kernel.lanes()];
    (0..batches).for_each(|_| drop(black_box(verifier.verify(&claims))));
}

/// Of all threads, in seconds.
fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Does what [`instructions_per_hash`] has counted, if that was asked for.
#[cfg(target_arch = "aarch64")]
fn counted() -> bool {
    let asked = |name: &str| std::env::args().find_map(|argument| argument.strip_prefix(name)?.parse().ok());
    let kernel = Kernel::named("neon/ping-pong").unwrap();
    if let Some(batches) = asked("--mine=") {
        mine(kernel, batches, 1);
        return true;
    }
    if let Some(batches) = asked("--verify=") {
        verify(kernel, batches);
        return true;
    }
    false
}

/// By qemu, which names every instruction that it does: two runs of this program, the shorter one subtracted.
#[cfg(target_arch = "aarch64")]
fn instructions_per_hash(work: &str) -> Option<f64> {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let count = |batches: u32| {
        // The option's name changed in qemu 8.1.
        ["-one-insn-per-tb", "-singlestep"].into_iter().find_map(|one_by_one| {
            let mut child = Command::new("qemu-aarch64")
                .args([one_by_one, "-d", "exec,nochain"])
                .arg(std::env::current_exe().unwrap())
                .arg(format!("--{work}={batches}"))
                .stderr(Stdio::piped())
                .spawn()
                .ok()?;
            let lines = BufReader::new(child.stderr.take()?).split(b'\n');
            let instructions = lines.map_while(Result::ok).filter(|line| line.starts_with(b"Trace")).count();
            child.wait().ok()?.success().then_some(instructions)
        })
    };
    let (few, many) = (count(2)?, count(10)?);
    Some((many - few) as f64 / (8.0 * Kernel::named("neon/ping-pong")?.lanes() as f64))
}
