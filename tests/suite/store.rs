//! The store alone: commit, reopen, rotate, prune, foreign and damaged folders.

use std::path::Path;

use osmia::engine::effect::Confirmation;
use osmia::ledger::{Delta, Inclusion, Referenced};
use osmia::protocol::block::{self, Block, Parents};
use osmia::protocol::id::{BlockId, MilestoneId, MilestoneIndex};
use osmia::protocol::milestone::{Essence, Milestone, Signature};
use osmia::snapshot::genesis;
use osmia::store::{Error, Limits, Recovered, Store};

const LIMITS: Limits = Limits { keep_milestones: 20, live_milestones: 5, cache_bytes: 1 << 20 };

fn open(folder: &Path) -> (Store, Recovered) {
    let mut store = Store::open(folder, "test", LIMITS).unwrap();
    if store.is_empty().unwrap() {
        let config = osmia::config::Config::parse("[coordinator]\nenabled = true\n").unwrap();
        store.found(&genesis::base(config.network.params)).unwrap();
    }
    let recovered = store.recover(20).unwrap();
    (store, recovered)
}

pub(crate) fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else if let Err(error) = std::fs::copy(entry.path(), target) {
            // A running store deletes a file that it renames.
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        }
    }
}

/// A block that differs by its nonce.
fn a_block(nonce: u64) -> (BlockId, Vec<u8>) {
    let parents = Parents::new(vec![BlockId::ZERO]).unwrap();
    let bytes = Block { protocol_version: 2, parents, payload: None, nonce }.pack();
    (block::id_of(&bytes), bytes)
}

fn confirmation(index: u32, referenced: &[BlockId]) -> Confirmation {
    let essence = Essence {
        index: MilestoneIndex(index),
        timestamp: 1_000 + index,
        protocol_version: 2,
        previous: MilestoneId::ZERO,
        parents: Parents::new(vec![BlockId::ZERO]).unwrap(),
        inclusion_merkle_root: [1; 32],
        applied_merkle_root: [2; 32],
        metadata: Vec::new(),
        options: Default::default(),
    };
    let signature = Signature { public_key: [3; 32], signature: [4; 64] };
    let milestone = Milestone::new(essence, vec![signature]).unwrap();
    Confirmation {
        block_id: BlockId([5; 32]),
        stamp: milestone.essence.stamp(),
        milestone,
        referenced: referenced
            .iter()
            .map(|id| Referenced { id: *id, inclusion: Inclusion::NoTransaction })
            .collect(),
        delta: Delta::default(),
        schedule: None,
    }
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, recovered) = open(folder.path());
    assert!(recovered.confirmed.is_none() && recovered.unreferenced.is_empty());
    let (first, first_bytes) = a_block(1);
    let (second, second_bytes) = a_block(2);
    store.put_block(&first, &first_bytes, false).unwrap();
    store.put_block(&second, &second_bytes, false).unwrap();
    store.commit(&confirmation(1, &[first])).unwrap();
    drop(store);

    let (store, recovered) = open(folder.path());
    let confirmed = recovered.confirmed.unwrap();
    assert_eq!(confirmed.stamp(), confirmation(1, &[]).stamp);
    assert_eq!(recovered.unreferenced, [second_bytes]);
    let reader = store.reader();
    assert_eq!(reader.block(&first).unwrap(), Some(first_bytes));
    let reference = reader.reference(&first).unwrap().unwrap();
    assert_eq!((reference.milestone, reference.white_flag_index), (MilestoneIndex(1), 0));
    assert_eq!(reader.reference(&second).unwrap(), None);
    assert_eq!(reader.milestone_index(&confirmed.stamp().id).unwrap(), Some(MilestoneIndex(1)));
}

#[test]
fn acknowledged_blocks_come_back_without_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    let (id, bytes) = a_block(7);
    store.put_block(&id, &bytes, true).unwrap();
    store.sync_journal().unwrap();
    // As after a power cut: what is on the disk now, without anything that an orderly end would write.
    let after = tempfile::tempdir().unwrap();
    copy(folder.path(), after.path());
    let (mut store, recovered) = open(after.path());
    assert_eq!(recovered.journal, std::slice::from_ref(&bytes));
    store.put_block(&id, &bytes, false).unwrap();
    store.commit(&confirmation(1, &[id])).unwrap();
    drop(store);
    assert!(open(after.path()).1.journal.is_empty());
}

