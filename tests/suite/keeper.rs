//! Snapshots that a node takes by itself: deltas in place, power cuts meanwhile, and a start from them.

use std::fs;
use std::io::Read;
use std::path::Path;

use osmia::keeper::automatic::Rules;
use osmia::keeper::{self, Keeper, Kind, Sizes};
use osmia::protocol::block::Payload;
use osmia::protocol::id::MilestoneIndex;
use osmia::protocol::tagged_data::TaggedData;
use osmia::snapshot::Base;
use osmia::snapshot::delta::DeltaReader;
use osmia::snapshot::full::FullReader;
use osmia::snapshot::load::{self, Loaded};
use osmia::store::Store;
use serde_json::Value;

use crate::node::Node;
use crate::snapshot::{Model, Outputs, loaded, open};

const FULL: &str = "full_snapshot.bin";
const DELTA: &str = "delta_snapshot.bin";
const UNDO: &str = "delta_snapshot.undo";

/// What an empty store would begin with.
fn kept(keeper: &Keeper) -> (Base, Outputs) {
    let (full, delta) = keeper.files().unwrap();
    loaded(&fs::read(full).unwrap(), delta.map(|delta| fs::read(delta).unwrap()).as_deref())
}

struct Kept {
    store: Store,
    model: Model,
    keeper: Keeper,
    /// The rest goes with it.
    folder: tempfile::TempDir,
}

/// A store of 60 milestones, of which nothing is kept yet.
fn kept_of(seed: u64) -> Kept {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder.path().join("store"));
    let mut model = Model::new(seed, 5, &mut store);
    (0..60).for_each(|_| model.step(&mut store));
    let keeper = Keeper::open(folder.path().join("snapshots"));
    Kept { store, model, keeper, folder }
}

impl Kept {
    fn lead_on(&self, target: u32, sizes: Sizes) -> Kind {
        let kind = self.keeper.lead_on(&self.store.reader(), MilestoneIndex(target), sizes).unwrap();
        let (base, outputs) = kept(&self.keeper);
        assert_eq!(base.target.index.0, target);
        assert!(outputs == self.model.history[target as usize], "ledger at {target}");
        kind
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("snapshots").join(name)
    }
}

#[test]
fn a_snapshot_is_led_on_by_a_delta_until_that_is_too_long() {
    let kept = kept_of(11);
    assert_eq!(kept.keeper.files(), None);
    let never = Sizes { small_delta: 0, percent: 0 };
    assert_eq!(kept.lead_on(20, Sizes::HORNET), Kind::Full);
    assert_eq!(kept.lead_on(30, Sizes::HORNET), Kind::Delta);
    let (first, full) = (fs::read(kept.file(DELTA)).unwrap(), fs::read(kept.file(FULL)).unwrap());
    assert_eq!(kept.lead_on(31, Sizes::HORNET), Kind::Delta);
    assert_eq!(kept.lead_on(45, Sizes::HORNET), Kind::Delta);
    // In place: the diffs that stood there stay, the full snapshot is not touched.
    let last = fs::read(kept.file(DELTA)).unwrap();
    let head = osmia::snapshot::delta::Header::BYTES;
    assert_eq!(first[head..first.len() - 32], last[head..first.len() - 32]);
    assert_eq!(full, fs::read(kept.file(FULL)).unwrap());
    assert_eq!(kept.lead_on(50, never), Kind::Full);
    assert!(!kept.file(DELTA).exists());
    // One that an older full snapshot was led on by, as a power cut may leave it, neither counts nor stays.
    fs::write(kept.file(DELTA), last).unwrap();
    assert_eq!(kept.keeper.files().unwrap().1, None);
    assert_eq!(kept.lead_on(55, Sizes::HORNET), Kind::Delta);
    let wanted =
        ["delta_snapshot.bin", "delta_snapshot.bin.sums", "full_snapshot.bin", "full_snapshot.bin.sums"];
    let mut names =
        fs::read_dir(kept.file("")).unwrap().map(|one| one.unwrap().file_name()).collect::<Vec<_>>();
    names.sort();
    assert_eq!(names, wanted);
}

