//! Damage on disk: whatever single fault a file has, the node comes back by itself, serves, and never shows anything false.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use osmia::keeper::{Keeper, Sizes};
use osmia::protocol::block;
use osmia::protocol::id::MilestoneIndex;
use osmia::store::Limits;
use serde_json::Value;

use crate::damage::Dice;
use crate::http;
use crate::recorded_store::build;
use crate::recording::{Recording, configuration};
use crate::store::copy;

/// Longer than a node needs to come up while other tests run.
const LIMIT: Duration = Duration::from_secs(120);

/// Ten epochs; nothing is pruned.
const LIMITS: Limits = Limits { keep_milestones: 470, live_milestones: 20, cache_bytes: 1 << 20 };

/// Faults in the test command; `OSMIA_FAULTS` asks for others.
const FAULTS: u64 = 36;

/// A node as it ends in order, with its snapshots up to milestone 400.
fn healthy(folder: &Path) -> Recording {
    let recording = Recording::of("tangle-a");
    let store = build(&recording, &folder.join("data/store"), LIMITS, |_, _| {});
    let keeper = Keeper::open(folder.join("data/snapshots"));
    for target in [300, 400] {
        keeper.lead_on(&store.reader(), MilestoneIndex(target), Sizes::HORNET).unwrap();
    }
    store.close().unwrap();
    // What a first start makes.
    fs::write(folder.join("node.toml"), configuration(&recording, false)).unwrap();
    Patient::start(folder).stop();
    recording
}

/// Files below a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// One fault in one file of the node's folder. Says what.
fn harm(data: &Path, dice: &mut Dice) -> String {
    let all = files(data);
    // The small and the empty ones, of which there are many, no more often than those with the data.
    let large = all.iter().filter(|path| fs::metadata(path).unwrap().len() > 0).cloned().collect::<Vec<_>>();
    let path = if dice.below(4) > 0 { &large[dice.below(large.len())] } else { &all[dice.below(all.len())] };
    let mut bytes = fs::read(path).unwrap();
    let at = dice.below(bytes.len());
    let what = match dice.below(8) {
        0 | 1 if !bytes.is_empty() => {
            bytes[at] ^= 1 << dice.below(8);
            format!("bit flipped at {at}")
        }
        2 if !bytes.is_empty() => {
            let end = bytes.len().min(at + 4_096);
            bytes[at..end].fill(0);
            format!("a page of zeros at {at}")
        }
        3 if !bytes.is_empty() => {
            let end = bytes.len().min(at + 512);
            bytes[at..end].iter_mut().for_each(|byte| *byte = dice.byte());
            format!("a sector of noise at {at}")
        }
        4 => {
            bytes.truncate(at);
            format!("cut to {at}")
        }
        5 => {
            bytes.clear();
            "emptied".to_owned()
        }
        6 => {
            fs::remove_file(path).unwrap();
            return format!("{}: deleted", path.display());
        }
        _ => {
            let left = path.with_extension("tmp");
            fs::write(&left, &bytes[..at]).unwrap();
            return format!("{}: half of a temporary file left", left.display());
        }
    };
    fs::write(path, bytes).unwrap();
    format!("{}: {what}", path.display())
}

/// A node that may end for what damage does to sled; whoever runs it starts it again.
struct Patient {
    child: Child,
    api: SocketAddr,
    log: mpsc::Receiver<String>,
    /// Until it came up.
    said: Vec<String>,
    /// That it took.
    processes: u32,
}

impl Patient {
    fn start(folder: &Path) -> Self {
        let mut said = Vec::new();
        for processes in 1..=8 {
            let mut child = Command::new(env!("CARGO_BIN_EXE_osmia"))
                .args(["node", "--config"])
                .arg(folder.join("node.toml"))
                .arg("--data")
                .arg(folder.join("data"))
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stderr.take().unwrap()).lines();
            let (sender, log) = mpsc::channel();
            std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
            match address(&log, &mut said) {
                Ok(api) => return Self { child, api, log, said, processes },
                Err(mpsc::RecvTimeoutError::Disconnected) => drop(child.wait().unwrap()),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    child.kill().unwrap();
                    panic!("neither up nor down: {said:#?}");
                }
            }
        }
        panic!("never up: {said:#?}");
    }

    fn get(&self, path: &str) -> Option<http::Answer> {
        http::request(self.api, "GET", path, &["Accept: application/vnd.iota.serializer-v1"], &[])
    }

    /// Every block is itself or is not there; `false` when the node ended on the way.
    fn shows_nothing_false(&self, blocks: &[Vec<u8>]) -> bool {
        blocks.iter().all(|bytes| {
            let Some(answer) = self.get(&format!("/api/core/v2/blocks/{}", block::id_of(bytes))) else {
                return false;
            };
            assert!(answer.status != 200 || &answer.body == bytes, "another block");
            // What it ends for is told to this client as a fault of the node's.
            matches!(answer.status, 200 | 404)
        })
    }

    fn confirmed(&self) -> u64 {
        let info = http::request(self.api, "GET", "/api/core/v2/info", &[], &[]).unwrap();
        let info: Value = serde_json::from_slice(&info.body).unwrap();
        info["status"]["confirmedMilestone"]["index"].as_u64().unwrap()
    }

    fn stop(mut self) -> Vec<String> {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        self.child.wait().unwrap();
        self.said.extend(self.log.iter());
        self.said
    }
}

