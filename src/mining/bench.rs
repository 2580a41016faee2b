//! `osmia pow bench`: what this machine does, kernel by kernel.

use std::fmt;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::pow::kernel::Kernel;
use crate::pow::miner::Search;
use crate::pow::tuning::Tuning;

/// Counter of the energy that the processor took, in microjoules, where the kernel shows one.
const ENERGY: &str = "/sys/class/powercap/intel-rapl:0/energy_uj";

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Every kernel with every number of threads.
    pub rows: Vec<Row>,
    /// What a node would take.
    pub chosen: Vec<Chosen>,
    /// Nanoseconds to verify one block alone.
    pub verify_single_ns: u64,
    /// Nanoseconds to verify a batch, and how many blocks that holds.
    pub verify_batches: Vec<Batch>,
}

/// Mining with one kernel.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub kernel: &'static str,
    /// Threads.
    pub threads: usize,
    /// Of all threads.
    pub hashes_per_s: u64,
    /// Millionths of a joule for each hash; `None` where the machine does not tell.
    pub microjoules_per_hash: Option<f64>,
}

/// What a node would mine with on some cores.
#[derive(Debug, Serialize)]
pub struct Chosen {
    /// Their numbers.
    pub cores: Vec<usize>,
    /// Name of the kernel.
    pub kernel: &'static str,
}

/// Verifying a batch.
#[derive(Debug, Serialize)]
pub struct Batch {
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Blocks.
    pub blocks: usize,
    /// Of the whole batch.
    pub ns: u64,
}

/// Measures, `time` for each row.
pub fn run(tuning: &Tuning, time: Duration) -> Report {
    let cores = tuning.cores() as usize;
    let mut threads = vec![1, cores.saturating_sub(1).max(1), cores];
    threads.dedup();
    let pairs =
        Kernel::detect().into_iter().flat_map(|kernel| threads.iter().map(move |threads| (kernel, *threads)));
    let chosen = |cluster: &crate::pow::tuning::Cluster| Chosen {
        cores: cluster.cores.clone(),
        kernel: cluster.kernel.name(),
    };
    let batch = |cost: &crate::pow::verify::Cost| Batch {
        kernel: cost.kernel.name(),
        blocks: cost.kernel.lanes(),
        ns: cost.ns,
    };
    Report {
        rows: pairs.map(|(kernel, threads)| mine(kernel, threads, time)).collect(),
        chosen: tuning.clusters.iter().map(chosen).collect(),
        verify_single_ns: tuning.single_ns,
        verify_batches: tuning.batches.iter().map(batch).collect(),
    }
}

fn mine(kernel: Kernel, threads: usize, time: Duration) -> Row {
    let stop = AtomicBool::new(false);
    let (started, before) = (Instant::now(), energy());
    let work = |share: usize| {
        let share = u8::try_from(share % 256).expect("below 256");
        let mut search = Search::new(kernel, [5; 32], 60, share);
        let mut batches = 0u64;
        while !stop.load(Ordering::Relaxed) {
            search.step();
            batches += 1;
        }
        batches
    };
    let batches: u64 = std::thread::scope(|scope| {
        let threads = (0..threads).map(|share| scope.spawn(move || work(share))).collect::<Vec<_>>();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
    });
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
    let hashes = batches * kernel.lanes() as u64;
    // The counter wraps around after hours.
    let taken = before.zip(energy()).and_then(|(before, after)| after.checked_sub(before));
    Row {
        kernel: kernel.name(),
        threads,
        hashes_per_s: hashes * 1_000 / ms,
        microjoules_per_hash: taken.map(|taken| taken as f64 / hashes.max(1) as f64),
    }
}

fn energy() -> Option<u64> {
    fs::read_to_string(ENERGY).ok()?.trim().parse().ok()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:24} {:>7} {:>14} {:>10}", "kernel", "threads", "hashes/s", "uJ/hash")?;
        for row in &self.rows {
            let energy =
                row.microjoules_per_hash.map_or_else(|| "-".to_owned(), |energy| format!("{energy:.3}"));
            writeln!(f, "{:24} {:>7} {:>14} {energy:>10}", row.kernel, row.threads, row.hashes_per_s)?;
        }
        for chosen in &self.chosen {
            writeln!(f, "a node mines with {} on cores {:?}", chosen.kernel, chosen.cores)?;
        }
        writeln!(f, "verifying one block takes {} ns;", self.verify_single_ns)?;
        for batch in &self.verify_batches {
            writeln!(f, "  {:4} at once with {:22} {:>9} ns", batch.blocks, batch.kernel, batch.ns)?;
        }
        Ok(())
    }
}