#[test]
fn epochs_rotate_and_the_oldest_vanish_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    let reader = store.reader();
    for index in 1..=60 {
        let (id, bytes) = a_block(index.into());
        store.put_block(&id, &bytes, false).unwrap();
        store.commit(&confirmation(index, &[id])).unwrap();
    }
    let epochs = || {
        let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with('e')).count()
    };
    // 20 milestones in epochs of two, the one that is written to, and one that is not quite superfluous.
    assert!((10..=12).contains(&epochs()), "{} epochs", epochs());
    let pruned = store.pruning_index().unwrap().0;
    assert!((36..=40).contains(&pruned), "{pruned}");
    for index in 1..=60 {
        let kept = index > pruned;
        let (id, bytes) = a_block(index.into());
        assert_eq!(reader.block(&id).unwrap(), kept.then_some(bytes), "block {index}");
        assert_eq!(reader.milestone(MilestoneIndex(index)).unwrap().is_some(), kept, "milestone {index}");
        assert_eq!(reader.reference(&id).unwrap().is_some(), kept, "reference {index}");
    }
    drop((store, reader));
    let (store, recovered) = open(folder.path());
    assert_eq!(recovered.confirmed.unwrap().stamp().index, MilestoneIndex(60));
    assert_eq!(store.pruning_index().unwrap().0, pruned);
}

#[test]
fn an_unfinished_pruning_is_finished_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let trash = folder.path().join("x00000001");
    std::fs::create_dir(&trash).unwrap();
    std::fs::write(trash.join("slab"), "rest").unwrap();
    drop(open(folder.path()));
    assert!(!trash.exists());
}

/// What a crash can leave in an epoch's folder while sled opens it: a cookie cut short, a snapshot whose logs
/// are all older. However often it is opened then, the content stays.
#[test]
fn half_written_files_of_sled_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    let (id, bytes) = a_block(1);
    store.put_block(&id, &bytes, false).unwrap();
    store.commit(&confirmation(1, &[id])).unwrap();
    drop(store);
    // The second open folds the first log into a snapshot.
    drop(open(folder.path()));
    let epoch = folder.path().join("e00000001");
    for round in 0..4 {
        std::fs::write(epoch.join("durability_cookie"), &[0; 64][..round * 20]).unwrap();
        let metadata = epoch.join("metadata");
        let numbers = |prefix: &str| {
            let names = std::fs::read_dir(&metadata).unwrap().map(|entry| entry.unwrap().file_name());
            let names = names.map(|name| name.to_string_lossy().into_owned());
            names.filter_map(|name| name.strip_prefix(prefix).map(str::to_owned)).collect::<Vec<_>>()
        };
        // All logs are folded into the snapshot, and one that is no newer is left behind.
        let snapshot = numbers("snapshot_").into_iter().max().unwrap();
        for log in numbers("log_") {
            std::fs::remove_file(metadata.join(format!("log_{log}"))).unwrap();
        }
        std::fs::write(metadata.join(format!("log_{snapshot}")), "").unwrap();
        let (store, recovered) = open(folder.path());
        assert_eq!(recovered.confirmed.unwrap().stamp().index, MilestoneIndex(1), "round {round}");
        assert_eq!(store.reader().block(&id).unwrap(), Some(bytes.clone()), "round {round}");
    }
}