/// Where the API of a node is that comes up; what it says until then.
fn address(
    log: &mpsc::Receiver<String>,
    said: &mut Vec<String>,
) -> Result<SocketAddr, mpsc::RecvTimeoutError> {
    loop {
        let line = log.recv_timeout(LIMIT)?;
        let api = line.split_once("rest=").and_then(|(_, api)| api.trim().parse().ok());
        said.push(line);
        if let Some(api) = api {
            return Ok(api);
        }
    }
}

/// Looks at everything in a store of a stopped node.
fn verify(data: &Path) -> Result<Value, String> {
    let verify = Command::new(env!("CARGO_BIN_EXE_osmia"))
        .args(["tools", "db-verify", "--json", "--network", "private_tangle1", "--data"])
        .arg(data)
        .output()
        .map_err(|error| error.to_string())?;
    // Whatever sled says of damage on the way, this is all that stands there.
    let report: Value = serde_json::from_slice(&verify.stdout).map_err(|error| error.to_string())?;
    if verify.status.success() { Ok(report) } else { Err(report["error"].as_str().unwrap().to_owned()) }
}

/// Harms a copy and lets the node mend it. Says the fault and what came of it.
fn one_fault(healthy: &Path, recording: &Recording, blocks: &[Vec<u8>], seed: u64) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    copy(healthy, folder.path());
    let fault = harm(&folder.path().join("data"), &mut Dice(seed));
    let (said, report, processes) = mended(folder.path(), blocks, &format!("fault {seed}, {fault}"));
    // It is still the same to others.
    assert_eq!(peer_id(folder.path()), peer_id(healthy), "fault {seed}, {fault}: {said:#?}");
    let confirmed = report["ledgerIndex"].as_u64().unwrap();
    if confirmed == 466 {
        let hash = recording.ledger_hash("database at 466");
        assert_eq!(report["ledgerHash"], hash, "fault {seed}, {fault}: {said:#?}");
    }
    // The snapshot at least was whole, or the epochs were.
    assert!(confirmed >= 400, "fault {seed}, {fault}: {said:#?}");
    let mended = said.iter().any(|line| line.contains("heals itself"));
    let outcome = match (mended, confirmed) {
        (false, 466) => "unharmed".to_owned(),
        (true, 466) => "mended, nothing lost".to_owned(),
        (_, confirmed) => format!("mended: {mended}, ends at {confirmed}"),
    };
    (fault, if processes > 1 { format!("{outcome}, {processes} processes") } else { outcome })
}

fn peer_id(folder: &Path) -> String {
    osmia::identity::Identity::load(&folder.join("data/identity")).unwrap().unwrap().peer_id()
}

/// Lets a node mend what it has. What it said, what there is then, and the most processes that a start took.
fn mended(folder: &Path, blocks: &[Vec<u8>], fault: &str) -> (Vec<String>, Value, u32) {
    let (mut said, mut processes) = (Vec::new(), 0);
    for _ in 0..8 {
        let node = Patient::start(folder);
        processes = processes.max(node.processes);
        let good = node.shows_nothing_false(blocks);
        let confirmed = if good { node.confirmed() } else { 0 };
        said.extend(node.stop());
        if !good {
            continue;
        }
        // It reads everything, and what it finds the next start mends.
        match verify(&folder.join("data")) {
            Ok(report) => {
                assert_eq!(report["ledgerIndex"], confirmed, "{fault}: {said:#?}");
                return (said, report, processes);
            }
            Err(problem) => said.push(problem),
        }
    }
    panic!("never mended: {fault}: {said:#?}");
}

/// What happens to a node's folder.
type Harm<'a> = &'a dyn Fn(&Path);