/// Power fails while the delta is extended: after any part of what is written, in any order.
#[test]
fn an_extension_that_power_cuts_short_is_undone() {
    let kept = kept_of(12);
    kept.lead_on(20, Sizes::HORNET);
    kept.lead_on(30, Sizes::HORNET);
    let before = fs::read(kept.file(DELTA)).unwrap();
    kept.lead_on(40, Sizes::HORNET);
    let after = fs::read(kept.file(DELTA)).unwrap();
    let head = osmia::snapshot::delta::Header::BYTES;
    let end = before.len() - 32;
    let undo = [&before[..head], &before[end..]].concat();
    let mixed = |header: &[u8], length: usize| {
        let mut mixed = after[..length].to_vec();
        mixed[..head].copy_from_slice(&header[..head]);
        mixed
    };
    let mut cuts = (end..=after.len()).step_by(61).collect::<Vec<_>>();
    cuts.push(after.len());
    for cut in cuts {
        for header in [&before, &after] {
            fs::write(kept.file(DELTA), mixed(header, cut)).unwrap();
            fs::write(kept.file(UNDO), &undo).unwrap();
            let keeper = Keeper::open(kept.file(""));
            assert!(fs::read(kept.file(DELTA)).unwrap() == before, "cut at {cut}");
            assert!(!kept.file(UNDO).exists());
            assert_eq!(self::kept(&keeper).0.target.index.0, 30);
        }
    }
    // And it goes on from there.
    kept.lead_on(50, Sizes::HORNET);
}

#[test]
fn damaged_files_are_replaced_and_history_that_is_gone_needs_a_full_snapshot() {
    let mut kept = kept_of(13);
    kept.lead_on(20, Sizes::HORNET);
    kept.lead_on(30, Sizes::HORNET);
    // A file that ends too early is not gone on with.
    let bytes = fs::read(kept.file(DELTA)).unwrap();
    fs::write(kept.file(DELTA), &bytes[..bytes.len() - 5]).unwrap();
    assert_eq!(kept.lead_on(40, Sizes::HORNET), Kind::Delta);
    fs::write(kept.file(FULL), b"nothing").unwrap();
    assert_eq!(kept.lead_on(41, Sizes::HORNET), Kind::Full);
    // The store keeps 200 milestones: what follows milestone 41 is pruned.
    (0..400).for_each(|_| kept.model.step(&mut kept.store));
    assert!(kept.store.pruning_index().unwrap().0 > 100);
    assert_eq!(kept.lead_on(440, Sizes::HORNET), Kind::Full);
    assert_eq!(kept.lead_on(445, Sizes::HORNET), Kind::Delta);
}

/// Who joins has to find the block of the milestone that it begins at, and what comes after it though this node goes on
/// pruning.
#[test]
fn what_joiners_get_holds_its_milestone_and_is_not_soon_pruned() {
    let mut kept = kept_of(14);
    let told = |kept: &Kept| {
        let mut bytes = Vec::new();
        kept.keeper.for_joiners(&kept.store.reader(), 20).unwrap().read_to_end(&mut bytes).unwrap();
        let (mut outputs, full) = (Outputs::new(), FullReader::new(bytes.as_slice()).unwrap());
        let Loaded { base, milestone } = load::load(full, None::<DeltaReader<&[u8]>>, &mut outputs).unwrap();
        let index = base.target.index;
        assert!(outputs == kept.model.history[index.0 as usize], "ledger at {index}");
        assert_eq!(milestone.map(|milestone| milestone.essence.index), Some(index));
        (index.0, bytes)
    };
    let (first, file) = told(&kept);
    assert_eq!(first, 40);
    // A snapshot is not written for each that asks.
    kept.model.step(&mut kept.store);
    assert_eq!(told(&kept).0, 40);
    let mut taken = std::collections::BTreeSet::new();
    for newest in 62..=500 {
        kept.model.step(&mut kept.store);
        let (target, _) = told(&kept);
        let pruned = kept.store.pruning_index().unwrap().0;
        assert!(target >= pruned + (newest - pruned) / 8, "{target} of {pruned} to {newest}");
        taken.insert(target);
    }
    assert!((3..=8).contains(&taken.len()), "{taken:?}");

    // Who has just begun there has nothing to tell before the next milestone.
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder.path().join("store"));
    let full = FullReader::new(file.as_slice()).unwrap();
    let begun = load::load(full, None::<DeltaReader<&[u8]>>, &mut store).unwrap();
    store.found(&begun.base).unwrap();
    let keeper = Keeper::open(folder.path().join("snapshots"));
    let refused = keeper.for_joiners(&store.reader(), 20);
    assert!(matches!(refused, Err(keeper::Error::TooSoon)), "{refused:?}");
}

