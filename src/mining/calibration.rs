//! Measuring what this machine does best, in at most 300 ms at the first start; what is found is kept.

use std::fs;
use std::hint::black_box;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::files;
use crate::pow::kernel::Kernel;
use crate::pow::miner::Search;
use crate::pow::tuning::{Cluster, Override, Tuning};
use crate::pow::verify::{Claim, Cost, Verifier};

/// For all kernels of all clusters, and again for all batches.
const BUDGET: Duration = Duration::from_millis(90);

/// For several threads at once.
const TOGETHER: Duration = Duration::from_millis(20);

/// Where the findings lie in the node's folder.
const FILE: &str = "pow.json";

/// Longest such file.
const MAX_BYTES: u64 = 64 << 10;

/// What is known of this machine, and where that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// What was found.
    pub tuning: Tuning,
    /// What it holds for.
    machine: String,
    path: PathBuf,
}

/// What was found before on the same processor with the same build, or else now. Never fails: without a place to keep
/// it, it is found again at the next start.
pub fn load_or_measure(data: &Path) -> Findings {
    let machine = machine();
    let path = data.join(FILE);
    let kept = read(&path).and_then(|text| Tuning::parse(&text, &machine));
    let cores = |tuning: &Tuning| {
        let mut cores = tuning.clusters.iter().flat_map(|cluster| cluster.cores.clone()).collect::<Vec<_>>();
        cores.sort_unstable();
        cores
    };
    let mut own = clusters().concat();
    own.sort_unstable();
    if let Some(tuning) = kept.filter(|tuning| cores(tuning) == own) {
        return Findings { tuning, machine, path };
    }
    let started = Instant::now();
    let findings = Findings { tuning: measure(), machine, path };
    let fastest = &findings.tuning.clusters[0];
    tracing::info!(
        kernel = fastest.kernel.name(),
        hashes_per_s = fastest.rate,
        took = ?started.elapsed(),
        "proof of work calibrated"
    );
    findings.keep();
    findings
}

impl Findings {
    /// Keeps, beside what was measured, the rate that was learned while mining, if it says something new.
    pub fn learn(&mut self, sustained: u64) {
        // Within a tenth it is the same: no reason to write.
        if sustained.abs_diff(self.tuning.sustained) > self.tuning.sustained / 10 {
            self.tuning.sustained = sustained;
            self.keep();
        }
    }

    fn keep(&self) {
        let text = self.tuning.to_text(&self.machine);
        if let Err(error) = files::write_atomic(&self.path, text.as_bytes(), 0o600) {
            tracing::debug!(%error, "calibration not kept");
        }
    }
}