/// What a run tells of itself beside the databases may be wrong, and an epoch may be gone: nothing else is lost for that.
#[test]
fn no_more_is_lost_than_what_is_gone() {
    let healthy = tempfile::tempdir().unwrap();
    let recording = self::healthy(healthy.path());
    let blocks = recording.blocks();
    let claim = |data: &Path| {
        let bytes = [500_u32.to_be_bytes(), (!500_u32).to_be_bytes()].concat();
        fs::write(data.join("store/head"), bytes).unwrap();
    };
    // Ten epochs of 47 milestones; the newest of 43.
    let faults: [(&str, u64, Harm<'_>); 6] = [
        ("head too high", 466, &claim),
        ("the same after a power cut", 466, &|data| {
            claim(data);
            fs::remove_file(data.join("store/stopped")).unwrap();
        }),
        ("folders for files", 466, &|data| {
            for name in ["head", "journal", "format", "stopped"] {
                let _ = fs::remove_file(data.join("store").join(name));
                fs::create_dir_all(data.join("store").join(name).join("more")).unwrap();
            }
        }),
        ("a file for the ledger", 466, &|data| {
            fs::remove_dir_all(data.join("store/ledger")).unwrap();
            fs::write(data.join("store/ledger"), "none").unwrap();
        }),
        ("newest epoch gone", 423, &|data| fs::remove_dir_all(data.join("store/e00000010")).unwrap()),
        ("newest epoch gone after a power cut", 423, &|data| {
            fs::remove_dir_all(data.join("store/e00000010")).unwrap();
            fs::remove_file(data.join("store/stopped")).unwrap();
        }),
    ];
    for (fault, left, harm) in faults {
        let folder = tempfile::tempdir().unwrap();
        copy(healthy.path(), folder.path());
        harm(&folder.path().join("data"));
        let (said, report, processes) = mended(folder.path(), &blocks, fault);
        assert_eq!(processes, 1, "{fault}: {said:#?}");
        assert_eq!(report["ledgerIndex"], left, "{fault}: {said:#?}");
        // Those after the snapshot, if the ledger was made again.
        let from = if said.iter().any(|line| line.contains("snapshot loaded")) { 400 } else { 0 };
        assert_eq!(report["milestones"], left - from, "{fault}: {said:#?}");
        let keeps_ledger = ["head too high", "folders for files"].contains(&fault);
        assert_eq!(from == 0, keeps_ledger, "{fault}: {said:#?}");
        if left == 466 {
            let hash = recording.ledger_hash("database at 466");
            assert_eq!(report["ledgerHash"], hash, "{fault}: {said:#?}");
        }
    }
}

/// Nobody starts it again: it does so itself, in the same process.
#[test]
fn damage_that_is_found_while_it_runs_is_mended_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let recording = healthy(folder.path());
    let blocks = recording.blocks();
    let mut node = Patient::start(folder.path());
    // Epochs are opened when they are read.
    for slab in files(&folder.path().join("data/store/e00000003/slabs")) {
        let length = fs::metadata(&slab).unwrap().len();
        fs::write(&slab, vec![0x5a; usize::try_from(length).unwrap()]).unwrap();
    }
    assert!(!node.shows_nothing_false(&blocks));
    node.api = address(&node.log, &mut node.said).unwrap_or_else(|error| panic!("{error}: {:#?}", node.said));
    assert!(node.shows_nothing_false(&blocks));
    assert_eq!(node.confirmed(), 466);
    assert!(node.child.try_wait().unwrap().is_none());
    let said = node.stop();
    assert!(said.iter().any(|line| line.contains("starting again")), "{said:#?}");
    let report = verify(&folder.path().join("data")).unwrap();
    assert_eq!(report["ledgerHash"], recording.ledger_hash("database at 466"));
    // The same for what is found while it starts.
    for slab in files(&folder.path().join("data/store/e00000009/slabs")) {
        fs::write(slab, "").unwrap();
    }
    let node = Patient::start(folder.path());
    assert_eq!((node.processes, node.confirmed()), (1, 466), "{:#?}", node.said);
    assert!(node.said.iter().any(|line| line.contains("starting again")), "{:#?}", node.said);
    assert!(node.shows_nothing_false(&blocks));
    node.stop();
    let report = verify(&folder.path().join("data")).unwrap();
    assert_eq!(report["ledgerHash"], recording.ledger_hash("database at 466"));
}

#[test]
fn a_node_comes_back_from_any_single_fault() {
    let folder = tempfile::tempdir().unwrap();
    let recording = healthy(folder.path());
    let blocks = recording.blocks();
    let faults = std::env::var("OSMIA_FAULTS").ok().map_or(FAULTS, |count| count.parse().unwrap());
    let first = std::env::var("OSMIA_FIRST_FAULT").ok().map_or(0, |seed| seed.parse().unwrap());
    let next = AtomicU64::new(first);
    let outcomes = std::sync::Mutex::new(BTreeMap::<String, u32>::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + faults {
                        return;
                    }
                    let (fault, outcome) = one_fault(folder.path(), &recording, &blocks, seed);
                    eprintln!("{seed}: {fault}: {outcome}");
                    *outcomes.lock().unwrap().entry(outcome).or_default() += 1;
                }
            });
        }
    });
    eprintln!("{:#?}", outcomes.into_inner().unwrap());
}
