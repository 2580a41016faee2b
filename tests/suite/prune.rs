//! Pruning to an exact milestone: what stays is untouched, what goes gives its disk space back, power may fail meanwhile.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use osmia::protocol::id::MilestoneIndex;
use osmia::store::{Limits, PruneError, Store};
use serde_json::{Value, json};

use crate::node::Node;
use crate::snapshot::{Model, loaded, written};

/// All in one epoch, until something is pruned.
const LIMITS: Limits = Limits { keep_milestones: 10_000, live_milestones: 5, cache_bytes: 1 << 20 };

fn open(folder: &Path) -> Store {
    Store::open(folder, "test", LIMITS).unwrap()
}

fn store_of(folder: &Path, milestones: u32) -> (Store, Model) {
    let mut store = open(folder);
    let mut model = Model::new(31, 5, &mut store);
    (0..milestones).for_each(|_| model.step(&mut store));
    (store, model)
}

fn prune(store: &mut Store, target: u32) -> Result<u32, PruneError> {
    let begun = store.begin_prune(MilestoneIndex(target), HashSet::new())?;
    store.finish_prune(begun.run()?).map(|index| index.0)
}

/// Everything of the milestones after `pruned` is there, nothing of those up to it.
fn check(store: &Store, model: &Model, pruned: u32) {
    let reader = store.reader();
    assert_eq!(store.pruning_index().unwrap().0, pruned);
    let newest = u32::try_from(model.diffs.len()).unwrap();
    for index in 1..=newest {
        let diff = &model.diffs[index as usize - 1];
        let (milestone, delta) =
            (reader.milestone(MilestoneIndex(index)).unwrap(), reader.delta(MilestoneIndex(index)).unwrap());
        let by_id = reader.milestone_index(&diff.milestone.essence.id()).unwrap();
        let blocks = model.blocks[index as usize - 1].iter().map(|id| {
            let reference = reader.reference(id).unwrap().map(|reference| reference.milestone.0);
            (reader.block(id).unwrap().is_some(), reference)
        });
        let blocks = blocks.collect::<Vec<_>>();
        if index <= pruned {
            assert!(milestone.is_none() && delta.is_none() && by_id.is_none(), "{index}");
            assert!(blocks.iter().all(|found| *found == (false, None)), "blocks of {index}: {blocks:?}");
            continue;
        }
        assert_eq!(milestone.unwrap().milestone, diff.milestone);
        assert_eq!(by_id, Some(MilestoneIndex(index)));
        let delta = delta.unwrap();
        assert!(delta.created == diff.created && delta.consumed == diff.consumed, "{index}");
        assert!(blocks.iter().all(|found| *found == (true, Some(index))), "blocks of {index}: {blocks:?}");
        for spent in &diff.consumed {
            let record = reader.output(&spent.booked.id).unwrap().unwrap();
            assert_eq!(record.spent, Some((spent.transaction, MilestoneIndex(index))));
        }
    }
    // The ledger does not care.
    let target = newest.min(pruned + 3).max(pruned);
    assert!(loaded(&written(store, target), None).1 == model.history[target as usize]);
}

#[test]
fn what_stays_is_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, mut model) = store_of(folder.path(), 60);
    check(&store, &model, 0);
    assert_eq!(prune(&mut store, 20).unwrap(), 20);
    check(&store, &model, 20);
    let error = prune(&mut store, 20).unwrap_err().to_string();
    assert_eq!(error, "no pruning needed: pruned to 20, wanted 20, possible 55");
    (0..10).for_each(|_| model.step(&mut store));
    // Across two epochs, one of which vanishes.
    assert_eq!(prune(&mut store, 64).unwrap(), 64);
    check(&store, &model, 64);
    // No further than what new blocks may stand on.
    (0..3).for_each(|_| model.step(&mut store));
    assert_eq!(prune(&mut store, 1_000).unwrap(), 68);
    check(&store, &model, 68);
    drop(store);
    let mut store = open(folder.path());
    store.recover(5).unwrap();
    check(&store, &model, 68);
    (0..3).for_each(|_| model.step(&mut store));
    check(&store, &model, 68);
}

/// Blocks that came early and were referenced late stay; so do those that may be referenced yet, and no others.
#[test]
fn a_block_stays_as_long_as_a_milestone_or_the_future_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, mut model) = store_of(folder.path(), 10);
    let early = model.put_late_block(&mut store, 1);
    let never = model.put_late_block(&mut store, 2);
    (0..10).for_each(|_| model.step(&mut store));
    // An epoch of its own for what came early.
    assert_eq!(prune(&mut store, 5).unwrap(), 5);
    model.late.push(early);
    model.step(&mut store);
    let open = model.put_late_block(&mut store, 3);
    (0..9).for_each(|_| model.step(&mut store));
    assert_eq!(prune(&mut store, 20).unwrap(), 20);
    let known = |id| store.reader().block(&id).unwrap().is_some();
    assert_eq!((known(early), known(never), known(open)), (true, false, true));
    let reference = store.reader().reference(&early).unwrap().unwrap();
    assert_eq!(reference.milestone.0, 21);
    check(&store, &model, 20);
}

