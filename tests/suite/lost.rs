//! What is lost, and what it is made again from: the ledger from the node's own snapshot, if that is whole, or from the network's
//! beginning; what pruning takes is never what that needs.

use std::fs;
use std::path::Path;

use osmia::snapshot::full::FullReader;
use serde_json::{Value, json};

use crate::node::Node;
use crate::store::copy;

const FULL: &str = "snapshots/full_snapshot.bin";
const DELTA: &str = "snapshots/delta_snapshot.bin";

/// Issues milestones by the second, and takes snapshots.
const FOUNDER: &str = "[network]\nname = \"lost\"\nbelow_max_depth = 1\n[snapshots]\ndepth = 6\ninterval = 2\n\
                       [storage]\nkeep_milestones = 60\n[coordinator]\nenabled = true\ninterval_s = 1\n";

fn start(folder: &Path, text: &str) -> Node {
    Node::start_with(&folder.join("node.toml"), &Node::config(text), &folder.join("data"))
}

/// The output that holds all base tokens.
fn genesis(node: &Node) -> Value {
    let zero = format!("0x{}", "0".repeat(68));
    node.json(&format!("/api/core/v2/outputs/{zero}"))["output"].clone()
}

/// Changes a file of a node that does not run.
fn change(data: &Path, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = data.join(name);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// In the address of the first output of the file, which looks as good as any other.
fn flip_in_address(bytes: &mut Vec<u8>) {
    let reader = FullReader::new(bytes.as_slice()).unwrap();
    let outputs_at = usize::try_from(reader.position()).unwrap();
    let mut reader = FullReader::new(bytes.as_slice()).unwrap();
    let before = reader.output().unwrap().unwrap();
    let end = usize::try_from(reader.position()).unwrap();
    let whole = bytes.clone();
    for at in outputs_at..end {
        bytes[at] ^= 1;
        let read = FullReader::new(bytes.as_slice()).and_then(|mut reader| reader.output());
        let value = |booked: &osmia::ledger::Booked| booked.output.value().amount;
        let still =
            |booked: &&osmia::ledger::Booked| booked.id == before.id && value(booked) == value(&before);
        if read.is_ok_and(|output| {
            output.as_ref().filter(still).is_some_and(|output| output.output != before.output)
        }) {
            return;
        }
        bytes.copy_from_slice(&whole);
    }
    panic!("no such place");
}

/// What happens to a node's folder.
type Harm<'a> = &'a dyn Fn(&Path);

#[test]
fn a_ledger_is_made_again_from_what_is_whole() {
    let healthy = tempfile::tempdir().unwrap();
    let node = start(healthy.path(), FOUNDER);
    node.wait_for("delta snapshot", |_| healthy.path().join("data").join(DELTA).exists());
    node.wait_confirmed(14);
    let output = genesis(&node);
    node.stop();
    let lose_ledger = |data: &Path| fs::remove_dir_all(data.join("store/ledger")).unwrap();
    let faults: [(&str, Harm<'_>); 7] = [
        ("nothing else", &|_| {}),
        ("a bit of the full snapshot", &|data| change(data, FULL, flip_in_address)),
        ("the same, and its checksums", &|data| {
            change(data, FULL, flip_in_address);
            fs::remove_file(data.join("snapshots/full_snapshot.bin.sums")).unwrap();
        }),
        ("folders in its place, and where it is put aside", &|data| {
            fs::remove_file(data.join(FULL)).unwrap();
            for name in ["full_snapshot.bin", "damaged-full_snapshot.bin"] {
                fs::create_dir_all(data.join("snapshots").join(name).join("more")).unwrap();
            }
        }),
        ("a bit of the delta", &|data| change(data, DELTA, |bytes| *bytes.last_mut().unwrap() ^= 1)),
        ("the end of the full snapshot", &|data| {
            fs::remove_file(data.join("snapshots/full_snapshot.bin.sums")).unwrap();
            change(data, FULL, |bytes| bytes.truncate(bytes.len() / 2));
        }),
        ("all snapshots", &|data| fs::remove_dir_all(data.join("snapshots")).unwrap()),
    ];
    for (fault, harm) in faults {
        let folder = tempfile::tempdir().unwrap();
        copy(healthy.path(), folder.path());
        let data = folder.path().join("data");
        lose_ledger(&data);
        harm(&data);
        let node = start(folder.path(), FOUNDER);
        assert_eq!(genesis(&node), output, "{fault}");
        assert!(node.confirmed() >= 14, "{fault}: {}", node.confirmed());
        // It issues: what was signed last is known.
        node.wait_confirmed(node.confirmed() + 2);
        node.stop();
    }
}

/// Whatever its owner puts beside an empty store, it begins with; but not with what became of its own.
#[test]
fn who_empties_the_store_may_bring_another_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let node = start(folder.path(), FOUNDER);
    node.wait_for("snapshot", |_| data.join(FULL).exists());
    let before = genesis(&node);
    let own = FullReader::new(fs::read(data.join(FULL)).unwrap().as_slice()).unwrap().header().target.index;
    let other = own.0 + 1;
    node.wait_confirmed(u64::from(other) + 6);
    let (status, answer) = node.control(&data, "snapshots/create", &json!({ "index": other }));
    assert_eq!(status, 200, "{answer}");
    let created = answer["filePath"].as_str().unwrap().to_owned();
    node.stop();
    fs::remove_dir_all(data.join("store")).unwrap();
    let _ = fs::remove_file(data.join(DELTA));
    // Of another milestone.
    let own = fs::read(data.join(FULL)).unwrap();
    fs::copy(created, data.join(FULL)).unwrap();
    change(&data, FULL, flip_in_address);
    let node = start(folder.path(), FOUNDER);
    assert!(genesis(&node) != before && node.confirmed() == u64::from(other));
    node.stop();
    // Of the same milestone: it is its own, damaged. Nor does it found a network in the place of one that there was.
    for damage in [flip_in_address, |bytes: &mut Vec<u8>| bytes.truncate(40)] {
        let _ = fs::remove_dir_all(data.join("store"));
        change(&data, FULL, damage);
        for _ in 0..2 {
            let said = Node::refuses(&folder.path().join("node.toml"), &Node::config(FOUNDER), &data);
            assert!(said.contains("no snapshot to make it again from"), "{said}");
        }
        assert!(!data.join(FULL).exists());
        fs::write(data.join(FULL), &own).unwrap();
    }
}

/// Pruning by the owner, and a snapshot that is far behind.
#[test]
fn what_a_ledger_is_made_again_from_is_not_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let seldom = FOUNDER.replace("interval = 2", "interval = 100000");
    let never = seldom.replace("[snapshots]", "[snapshots]\nenabled = false");
    let prune = |node: &Node, depth: u32| {
        let (status, answer) = node.control(&data, "database/prune", &json!({ "depth": depth }));
        assert_eq!(status, 200, "{answer}");
        answer["index"].as_u64().unwrap()
    };
    // A node that takes none prunes as it is told.
    let node = start(folder.path(), &never);
    node.wait_confirmed(12);
    let pruned = prune(&node, 7);
    assert!(pruned >= 5 && !data.join(FULL).exists());
    node.stop();
    // One that does has to take one now, although none is due.
    let node = start(folder.path(), &seldom);
    node.wait_for("snapshot", |_| data.join(FULL).exists());
    assert!(!data.join(DELTA).exists());
    node.wait_confirmed(node.confirmed() + 12);
    let pruned = prune(&node, 0);
    let delta = fs::read(data.join(DELTA)).unwrap();
    let header = *osmia::snapshot::delta::DeltaReader::new(delta.as_slice()).unwrap().header();
    assert!(u64::from(header.target.0) >= pruned, "{pruned}: {header:?}");
    let before = node.confirmed();
    node.stop();
    fs::remove_dir_all(data.join("store/ledger")).unwrap();
    let node = start(folder.path(), &seldom);
    assert!(node.confirmed() >= before);
    node.stop();
    // Without it, there is no way on, and the owner is told what is missing.
    fs::remove_dir_all(data.join("store/ledger")).unwrap();
    change(&data, FULL, flip_in_address);
    let said = Node::refuses(&folder.path().join("node.toml"), &Node::config(&seldom), &data);
    assert!(said.contains("the ledger is lost, and there is no snapshot to make it again from"), "{said}");
}