/// The whole of a small file, if it is one.
fn read(path: &Path) -> Option<String> {
    // Opening a pipe would wait for its writer.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The same with a board's word on it.
///
/// # Errors
/// This processor cannot run the kernel; the message names those that it can.
pub fn with(mut tuning: Tuning, board: &Override) -> Result<Tuning, String> {
    let Some(name) = &board.kernel else { return Ok(tuning) };
    let Some(kernel) = Kernel::named(name) else {
        let names = Kernel::detect().into_iter().map(Kernel::name).collect::<Vec<_>>().join(", ");
        return Err(format!("{name:?} is no kernel that this processor can run; write one of {names}"));
    };
    for cluster in &mut tuning.clusters {
        (cluster.kernel, cluster.rate) = (kernel, rate_on(cluster.cores.clone(), kernel));
    }
    tuning.burst = together(&tuning, tuning.threads).max(1);
    Ok(tuning)
}

/// Hashes a second of one thread on one of these cores.
fn rate_on(cores: Vec<usize>, kernel: Kernel) -> u64 {
    let measured = std::thread::spawn(move || {
        pin(&cores);
        rate(kernel, BUDGET / 4)
    });
    measured.join().expect("measuring does not panic")
}

/// Processor, cores and build, as one line.
fn machine() -> String {
    let about = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |line: &&str| {
        ["model name", "CPU implementer", "CPU part", "CPU variant", "CPU revision"]
            .iter()
            .any(|name| line.starts_with(name))
    };
    let mut models = about.lines().filter(field).collect::<Vec<_>>();
    models.sort_unstable();
    models.dedup();
    let kernels = Kernel::detect().into_iter().map(Kernel::name).collect::<Vec<_>>();
    format!("{} {:?} {models:?} {:?} {kernels:?}", env!("CARGO_PKG_VERSION"), build_id(), clusters())
}

/// Name of a GNU build id among the notes of a program: 4 bytes of name, 20 of id, type 3.
const BUILD_ID: &[u8] = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";

/// What the linker calls this build. The notes lie before all code and data.
fn build_id() -> Option<[u8; 20]> {
    let mut head = Vec::new();
    fs::File::open("/proc/self/exe").ok()?.take(MAX_BYTES).read_to_end(&mut head).ok()?;
    let at = head.windows(BUILD_ID.len()).position(|bytes| bytes == BUILD_ID)? + BUILD_ID.len();
    head.get(at..)?.first_chunk().copied()
}

/// Cores that this process may use, by what the kernel says of their capacity; the strongest first.
fn clusters() -> Vec<Vec<usize>> {
    let allowed = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    let capacity = |core: usize| -> u32 {
        let path = format!("/sys/devices/system/cpu/cpu{core}/cpu_capacity");
        fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    };
    let cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let mut cores = cores.map(|core| (capacity(core), core)).collect::<Vec<_>>();
    cores.sort_by_key(|(capacity, core)| (std::cmp::Reverse(*capacity), *core));
    let clusters = cores.chunk_by(|(a, _), (b, _)| a == b);
    let clusters = clusters.map(|cores| cores.iter().map(|(_, core)| *core).collect()).collect::<Vec<_>>();
    // Without an answer there is at least the core that asks.
    if clusters.is_empty() { vec![vec![0]] } else { clusters }
}

/// Keeps the calling thread on these cores; where that is not possible, it runs anywhere.
pub(super) fn pin(cores: &[usize]) {
    let mut set = CpuSet::new();
    cores.iter().filter(|core| **core < CpuSet::MAX_CPU).for_each(|core| set.set(*core));
    if let Err(error) = sched_setaffinity(None, &set) {
        tracing::debug!(%error, "thread not pinned");
    }
}

/// Finds the fastest kernel of each cluster, and what verifying costs.
pub fn measure() -> Tuning {
    let clusters = clusters();
    let kernels = Kernel::detect();
    let each = BUDGET / u32::try_from(clusters.len() * kernels.len()).unwrap_or(u32::MAX);
    // On a thread of its own, as it is moved about.
    let work = move || {
        let mut found = clusters
            .into_iter()
            .map(|cores| {
                pin(&cores);
                let rates = kernels.iter().map(|kernel| (*kernel, rate(*kernel, each)));
                let (kernel, rate) =
                    rates.max_by(|(_, a), (_, b)| a.cmp(b)).expect("every processor has kernels");
                Cluster { cores, kernel, rate }
            })
            .collect::<Vec<_>>();
        found.sort_by_key(|cluster| std::cmp::Reverse(cluster.rate));
        // Blocks are verified wherever there is time, most of it on the fastest cores.
        pin(&found[0].cores);
        let claims =
            vec![Claim::new(&[5; 32], 0, 14); kernels.iter().map(|kernel| kernel.lanes()).max().unwrap_or(0)];
        let single_ns = fastest(each, || {
            black_box(black_box(&claims[0]).holds());
        });
        let cost = |kernel: &Kernel| {
            let mut verifier = Verifier::new(u64::MAX >> 32, &[Cost { kernel: *kernel, ns: 1 }]);
            let claims = &claims[..kernel.lanes()];
            let batch = fastest(each, || drop(black_box(verifier.verify(claims))));
            Cost { kernel: *kernel, ns: batch }
        };
        let mut batches = kernels.iter().map(cost).collect::<Vec<_>>();
        // Of those with as many lanes, one is enough.
        batches.sort_by_key(|cost| (cost.kernel.lanes(), cost.ns));
        batches.dedup_by_key(|cost| cost.kernel.lanes());
        let tuning = Tuning { clusters: found, threads: 1, burst: 1, sustained: 0, single_ns, batches };
        // Either the fastest cores alone, or all; but one core stays free.
        let fast = u32::try_from(tuning.clusters[0].cores.len()).unwrap_or(u32::MAX).min(tuning.most());
        let mut sets = vec![tuning.most(), fast];
        sets.dedup();
        let burst = |threads: u32| (together(&tuning, threads), threads);
        let (burst, threads) = sets.into_iter().map(burst).max().expect("there is a set");
        Tuning { threads, burst: burst.max(1), ..tuning }
    };
    std::thread::spawn(work).join().expect("measuring does not panic")
}

/// Hashes a second of so many threads at once, as a node would run them. Of their processor time: what else runs just now
/// says nothing of the machine.
fn together(tuning: &Tuning, threads: u32) -> u64 {
    let clusters = (0..threads).map(|thread| tuning.cluster(thread));
    mine(clusters.map(|cluster| (cluster.kernel, &*cluster.cores)).collect(), TOGETHER).rate
}

/// What some threads did.
pub(super) struct Mined {
    pub(super) hashes: u64,
    /// By the clock.
    pub(super) took: Duration,
    /// Hashes for each second of processor time, of all threads together.
    rate: u64,
}

/// Mines for about `time` with a thread for each kernel, kept on its cores.
pub(super) fn mine(threads: Vec<(Kernel, &[usize])>, time: Duration) -> Mined {
    let (stop, started) = (AtomicBool::new(false), Instant::now());
    let stop = &stop;
    let one = |share: u8, kernel: Kernel, cores: &[usize]| {
        pin(cores);
        let mut search = Search::new(kernel, [5; 32], 60, share);
        let (mut hashes, before) = (0, super::processor_time_ns());
        while !stop.load(Ordering::Relaxed) {
            black_box(search.step());
            hashes += kernel.lanes() as u64;
        }
        (hashes, Duration::from_nanos(super::processor_time_ns() - before))
    };
    let one = &one;
    let done = std::thread::scope(|scope| {
        // More threads than shares do the same work twice, which costs the same time.
        let threads = (0..=u8::MAX)
            .cycle()
            .zip(threads)
            .map(|(share, (kernel, cores))| scope.spawn(move || one(share, kernel, cores)));
        let threads = threads.collect::<Vec<_>>();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).collect::<Vec<_>>()
    });
    Mined {
        hashes: done.iter().map(|(hashes, _)| hashes).sum(),
        took: started.elapsed(),
        rate: done.iter().map(|(hashes, busy)| per_second(*hashes, *busy)).sum(),
    }
}

/// Hashes a second.
pub(super) fn per_second(hashes: u64, took: Duration) -> u64 {
    let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    hashes.saturating_mul(1_000_000) / us
}

/// Hashes a second of one thread.
fn rate(kernel: Kernel, time: Duration) -> u64 {
    let mut search = Search::new(kernel, [5; 32], 60, 0);
    let batch_ns = fastest(time, || {
        black_box(search.step());
    });
    kernel.lanes() as u64 * 1_000_000_000 / batch_ns
}

/// The shortest of the times that `work` takes, in nanoseconds, tried for as long as that: twice at least, as the
/// first time may find nothing in any cache.
fn fastest(time: Duration, mut work: impl FnMut()) -> u64 {
    let started = Instant::now();
    let mut shortest = Duration::MAX;
    for turn in 0.. {
        let before = Instant::now();
        work();
        shortest = shortest.min(before.elapsed());
        if turn > 0 && started.elapsed() >= time {
            break;
        }
    }
    u64::try_from(shortest.as_nanos()).unwrap_or(u64::MAX).max(1)
}
