//! Power cuts at any moment of a store's life: import, blocks of clients, milestones, snapshots, pruning.
//!
//! A program (this one, started again) lives that life while `tests/powercut/shim.rs` notes every change of a file; [`disk`]
//! makes of that what a cut after any of these notes may leave. Every such folder must open by itself, without anything to
//! mend, and hold all that was acknowledged before the cut.
//!
//! 60 cuts in each run of the tests; `OSMIA_CUTS=2000` asks for others. That the test sees a missing barrier is a test, too: a
//! disk that is deaf to one file's sync loses what it should.

mod disk;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use osmia::engine::effect::Effect;
use osmia::engine::{Engine, Network, Origin, Start, checked};
use osmia::keeper::{Keeper, Sizes};
use osmia::protocol::block;
use osmia::protocol::hex;
use osmia::protocol::id::{BlockId, MilestoneIndex};
use osmia::snapshot::hash::LedgerHash;
use osmia::store::{Limits, Reader, Store};

use self::disk::{Disk, Event};
use crate::damage::Dice;
use crate::recorded_store::{authority, found};
use crate::recording::Recording;

const NETWORK: &str = "private_tangle1";

/// Longer than a check takes while other tests run.
const LIMIT: Duration = Duration::from_secs(60);

/// More say nothing new.
const MOST_PROBLEMS: usize = 10;

/// Epochs of four milestones.
const LIMITS: Limits = Limits { keep_milestones: 40, live_milestones: 20, cache_bytes: 1 << 20 };

/// The life ends there.
const LAST: u32 = 130;

/// Its files, in the folder.
const STORE: &str = "store";
const SNAPSHOTS: &str = "snapshots";
/// What was acknowledged, a line each; not a file of the disk's.
const SAID: &str = "said";

fn ledger_hash(reader: &Reader) -> String {
    let mut hash = LedgerHash::new(reader.ledger_index(), reader.treasury().unwrap());
    reader.all_unspent().for_each(|output| hash.add(&output.unwrap()));
    hex::encode(&hash.finish(Vec::new()).0)
}

/// Says what is promised: from here on it must survive.
struct Voice(fs::File);

impl Voice {
    fn say(&mut self, words: &str) {
        self.0.write_all(format!("{words}\n").as_bytes()).unwrap();
    }
}

/// The life of a store: imports a genesis, takes a recorded network's blocks as a client's, confirms, takes snapshots, prunes.
fn live(folder: &Path) {
    let recording = Recording::of("tangle-a");
    let mut voice = Voice(fs::File::create(folder.join(SAID)).unwrap());
    let mut store = Store::open(&folder.join(STORE), NETWORK, LIMITS).unwrap();
    let base = found(&recording, &mut store);
    voice.say("founded");
    store.recover(0).unwrap();
    let network = Network { params: base.schedule.active.clone(), authority: authority(&recording) };
    let (reader, keeper) = (store.reader(), Keeper::open(folder.join(SNAPSHOTS)));
    let mut engine = Engine::new(Start::at(&base));
    let mut waiting = Vec::new();
    for bytes in recording.blocks() {
        let checked = checked::check(&network, Arc::from(bytes)).unwrap();
        engine.submit(&reader, checked, Origin::Local, 0).unwrap();
        loop {
            while let Some(effect) = engine.poll() {
                match effect {
                    Effect::Store { id, bytes, forward: _ } => {
                        store.put_block(&id, &bytes, true).unwrap();
                        waiting.push(id);
                    }
                    Effect::Request { .. } => {}
                    Effect::Commit(confirmation) => {
                        let index = confirmation.stamp.index;
                        voice.say(&format!("begins {index}"));
                        store.commit(&confirmation).unwrap();
                        voice.say(&format!("confirmed {index} {}", ledger_hash(&reader)));
                        tend(&mut store, &engine, &keeper, index, &mut voice);
                        if index.0 == LAST {
                            return;
                        }
                    }
                }
            }
            if !engine.advance(&reader).unwrap() {
                break;
            }
        }
        // A batch of clients is answered at once.
        if waiting.len() >= 3 {
            store.sync_journal().unwrap();
            waiting.drain(..).for_each(|id: BlockId| voice.say(&format!("block {id}")));
        }
    }
}

/// What else goes on between milestones.
fn tend(store: &mut Store, engine: &Engine, keeper: &Keeper, index: MilestoneIndex, voice: &mut Voice) {
    if index.0.is_multiple_of(15) && index.0 > 30 {
        let target = MilestoneIndex(index.0 - 20);
        keeper.lead_on(&store.reader(), target, Sizes { small_delta: 9_000, percent: 0 }).unwrap();
        voice.say(&format!("snapshot {target}"));
    }
    if index.0 % 22 == 21 && index.0 > 40 {
        let target = MilestoneIndex(index.0 - 23);
        voice.say(&format!("prunes {target}"));
        let pruning = store.begin_prune(target, engine.unreferenced()).unwrap();
        let pruned = store.finish_prune(pruning.run().unwrap()).unwrap();
        voice.say(&format!("pruned {pruned}"));
    }
}

