//! A coordinator whose files do not belong together issues nothing: it could fork its network.

use std::path::Path;
use std::process::{Command, Stdio};

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

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let folder = founded();
    let identity = folder.path().join("data/identity");
    let (key, state) = (identity.join("coordinator.key"), identity.join("coordinator.state"));
    let (good_key, good_state) = (std::fs::read(&key).unwrap(), std::fs::read_to_string(&state).unwrap());

    std::fs::remove_file(&state).unwrap();
    assert!(refused(folder.path()).contains("could fork the network"));
    let index = good_state.split([':', ',']).nth(1).unwrap().parse::<u32>().unwrap();
    std::fs::write(&state, good_state.replacen(&index.to_string(), &(index + 1).to_string(), 1)).unwrap();
    assert!(refused(folder.path()).contains("do not belong together"));
    std::fs::write(&state, good_state.replacen(&index.to_string(), &(index + 2).to_string(), 1)).unwrap();
    // Peers may have what is missing: such a node goes on, but issues nothing.
    let node = Node::start(folder.path(), "");
    node.wait_log("signing again could fork the network");
    assert_eq!(node.confirmed(), u64::from(index));
    node.stop();
    std::fs::write(&state, &good_state).unwrap();

    std::fs::write(&key, format!("0x{}\n", "11".repeat(32))).unwrap();
    assert!(refused(folder.path()).contains("founded with another key"));
    std::fs::write(&key, "0x11").unwrap();
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
    let state = r#"{"latestMilestoneIndex":0,"latestMilestoneBlock":""}"#;
    std::fs::write(identity.join("coordinator.state"), state).unwrap();
    Node::start(folder.path(), "").wait_confirmed(1);
}
