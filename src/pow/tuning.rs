//! What this machine does best: found by measuring, kept as text, overridden by a board's file.

use serde::{Deserialize, Serialize};

use super::kernel::Kernel;
use super::verify::Cost;

/// No core that does so many hashes a second has been made yet; and sums still fit.
const MOST: u64 = 1_000_000_000_000;

/// Cores of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Their numbers.
    pub cores: Vec<usize>,
    /// What mines fastest on them.
    pub kernel: Kernel,
    /// Hashes a second of one of them.
    pub rate: u64,
}

/// What calibration found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuning {
    /// The fastest first.
    pub clusters: Vec<Cluster>,
    /// Threads, on the fastest cores first, that together do most; one core is left free where there are several.
    pub threads: u32,
    /// Hashes a second of these together, before they make the machine hot.
    pub burst: u64,
    /// Hashes a second that are kept up without a break, learned while mining; 0 until that is known.
    pub sustained: u64,
    /// Nanoseconds that one hash alone takes.
    pub single_ns: u64,
    /// Batches of different blocks.
    pub batches: Vec<Cost>,
}

/// What a board's file says about proof of work (`[run.pow]`); it goes before what was measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Kernel of all cores, by its name.
    #[serde(default)]
    pub kernel: Option<String>,
    /// Threads at most.
    #[serde(default)]
    pub threads: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct Text {
    machine: String,
    clusters: Vec<ClusterText>,
    threads: u32,
    burst: u64,
    #[serde(default)]
    sustained: u64,
    single_ns: u64,
    batches: Vec<(String, u64)>,
}

#[derive(Serialize, Deserialize)]
struct ClusterText {
    cores: Vec<usize>,
    kernel: String,
    rate: u64,
}

impl Tuning {
    /// Cores in all clusters.
    pub fn cores(&self) -> u32 {
        self.clusters.iter().map(|cluster| u32::try_from(cluster.cores.len()).unwrap_or(u32::MAX)).sum()
    }

    /// Threads to mine with: as many as wanted, 0 for those that do most; but one core is left to the node where there are
    /// several.
    pub fn threads(&self, wanted: u32) -> u32 {
        if wanted == 0 { self.threads } else { wanted.min(self.most()) }
    }

    /// All cores but one, or the only one.
    pub fn most(&self) -> u32 {
        self.cores().saturating_sub(1).max(1)
    }

    /// Cluster of the thread with that number: the fastest cores first.
    pub fn cluster(&self, thread: u32) -> &Cluster {
        let mut before = 0;
        let of_thread = self.clusters.iter().find(|cluster| {
            before += cluster.cores.len();
            (thread as usize) < before
        });
        of_thread.or(self.clusters.last()).expect("calibration finds a cluster")
    }

    /// Hashes a second of so many threads, before they make the machine hot: as measured together, or what each does alone
    /// where there are more.
    pub fn rate(&self, threads: u32) -> u64 {
        let alone = |threads: u32| (0..threads).map(|thread| self.cluster(thread).rate).sum::<u64>();
        // Below 10^12 for each of at most 2^10 threads.
        u64::try_from(
            u128::from(self.burst.max(self.sustained)) * u128::from(alone(threads))
                / u128::from(alone(self.threads).max(1)),
        )
        .unwrap_or(u64::MAX)
    }

    /// Blocks from which on verifying them together costs less than one by one.
    pub fn crossover(&self) -> usize {
        let blocks = self.batches.iter().map(|cost| cost.ns.div_ceil(self.single_ns)).min();
        blocks.map_or(usize::MAX, |blocks| usize::try_from(blocks).unwrap_or(usize::MAX))
    }

    /// Blocks that can be verified together within `ns` nanoseconds, one at least.
    pub fn batch_within(&self, ns: u64) -> usize {
        let count = |cost: &Cost| (ns / cost.ns).saturating_mul(cost.kernel.lanes() as u64);
        let most = self.batches.iter().map(count).max().unwrap_or(0).max(ns / self.single_ns).max(1);
        usize::try_from(most).unwrap_or(usize::MAX)
    }