#[test]
fn power_may_fail_while_an_epoch_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, mut model) = store_of(folder.path(), 60);
    let begun = store.begin_prune(MilestoneIndex(30), HashSet::new()).unwrap();
    let done = begun.run().unwrap();
    let number = |letter: char| folder.path().join(format!("{letter}00000001"));
    assert!(number('c').exists() && number('e').exists());
    drop((store, done));
    // Before the first renaming: nothing has happened.
    let mut store = open(folder.path());
    store.recover(5).unwrap();
    assert!(!number('c').exists());
    check(&store, &model, 0);
    // Once the copy is ready, it is finished, whatever of it was done.
    (0..10).for_each(|_| model.step(&mut store));
    assert_eq!(prune(&mut store, 20).unwrap(), 20);
    (0..20).for_each(|_| model.step(&mut store));
    // Of two epochs the first vanishes, the second is copied.
    let begun = store.begin_prune(MilestoneIndex(75), HashSet::new()).unwrap();
    let done = begun.run().unwrap();
    drop((store, done));
    let copies = tempfile::tempdir().unwrap();
    for renamed in 0..=3 {
        let copy = copies.path().join(renamed.to_string());
        fs::create_dir(&copy).unwrap();
        crate::store::copy(folder.path(), &copy);
        let steps = [("c00000002", "n00000002"), ("e00000001", "x00000001"), ("e00000002", "x00000002")];
        for (from, to) in &steps[..renamed] {
            fs::rename(copy.join(from), copy.join(to)).unwrap();
        }
        let mut store = open(&copy);
        store.recover(5).unwrap();
        check(&store, &model, if renamed == 0 { 20 } else { 75 });
        let left = fs::read_dir(&copy).unwrap().map(|one| one.unwrap().file_name().into_string().unwrap());
        let left = left.filter(|name| name.starts_with(['c', 'n', 'x'])).collect::<Vec<_>>();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn disk_space_comes_back_and_the_route_is_hornet_s() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "[network]\nname = \"pruned\"\nbelow_max_depth = 1\n");
    let ask = |request: &Value| node.control(&folder.path().join("data"), "database/prune", request);
    for wrong in
        [json!({}), json!({ "index": 1, "depth": 2 }), json!({ "index": "x" }), json!({ "depth": -1 })]
    {
        assert_eq!(ask(&wrong).0, 400, "{wrong}");
    }
    for refused in
        [json!({ "index": 1 }), json!({ "depth": 1_000_000 }), json!({ "targetDatabaseSize": "9TB" })]
    {
        let (status, answer) = ask(&refused);
        assert_eq!(status, 500, "{refused}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("pruning database failed"), "{answer}");
    }
    node.wait_confirmed(12);
    assert_eq!(ask(&json!({ "index": 3 })), (200, json!({ "index": 3 })));
    assert_eq!(node.json("/api/core/v2/info")["status"]["pruningIndex"], 3);
    assert_eq!(node.get("/api/core/v2/milestones/by-index/3").status, 404);
    assert_eq!(node.get("/api/core/v2/milestones/by-index/4").status, 200);
    let (status, answer) = ask(&json!({ "depth": 7 }));
    assert!(status == 200 && answer["index"].as_u64() >= Some(5), "{answer}");
    let (status, answer) = ask(&json!({ "targetDatabaseSize": "1KB" }));
    // As far as is possible, unless that is so already.
    assert!(status == 200 || answer.to_string().contains("no pruning needed"), "{answer}");
    node.wait_confirmed(15);
    node.stop();
    let left = fs::read_dir(folder.path().join("data/store")).unwrap().map(|one| one.unwrap().file_name());
    let left = left.filter(|name| name.to_string_lossy().starts_with('c')).count();
    assert_eq!(left, 0);
}

/// Nearly all of 20,000 blocks.
#[test]
fn nearly_all_disk_space_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let mut model = Model::new(32, 5, &mut store);
    for round in 0..100 {
        (0..200).for_each(|number| {
            let id = model.put_late_block(&mut store, round * 1_000 + number);
            model.late.push(id);
        });
        model.step(&mut store);
    }
    let before = epochs(folder.path());
    assert_eq!(prune(&mut store, 1_000).unwrap(), 95);
    // Unlinking goes on beside.
    let started = Instant::now();
    while folder.path().join("x00000001").exists() {
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(10));
    }
    let after = epochs(folder.path());
    // What stays is a twentieth, and what two empty epochs take.
    let new = tempfile::tempdir().unwrap();
    drop(open(new.path()));
    let empty = 2 * epochs(new.path());
    assert!(after < before / 8 + empty, "{before} to {after} bytes, {empty} empty");
    assert_eq!(store.pruning_index().unwrap().0, 95);
}

/// Bytes on disk of all epochs: the ledger is not pruned.
fn epochs(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let epochs = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with('e'));
    epochs.map(|entry| disk(&entry.path())).sum()
}

fn disk(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let bytes = |entry: fs::DirEntry| match entry.file_type().unwrap().is_dir() {
        true => disk(&entry.path()),
        false => std::os::unix::fs::MetadataExt::blocks(&entry.metadata().unwrap()) * 512,
    };
    entries.map(bytes).sum()
}