/// As another process: under the shim, in the folder that it is told; else only whether it goes well.
#[test]
fn a_store_lives() {
    match std::env::var_os("POWERCUT_ROOT") {
        Some(root) => live(Path::new(&root)),
        None => live(tempfile::tempdir().unwrap().path()),
    }
}

/// Builds the shim beside this program: `cargo test` alone makes no library of an example.
fn shim(own: &Path) -> PathBuf {
    let profile = own.parent().and_then(Path::parent).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["build", "--features", "image", "--example", "powercut", "--target-dir"])
        .arg(profile.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    profile.join("examples/libpowercut.so")
}

/// All that a life did to its files.
fn life() -> Vec<Event> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    let own = std::env::current_exe().unwrap();
    let shim = shim(&own);
    let output = Command::new(own)
        .args(["--exact", "powercut::a_store_lives", "--nocapture"])
        .env("LD_PRELOAD", shim)
        .env("POWERCUT_ROOT", &root)
        .env("POWERCUT_TRACE", folder.path().join("trace"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    disk::events(&fs::read(folder.path().join("trace")).unwrap())
}

/// What was said until then.
#[derive(Debug, Default, Clone)]
struct Said {
    founded: bool,
    /// Ledger hash at each milestone.
    hashes: BTreeMap<u32, String>,
    confirmed: u32,
    begun: u32,
    blocks: Vec<BlockId>,
    snapshot: u32,
    /// The most that may be gone, by request.
    prunes: u32,
    pruned: u32,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let words = line.split(' ').collect::<Vec<_>>();
        let number = || words[1].parse().unwrap();
        match words[0] {
            "founded" => self.founded = true,
            "begins" => self.begun = number(),
            "confirmed" => {
                self.confirmed = number();
                self.hashes.insert(number(), words[2].to_owned());
            }
            "block" => self.blocks.push(BlockId::from_hex(words[1]).unwrap()),
            "snapshot" => self.snapshot = number(),
            "prunes" => self.prunes = number(),
            "pruned" => self.pruned = number(),
            other => panic!("{other}"),
        }
    }
}

/// Opens what a cut left, as a start does, and compares it with what was said.
fn check(folder: &Path, said: &Said, hashes: &BTreeMap<u32, String>) -> Result<(), String> {
    let wrong = |error: osmia::store::Error| error.to_string();
    let mut store = Store::open(&folder.join(STORE), NETWORK, LIMITS).map_err(wrong)?;
    if store.is_empty().map_err(wrong)? {
        let said_nothing = !said.founded && said.confirmed == 0;
        return said_nothing.then_some(()).ok_or_else(|| "the imported ledger is gone".to_owned());
    }
    let recovered = store.recover(20).map_err(wrong)?;
    let confirmed = recovered.confirmed.map_or(0, |milestone| milestone.stamp().index.0);
    if confirmed < said.confirmed || confirmed > said.begun.max(said.confirmed) {
        return Err(format!("milestone {confirmed}, but {} was confirmed", said.confirmed));
    }
    let reader = store.reader();
    if confirmed > 0 && hashes.get(&confirmed) != Some(&ledger_hash(&reader)) {
        return Err(format!("another ledger at {confirmed}"));
    }
    let pruned = store.pruning_index().map_err(wrong)?.0;
    // An epoch more than what is to be kept may have vanished, and what was asked for.
    if pruned > said.prunes.max(confirmed.saturating_sub(LIMITS.keep_milestones)) {
        return Err(format!("pruned to {pruned} at {confirmed}"));
    }
    if pruned < said.pruned {
        return Err(format!("pruned to {pruned}, said {}", said.pruned));
    }
    for id in &said.blocks {
        let Some(bytes) = reader.block(id).map_err(wrong)? else {
            // Only what was pruned with its milestone may be gone; the last ones never are.
            if pruned == 0 || said.blocks.iter().rev().take(20).any(|last| last == id) {
                return Err(format!("block {id} was acknowledged, and is gone"));
            }
            continue;
        };
        if block::id_of(&bytes) != *id {
            return Err(format!("block {id} is another"));
        }
    }
    let keeper = Keeper::open(folder.join(SNAPSHOTS));
    let (there, whole) = (keeper.files(), keeper.whole_files(false));
    if there != whole {
        return Err(format!("snapshot files {there:?} do not fit their checksums, these do: {whole:?}"));
    }
    match whole {
        None if said.snapshot == 0 => Ok(()),
        None => Err("the snapshot is gone".to_owned()),
        Some((full, delta)) => {
            let loaded = osmia::keeper::fetch::check(&full, delta.as_deref(), None);
            let target = loaded.map_err(|error| format!("snapshot: {error}"))?.base.target.index.0;
            let long_enough = target >= said.snapshot;
            long_enough.then_some(()).ok_or_else(|| format!("snapshot of {target}, said {}", said.snapshot))
        }
    }
}

