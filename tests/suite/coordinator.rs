//! A coordinator whose files do not belong together issues nothing: it could fork its network.

use std::path::Path;
use std::process::{Command, Stdio};

use osmia::protocol::{blake2b_256, hex};

use crate::node::Node;

/// Starts a node that must end by itself with an error, and gives its log.
fn refused(folder: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_osmia"))
        .args(["node", "--config"])
        .arg(folder.join("node.toml"))
        .arg("--data")
        .arg(folder.join("data"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{log}");
    log
}

/// A founder that has issued a few milestones, at rest.
fn founded() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "");
    node.wait_confirmed(2);
    node.stop();
    folder
}

/// A whole state file.
fn state_of(index: u32, block: &str) -> String {
    let checksum = hex::encode(&blake2b_256(&[&index.to_le_bytes(), block.as_bytes()].concat()));
    format!(r#"{{"latestMilestoneIndex":{index},"latestMilestoneBlock":"{block}","checksum":"{checksum}"}}"#)
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let folder = founded();
    let identity = folder.path().join("data/identity");
    let (key, state) = (identity.join("coordinator.key"), identity.join("coordinator.state"));
    let (good_key, good_state) = (std::fs::read(&key).unwrap(), std::fs::read_to_string(&state).unwrap());

    let index = good_state.split([':', ',']).nth(1).unwrap().parse::<u32>().unwrap();
    for damage in [None, Some(""), Some(&good_state[..100])] {
        match damage {
            None => std::fs::remove_file(&state).unwrap(),
            Some(text) => std::fs::write(&state, text).unwrap(),
        }
        // Nobody knows what was signed: such a node serves what it has, but issues nothing.
        let node = Node::start(folder.path(), "");
        node.wait_log(&format!("set coordinator.resume_from = {index}"));
        assert_eq!(node.confirmed(), u64::from(index));
        node.stop();
    }
    let block = good_state.split('"').nth(5).unwrap();
    std::fs::write(&state, state_of(index + 1, block)).unwrap();
    assert!(refused(folder.path()).contains("do not belong together"));
    // Peers may have what is missing.
    std::fs::write(&state, state_of(index + 2, block)).unwrap();
    let node = Node::start(folder.path(), "");
    node.wait_log("signing again could fork the network");
    assert_eq!(node.confirmed(), u64::from(index));
    node.stop();
    // Half of the file is enough.
    let mut half = good_state.clone().into_bytes();
    half[..4_096].fill(0);
    std::fs::write(&state, half).unwrap();

    std::fs::write(&key, format!("0x{}\n", "11".repeat(32))).unwrap();
    assert!(refused(folder.path()).contains("founded with another key"));
    // It was another's on purpose: so is its copy now.
    std::fs::write(&key, "0x11").unwrap();
    std::fs::write(key.with_file_name("coordinator.key.copy"), "0x11").unwrap();
    assert!(refused(folder.path()).contains("restore it from a backup"));
    std::fs::write(&key, good_key).unwrap();

    let node = Node::start(folder.path(), "");
    node.wait_confirmed(u64::from(index) + 1);
}

/// Power may fail between the two files of the first start.
#[test]
fn a_state_without_a_key_is_completed_when_nothing_was_signed() {
    let folder = tempfile::tempdir().unwrap();
    let identity = folder.path().join("data/identity");
    std::fs::create_dir_all(&identity).unwrap();
    std::fs::write(identity.join("coordinator.state"), state_of(0, "")).unwrap();
    Node::start(folder.path(), "").wait_confirmed(1);
}