/// HORNET's rule, with below max depth 15: `checkSnapshotLimits` and `shouldTakeSnapshot`.
#[test]
fn a_snapshot_is_due_when_hornet_takes_one() {
    let rules = Rules { depth: 50, interval: 200 };
    let cases = [
        // confirmed, latest, pruned, last, due
        (249, 249, 0, 0, None),
        (250, 250, 0, 0, Some(200)),
        (250, 251, 0, 0, None),
        (449, 449, 0, 200, None),
        (450, 450, 0, 200, Some(400)),
        (500, 500, 429, 0, Some(450)),
        (500, 500, 430, 0, None),
    ];
    for (confirmed, latest, pruned, last, due) in cases {
        let found = rules.due_at(
            MilestoneIndex(confirmed),
            MilestoneIndex(latest),
            MilestoneIndex(pruned),
            15,
            MilestoneIndex(last),
        );
        assert_eq!(found, due.map(MilestoneIndex), "{confirmed} {latest} {pruned} {last}");
    }
    // Solid entry points cannot be told sooner.
    let hasty = Rules { depth: 1, interval: 1 };
    let at = |index| {
        hasty.due_at(MilestoneIndex(index), MilestoneIndex(index), MilestoneIndex(0), 15, MilestoneIndex(0))
    };
    assert_eq!((at(40), at(41)), (None, Some(MilestoneIndex(21))));
}

/// The whole way: a founder takes its snapshots by itself, its store is lost, and it goes on from them; so does another
/// node.
#[test]
fn a_founder_goes_on_from_its_own_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let more = "[network]\nname = \"kept\"\nbelow_max_depth = 1\n[snapshots]\ndepth = 6\ninterval = 2\n";
    let node = Node::start(folder.path(), more);
    let data = folder.path().join("data");
    let delta = data.join("snapshots").join(DELTA);
    node.wait_for("delta snapshot", |_| delta.exists());
    node.wait_for("extended delta", |_| reached(&data) >= Some(11));
    node.stop();
    let reached = reached(&data).unwrap();
    fs::remove_dir_all(data.join("store")).unwrap();
    // What was signed since would be signed once more: the node serves, but issues nothing.
    let node = Node::start(folder.path(), more);
    node.wait_log("coordinator.resume_from = ");
    assert_eq!(node.confirmed(), u64::from(reached));
    node.stop();
    // Until the owner says that nobody has it.
    let more = format!("{more}[coordinator]\nenabled = true\ninterval_s = 1\nresume_from = {reached}\n");
    let (config, text) = (folder.path().join("node.toml"), Node::config(&more));
    let node = Node::start_with(&config, &text, &data);
    let info = node.json("/api/core/v2/info");
    assert!(info["status"]["pruningIndex"].as_u64() >= Some(u64::from(reached)), "{info}");
    node.wait_confirmed(u64::from(reached) + 3);
    let block = node.mined(Payload::TaggedData(TaggedData::new(b"on".to_vec(), Vec::new()).unwrap()));
    let answer = node.post("application/vnd.iota.serializer-v1", &block);
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    let metadata = format!("/api/core/v2/blocks/{}/metadata", answer["blockId"].as_str().unwrap());
    node.wait_for("reference", |node| node.json(&metadata)["referencedByMilestoneIndex"].is_u64());
    node.stop();
}

/// The milestone that the files of a node lead to.
fn reached(data: &Path) -> Option<u32> {
    let delta = fs::read(data.join("snapshots").join(DELTA)).ok()?;
    let reader = osmia::snapshot::delta::DeltaReader::new(delta.as_slice()).ok()?;
    Some(reader.header().target.0)
}