    /// As a text for [`Tuning::parse`]; `machine` names what it holds for.
    pub fn to_text(&self, machine: &str) -> String {
        let cluster = |cluster: &Cluster| ClusterText {
            cores: cluster.cores.clone(),
            kernel: cluster.kernel.name().to_owned(),
            rate: cluster.rate,
        };
        let text = Text {
            machine: machine.to_owned(),
            clusters: self.clusters.iter().map(cluster).collect(),
            threads: self.threads,
            burst: self.burst,
            sustained: self.sustained,
            single_ns: self.single_ns,
            batches: self.batches.iter().map(|cost| (cost.kernel.name().to_owned(), cost.ns)).collect(),
        };
        serde_json::to_string(&text).expect("has only strings as keys")
    }

    /// What was found before; `None` when that was another machine or build, or is damaged.
    pub fn parse(text: &str, machine: &str) -> Option<Self> {
        let text: Text = serde_json::from_str(text).ok()?;
        if text.machine != machine || text.clusters.is_empty() {
            return None;
        }
        // One for each number of lanes.
        let lanes = |(name, _): &(String, u64)| Kernel::named(name).map(Kernel::lanes);
        if !text.batches.is_sorted_by(|a, b| lanes(a) < lanes(b)) {
            return None;
        }
        let cluster = |cluster: ClusterText| {
            let good = (1..=MOST).contains(&cluster.rate) && !cluster.cores.is_empty();
            let kernel = Kernel::named(&cluster.kernel).filter(|_| good)?;
            Some(Cluster { cores: cluster.cores, kernel, rate: cluster.rate })
        };
        // An hour is no measurement; products of two such still fit.
        let sane = |ns: u64| (1..3_600_000_000_000).contains(&ns);
        let cost =
            |(name, ns): (String, u64)| Some(Cost { kernel: Kernel::named(&name).filter(|_| sane(ns))?, ns });
        let tuning = Self {
            clusters: text.clusters.into_iter().map(cluster).collect::<Option<_>>()?,
            threads: text.threads,
            burst: text.burst,
            sustained: text.sustained.min(MOST),
            single_ns: Some(text.single_ns).filter(|ns| sane(*ns))?,
            batches: text.batches.into_iter().map(cost).collect::<Option<_>>()?,
        };
        let sane = (1..=tuning.most()).contains(&tuning.threads) && (1..=MOST).contains(&tuning.burst);
        sane.then_some(tuning)
    }
}

#[cfg(test)]
mod tests {
    use super::{Cluster, Cost, Kernel, Tuning};

    fn tuning() -> Tuning {
        let kernel = Kernel::named("u64/ping-pong").unwrap();
        let cluster = |cores, rate| Cluster { cores, kernel, rate };
        Tuning {
            clusters: vec![cluster(vec![4, 5], 3), cluster(vec![0, 1, 2, 3], 1)],
            threads: 5,
            burst: 6,
            sustained: 4,
            single_ns: 10_000,
            batches: vec![Cost { kernel, ns: 100_000 }],
        }
    }

    #[test]
    fn threads_take_the_fastest_cores_and_leave_one() {
        let tuning = tuning();
        assert_eq!((tuning.threads(0), tuning.threads(2), tuning.threads(99)), (5, 2, 5));
        // Together they do 6 and not 9, so each does two thirds.
        assert_eq!((tuning.rate(1), tuning.rate(2), tuning.rate(5), tuning.rate(6)), (2, 4, 6, 6));
        assert_eq!(tuning.cluster(4).cores, [0, 1, 2, 3]);
        let cluster = Cluster { cores: vec![0], ..tuning.clusters[0].clone() };
        let one = Tuning { clusters: vec![cluster], threads: 1, ..tuning };
        assert_eq!((one.threads(0), one.threads(9)), (1, 1));
    }

    #[test]
    fn a_batch_stays_within_its_time() {
        let tuning = tuning();
        // A batch of 64 in 100 us.
        assert_eq!(tuning.batch_within(1_000_000), 640);
        assert_eq!(tuning.batch_within(50_000), 5);
        assert_eq!(tuning.batch_within(1), 1);
        assert_eq!(tuning.crossover(), 10);
    }

    #[test]
    fn text_holds_for_its_machine_alone() {
        let tuning = tuning();
        let text = tuning.to_text("a board");
        assert_eq!(Tuning::parse(&text, "a board"), Some(tuning));
        assert_eq!(Tuning::parse(&text, "another board"), None);
        for damaged in [
            "",
            "{}",
            &text[1..],
            &text.replace("u64", "u63"),
            &text.replace(":3", ":-3"),
            &text.replace(":3", ":0"),
            &text.replace(":3", ":9223372036854775807"),
        ] {
            assert_eq!(Tuning::parse(damaged, "a board"), None, "{damaged}");
        }
    }
}
