//! The store under load, beside RocksDB and one sled tree pruned key by key; each in a process of its own.
//!
//! `cargo bench --bench store` writes 120 milestones of 1,000 blocks, `cargo bench --bench store -- --full` 2,000 of them
//! (2,000,000 blocks). Blocks of 292 bytes that do not compress, 100 outputs made and 100 spent by each milestone in a ledger
//! of 100,000, everything durable at each milestone, a pruning window of a fifth of the run, at most 200 milestones. The last
//! line is one JSON object; `vs` is the peer's figure divided by ours (of `blocks_per_s`: ours divided by the peer's), so that
//! more is better for us. Bytes written are those that the process hands to the kernel (`wchar` of `/proc/self/io`; its
//! `write_bytes` counts whole folios, many times more). Space is that of everything but our ledger's files, whose live outputs
//! are taken off the peers' figures as if they took no more than their bytes.
//!
//! `--block-bytes 1024` takes larger blocks. `-- --month FOLDER` lets 30 days of a founder pass on FOLDER's file system, which is
//! to be as large as a card.
//!
//! RocksDB is Debian's `librocksdb7.8`, opened at run time; without it, its columns are missing. A peer gives up after
//! `--limit` seconds (300): its figures are then those of what it wrote until there.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark reports and panics")]

mod month;
mod ours;
mod rocks;
mod tree;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use osmia::config::Config;
use osmia::ledger::Booked;
use osmia::protocol::address::Address;
use osmia::protocol::blake2b_256;
use osmia::protocol::id::{OutputId, TransactionId};
use osmia::snapshot::genesis;

/// In each milestone.
const BLOCKS: u64 = 1_000;
const BLOCK_BYTES: usize = 292;
const OUTPUTS: u64 = 100;
/// Unspent all the time.
const LEDGER: u64 = 100_000;
/// Milestones at the end with outputs alone, and of how many.
const LEDGER_ROUNDS: u32 = 40;
const LEDGER_OUTPUTS: u64 = 500;

/// One milestone's worth.
struct Load {
    index: u32,
    blocks: Vec<([u8; 32], Vec<u8>)>,
    created: Vec<Booked>,
    consumed: Vec<Booked>,
}

/// What is measured: a store that takes milestones.
trait Engine {
    /// Puts the first outputs in.
    fn begin(&mut self, outputs: Vec<Booked>);
    /// Everything of a milestone is durable when this returns. Gives how long pruning held it up.
    fn milestone(&mut self, load: Load) -> Duration;
    /// Bytes on disk of blocks and what belongs to them.
    fn block_bytes(&self, folder: &Path) -> u64;
    /// Ends in order.
    fn end(self: Box<Self>);
}

type Open = fn(&Path, u32) -> Option<Box<dyn Engine>>;

const ENGINES: [(&str, Open); 3] =
    [("osmia", ours::open), ("rocksdb", rocks::open), ("sled tree", tree::open)];

/// Figures of an engine, by name.
type Figures = BTreeMap<String, f64>;

/// Rows in their order, with what is better.
const ROWS: [(&str, &str); 9] = [
    ("blocks_per_s", "blocks/s"),
    ("cpu_us_per_block", "us"),
    ("space_amplification", "x"),
    ("write_amplification", "x"),
    ("prune_stall_ms", "ms"),
    ("commit_p50_ms", "ms"),
    ("ledger_bytes_per_op", "bytes"),
    ("peak_rss_mib", "MiB"),
    ("open_ms", "ms"),
];

