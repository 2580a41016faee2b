//! `osmia pow bench`: what this machine does, kernel by kernel.

use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::calibration::{self, Mined};
use super::{Heat, Miner};
use crate::pow::kernel::Kernel;
use crate::pow::tuning::{Cluster, Tuning};
use crate::pow::verify::Cost;

/// Counter of the energy that the processor took, in microjoules, where the kernel shows one.
const ENERGY: &str = "/sys/class/powercap/intel-rapl:0/energy_uj";

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Every kernel with every number of threads.
    pub rows: Vec<Row>,
    /// What a node would take.
    pub chosen: Vec<Chosen>,
    /// What a node would do for clients without a break, where that was measured.
    pub sustained: Option<Sustained>,
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
    pub threads: u32,
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

/// Mining without a break, as the heat allows.
#[derive(Debug, Serialize)]
pub struct Sustained {
    /// Seconds.
    pub seconds: u64,
    /// Threads at the end.
    pub threads: u32,
    /// In the first tenth of the time.
    pub burst_hashes_per_s: u64,
    /// In the last third.
    pub sustained_hashes_per_s: u64,
}

/// Mines for `seconds`, at least three, with as many threads as a node would take, as `heat` allows.
///
/// # Errors
/// No runtime can be made.
pub fn sustain(
    tuning: &Tuning,
    seconds: u64,
    heat: impl FnMut() -> Heat + Send + 'static,
) -> std::io::Result<Sustained> {
    let time = Duration::from_secs(seconds.max(3));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let miner = Miner::start(tuning.clone(), tuning.threads(0), heat);
        let Ok(turn) = miner.turn(0).await else { unreachable!("nobody else asks") };
        let rate = async |time: Duration| {
            let (before, started) = (miner.hashes(), Instant::now());
            // More zeros than anybody has ever seen: it ends with the time.
            let _ = tokio::time::timeout(time, turn.search([5; 32], 60)).await;
            calibration::per_second(miner.hashes() - before, started.elapsed())
        };
        let burst_hashes_per_s = rate(time / 10).await;
        rate(time * 17 / 30).await;
        let sustained_hashes_per_s = rate(time / 3).await;
        let threads = miner.threads();
        Ok(Sustained { seconds: time.as_secs(), threads, burst_hashes_per_s, sustained_hashes_per_s })
    })
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
    let mut threads = vec![1, tuning.most(), tuning.cores()];
    threads.dedup();
    let pairs =
        Kernel::detect().into_iter().flat_map(|kernel| threads.iter().map(move |threads| (kernel, *threads)));
    let chosen = |cluster: &Cluster| Chosen { cores: cluster.cores.clone(), kernel: cluster.kernel.name() };
    let batch = |cost: &Cost| Batch { kernel: cost.kernel.name(), blocks: cost.kernel.lanes(), ns: cost.ns };
    Report {
        rows: pairs.map(|(kernel, threads)| mine(tuning, kernel, threads, time)).collect(),
        chosen: tuning.clusters.iter().map(chosen).collect(),
        sustained: None,
        verify_single_ns: tuning.single_ns,
        verify_batches: tuning.batches.iter().map(batch).collect(),
    }
}

fn mine(tuning: &Tuning, kernel: Kernel, threads: u32, time: Duration) -> Row {
    let before = energy();
    let cores = (0..threads).map(|thread| (kernel, &*tuning.cluster(thread).cores));
    let Mined { hashes, took, .. } = calibration::mine(cores.collect(), time);
    // The counter wraps around after hours.
    let taken = before.zip(energy()).and_then(|(before, after)| after.checked_sub(before));
    Row {
        kernel: kernel.name(),
        threads,
        hashes_per_s: calibration::per_second(hashes, took),
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
        if let Some(sustained) = &self.sustained {
            let Sustained { seconds, threads, burst_hashes_per_s, sustained_hashes_per_s } = sustained;
            writeln!(
                f,
                "{seconds} s without a break: {burst_hashes_per_s} hashes/s at first, {sustained_hashes_per_s} with \
                 {threads} threads at the end"
            )?;
        }
        writeln!(f, "verifying one block takes {} ns;", self.verify_single_ns)?;
        for batch in &self.verify_batches {
            writeln!(f, "  {:4} at once with {:22} {:>9} ns", batch.blocks, batch.kernel, batch.ns)?;
        }
        Ok(())
    }
}