/// sled never ends a read of a tree whose only, empty leaf it dropped from its cache: no tree may be empty.
#[test]
fn reads_of_a_new_epoch_end_however_much_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    let reader = store.reader();
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let payload = osmia::protocol::tagged_data::TaggedData::new(vec![], vec![7; 4_000]).unwrap();
        for nonce in 0..4_000 {
            let parents = Parents::new(vec![BlockId::ZERO]).unwrap();
            let payload = Some(osmia::protocol::block::Payload::TaggedData(payload.clone()));
            let bytes = Block { protocol_version: 2, parents, payload, nonce }.pack();
            let id = block::id_of(&bytes);
            store.put_block(&id, &bytes, false).unwrap();
            assert_eq!(reader.reference(&id).unwrap(), None);
        }
        done.send(()).unwrap();
    });
    wait.recv_timeout(std::time::Duration::from_secs(120)).expect("a read that never ends");
}

#[test]
fn a_store_that_is_reopened_often_still_rotates() {
    let folder = tempfile::tempdir().unwrap();
    for index in 1..=8 {
        let (mut store, _) = open(folder.path());
        let (id, bytes) = a_block(index.into());
        store.put_block(&id, &bytes, false).unwrap();
        store.commit(&confirmation(index, &[id])).unwrap();
    }
    assert!(folder.path().join("e00000004").exists(), "two milestones an epoch");
}

#[test]
fn a_folder_of_another_network_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let error = Store::open(folder.path(), "other", LIMITS).map(drop).unwrap_err();
    assert!(matches!(&error, Error::Foreign { found, .. } if found.contains("\"test\"")), "{error}");
    assert!(error.to_string().contains("use another data folder"), "{error}");
}

/// What the living part of the Tangle needs stays, however many epochs that takes.
#[test]
fn what_is_still_needed_is_not_pruned() {
    let folder = tempfile::tempdir().unwrap();
    // An epoch for each milestone; the owner wants two, the Tangle needs five.
    let limits = Limits { keep_milestones: 2, live_milestones: 5, cache_bytes: 1 << 20 };
    let mut store = Store::open(folder.path(), "test", limits).unwrap();
    let config = osmia::config::Config::parse("[coordinator]\nenabled = true\n").unwrap();
    store.found(&genesis::base(config.network.params)).unwrap();
    store.recover(0).unwrap();
    (1..=12).for_each(|index| store.commit(&confirmation(index, &[])).unwrap());
    let pruned = store.pruning_index().unwrap().0;
    assert!((1..=7).contains(&pruned), "pruned up to {pruned} of 12");
    // The ledger follows from what is left, also after it was not closed in order.
    let copy_of = tempfile::tempdir().unwrap();
    copy(folder.path(), copy_of.path());
    let mut again = Store::open(copy_of.path(), "test", limits).unwrap();
    assert_eq!(again.recover(0).unwrap().confirmed.unwrap().stamp().index, MilestoneIndex(12));
}

fn epochs(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names = names.filter_map(|name| name.into_string().ok()).collect::<Vec<_>>();
    names.retain(|name| name.starts_with("e0"));
    names.sort();
    names
}

/// Epochs end after two milestones here. The next one is made while the second is waited for, lasts a power cut, and is not left
/// behind empty by an orderly stop.
#[test]
fn the_next_epoch_is_ready_before_it_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    store.commit(&confirmation(1, &[])).unwrap();
    // Waits for it, as for any thread of the store's.
    drop(store);
    assert_eq!(epochs(folder.path()), ["e00000001", "e00000002"]);
    let (mut store, recovered) = open(folder.path());
    assert_eq!(recovered.confirmed.map(|found| found.stamp().index), Some(MilestoneIndex(1)));
    for index in 2..=9 {
        store.commit(&confirmation(index, &[])).unwrap();
        let kept =
            (1..=index).all(|index| store.reader().milestone(MilestoneIndex(index)).unwrap().is_some());
        assert!(kept, "at {index}");
    }
    // It went on in the empty one: 2 and 3, 4 and 5, 6 and 7, 8 and 9, and the next.
    assert_eq!(epochs(folder.path()).len(), 6);
    store.commit(&confirmation(10, &[])).unwrap();
    store.close().unwrap();
    assert_eq!(epochs(folder.path()).len(), 6, "the one made ahead is gone");
    assert_eq!(open(folder.path()).1.confirmed.map(|found| found.stamp().index), Some(MilestoneIndex(10)));
}