fn main() {
    let arguments = std::env::args().collect::<Vec<_>>();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let full = arguments.iter().any(|argument| argument == "--full");
    let milestones = match value("--milestones") {
        Some(count) => count.parse().unwrap(),
        None if full => 2_000,
        None => 120,
    };
    let limit = Duration::from_secs(value("--limit").map_or(300, |limit| limit.parse().unwrap()));
    let block_bytes = value("--block-bytes").map_or(BLOCK_BYTES, |bytes| bytes.parse().unwrap());
    if let Some(folder) = value("--month") {
        return month::run(Path::new(&folder));
    }
    if let Some(name) = value("--engine") {
        let open = ENGINES.iter().find(|(own, _)| *own == name).unwrap().1;
        let folder = value("--folder").unwrap();
        // Ours goes to the end.
        let limit = if name == "osmia" { Duration::MAX } else { limit };
        if let Some(figures) = measure(open, Path::new(&folder), milestones, block_bytes, limit) {
            println!("{}", serde_json::to_string(&figures).unwrap());
        }
        return;
    }
    let mut all = Vec::new();
    for (name, _) in ENGINES {
        let folder = value("--in").map_or_else(std::env::temp_dir, Into::into);
        let folder = tempfile::Builder::new().prefix("store-").tempdir_in(folder).unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--engine", name, "--folder", folder.path().to_str().unwrap()])
            .args(["--milestones", &milestones.to_string(), "--limit", &limit.as_secs().to_string()])
            .args(["--block-bytes", &block_bytes.to_string()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let last = String::from_utf8_lossy(&output.stdout).lines().last().map(str::to_owned);
        match last.and_then(|line| serde_json::from_str::<Figures>(&line).ok()) {
            Some(figures) => all.push((name, figures)),
            None => println!("{name}: not measured: {}", String::from_utf8_lossy(&output.stderr).trim()),
        }
    }
    report(milestones, block_bytes, &all);
}

fn report(milestones: u32, block_bytes: usize, all: &[(&str, Figures)]) {
    println!("{milestones} milestones of {BLOCKS} blocks of {block_bytes} bytes");
    let names = all.iter().map(|(name, _)| format!("{name:>12}")).collect::<String>();
    println!("{:22}{names}", "");
    let (_, ours) = all.iter().find(|(name, _)| *name == "osmia").unwrap();
    let mut rows = Vec::new();
    for (row, unit) in ROWS.iter().chain([&("milestones", ""), &("disk_bytes_per_block", "bytes")]) {
        let cells = all.iter().map(|(_, figures)| format!("{:12.2}", figures[*row])).collect::<String>();
        println!("{row:22}{cells} {unit}");
        let vs = all.iter().filter(|(name, _)| *name != "osmia").map(|(name, theirs)| {
            let ratio = theirs[*row] / ours[*row].max(1e-9);
            let ratio = if *row == "blocks_per_s" { 1.0 / ratio } else { ratio };
            format!("\"{name}\":{ratio:.3}")
        });
        let vs = vs.collect::<Vec<_>>().join(",");
        rows.push(format!(
            "{{\"name\":\"{row}\",\"value\":{:.3},\"unit\":\"{unit}\",\"vs\":{{{vs}}}}}",
            ours[*row]
        ));
    }
    println!("{{\"bench\":\"store\",\"rows\":[{}]}}", rows.join(","));
}

/// Bytes that look like nothing, the same for a seed.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}

/// Makes milestones, and remembers what is unspent.
struct Source {
    template: Booked,
    unspent: VecDeque<u64>,
    made: u64,
    block_bytes: usize,
    sent: u64,
}

impl Source {
    fn new(block_bytes: usize) -> Self {
        let params = Config::parse("[coordinator]\nenabled = true\n").unwrap().network.params;
        let outputs = genesis::outputs(params.token_supply, Address::Ed25519([7; 32]), &[]).unwrap();
        let template = outputs.into_iter().next().unwrap();
        Self { template, unspent: VecDeque::new(), made: 0, block_bytes, sent: 0 }
    }

    fn output(&self, number: u64) -> Booked {
        let transaction = TransactionId(blake2b_256(&number.to_le_bytes()));
        Booked { id: OutputId { transaction, index: 0 }, ..self.template.clone() }
    }

    fn make(&mut self, count: u64) -> Vec<Booked> {
        let numbers = self.made..self.made + count;
        self.made += count;
        self.unspent.extend(numbers.clone());
        numbers.map(|number| self.output(number)).collect()
    }

    fn load(&mut self, index: u32, blocks: u64, outputs: u64) -> Load {
        let first = self.sent;
        self.sent += blocks;
        let block = |number: u64| {
            let bytes = noise(number + 1, self.block_bytes);
            (blake2b_256(&bytes), bytes)
        };
        let spent = self.unspent.drain(..usize::try_from(outputs).unwrap()).collect::<Vec<_>>();
        let consumed = spent.into_iter().map(|number| self.output(number)).collect();
        Load {
            index,
            blocks: (first..first + blocks).map(block).collect(),
            created: self.make(outputs),
            consumed,
        }
    }
}

fn measure(
    open: Open,
    folder: &Path,
    milestones: u32,
    block_bytes: usize,
    limit: Duration,
) -> Option<Figures> {
    let window = (milestones / 5).min(200);
    let mut engine = open(folder, window)?;
    let mut source = Source::new(block_bytes);
    let ledger = source.make(LEDGER);
    engine.begin(ledger);
    let (written, cpu) = (written_bytes(), cpu_seconds());
    let (mut commits, mut stalls, mut most_disk) = (Vec::new(), Vec::new(), 0);
    let (mut busy, mut done) = (Duration::ZERO, 0);
    for index in 1..=milestones {
        let load = source.load(index, BLOCKS, OUTPUTS);
        let started = Instant::now();
        stalls.push(engine.milestone(load));
        commits.push(started.elapsed());
        busy += started.elapsed();
        done = index;
        if index > window && index.is_multiple_of(5) {
            most_disk = most_disk.max(engine.block_bytes(folder));
        }
        if busy > limit {
            break;
        }
    }
    let blocks = f64::from(done) * BLOCKS as f64;
    let logical = blocks * (block_bytes + 32) as f64;
    let write_amplification = (written_bytes() - written) as f64 / logical;
    let cpu = (cpu_seconds() - cpu) * 1e6 / blocks;
    let before = written_bytes();
    for round in 1..=LEDGER_ROUNDS {
        engine.milestone(source.load(done + round, 0, LEDGER_OUTPUTS));
    }
    let operations = f64::from(LEDGER_ROUNDS) * 2.0 * LEDGER_OUTPUTS as f64;
    let per_operation = (written_bytes() - before) as f64 / operations;
    let peak = peak_rss_mib();
    engine.end();
    let started = Instant::now();
    let engine = open(folder, window)?;
    let open_ms = started.elapsed();
    drop(engine);
    commits.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let live = f64::from(window.min(done)) * BLOCKS as f64;
    let disk = most_disk as f64;
    let figures = [
        ("blocks_per_s", blocks / busy.as_secs_f64()),
        ("cpu_us_per_block", cpu),
        ("space_amplification", disk / (live * (block_bytes + 32) as f64)),
        ("disk_bytes_per_block", disk / live),
        ("write_amplification", write_amplification),
        ("prune_stall_ms", ms(stalls.into_iter().max().unwrap_or_default())),
        ("commit_p50_ms", ms(commits[commits.len() / 2])),
        ("ledger_bytes_per_op", per_operation),
        ("peak_rss_mib", peak),
        ("open_ms", ms(open_ms)),
        ("milestones", done.into()),
    ];
    Some(figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A number after a word in a file of `/proc/self`.
fn of_proc(file: &str, word: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/self/{file}")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(word)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn written_bytes() -> u64 {
    of_proc("io", "wchar:")
}

fn peak_rss_mib() -> f64 {
    of_proc("status", "VmHWM:") as f64 / 1024.0
}

fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().collect::<Vec<_>>();
    let ticks = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

/// What the unspent outputs are in themselves.
fn ledger_bytes() -> u64 {
    LEDGER * Source::new(BLOCK_BYTES).template.to_bytes().len() as u64
}

fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    for entry in entries.flatten() {
        let path = entry.path();
        // What is deleted meanwhile takes no room.
        let Ok(about) = fs::symlink_metadata(&path) else { continue };
        bytes += if about.is_dir() { disk_bytes(&path) } else { about.blocks() * 512 };
    }
    bytes
}