/// Cuts power after random events; gives what went wrong.
fn cuts(events: &[Event], count: usize, seed: u64, deaf: &(dyn Fn(&str) -> bool + Sync)) -> Vec<String> {
    let hashes = Arc::new({
        let mut said = Said::default();
        each(events, deaf, |_, _, line| line.iter().for_each(|line| said.hear(line)));
        said.hashes
    });
    let mut dice = Dice(seed);
    let mut moments = (0..count).map(|_| dice.below(events.len())).collect::<Vec<_>>();
    moments.sort_unstable();
    let (problems, number) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
    let mut said = Said::default();
    let mut left = Vec::new();
    let mut moments = moments.into_iter().peekable();
    let judge = |left: &mut Vec<(tempfile::TempDir, Said)>| {
        std::thread::scope(|scope| {
            for (folder, said) in left.drain(..) {
                let (problems, number, hashes) = (&problems, &number, hashes.clone());
                scope.spawn(move || {
                    let number = number.fetch_add(1, Ordering::Relaxed);
                    if std::env::var_os("OSMIA_KEEP").is_some() {
                        let kept = std::env::temp_dir().join(format!("cut-{number}"));
                        let _ =
                            std::process::Command::new("cp").arg("-r").arg(folder.path()).arg(kept).status();
                    }
                    // A database that lost what it should not may keep whoever opens it for ever.
                    let (done, wait) = std::sync::mpsc::channel();
                    let run = move || {
                        let checked = check(folder.path(), &said, &hashes);
                        let _ = done.send(checked);
                    };
                    std::thread::Builder::new().stack_size(8 << 20).spawn(run).unwrap();
                    let checked = wait.recv_timeout(LIMIT);
                    let checked = checked.unwrap_or_else(|error| Err(format!("opening it: {error}")));
                    if let Err(problem) = checked {
                        problems.lock().unwrap().push(format!("cut {number}: {problem}"));
                    }
                });
            }
        });
    };
    each(events, deaf, |at, disk, lines| {
        lines.iter().for_each(|line| said.hear(line));
        while moments.next_if_eq(&at).is_some() && problems.lock().unwrap().len() < MOST_PROBLEMS {
            let folder = tempfile::Builder::new().tempdir_in(memory()).unwrap();
            disk.cut(folder.path(), &mut dice);
            left.push((folder, said.clone()));
            if left.len() >= 4 {
                judge(&mut left);
            }
        }
    });
    judge(&mut left);
    problems.into_inner().unwrap()
}

/// Where files need no disk.
fn memory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() }
}

/// The disk after each event, and what was said with it.
fn each(events: &[Event], deaf: &dyn Fn(&str) -> bool, mut look: impl FnMut(usize, &Disk, &[String])) {
    let mut disk = Disk::default();
    let mut voice = None;
    for (at, event) in events.iter().enumerate() {
        let mut lines = Vec::new();
        if let Event::Open { fd, path, .. } = event
            && path == SAID
        {
            voice = Some(*fd);
        } else if let Event::Write { fd, bytes, .. } = event
            && Some(*fd) == voice
        {
            lines.extend(String::from_utf8_lossy(bytes).lines().map(str::to_owned));
        } else {
            disk.step(event, deaf);
        }
        look(at, &disk, &lines);
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_a_power_cut() {
    let events = life();
    let count = std::env::var("OSMIA_CUTS").ok().map_or(60, |count| count.parse().unwrap());
    let seed = std::env::var("OSMIA_SEED").ok().map_or(1, |seed| seed.parse().unwrap());
    let problems = cuts(&events, count, seed, &|_| false);
    assert!(problems.is_empty(), "{} of {count}: {problems:#?}", problems.len());
    // The test sees what it should: a disk that does not hear of one of the barriers loses what was promised.
    for deaf_to in ["store/journal", "metadata/log_"] {
        // One after the other, until something is lost.
        let mut seeds = (0..40).map(|more| seed + more);
        let lost = seeds.any(|seed| !cuts(&events, 1, seed, &|path| path.contains(deaf_to)).is_empty());
        assert!(lost, "nothing is lost without the barrier of {deaf_to}");
    }
}
