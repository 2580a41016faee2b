//! Nodes that learn of their network from another one: by one line, and by none.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::node::Node;

const TAKES_SNAPSHOTS: &str = "[snapshots]\ndepth = 5\n";

fn place(folder: &Path, name: &str) -> PathBuf {
    let place = folder.join(name);
    std::fs::create_dir_all(&place).unwrap();
    place
}

/// A node like a new card: it would found a network, had it not this line.
fn joiner(folder: &Path, join: &str, peering: &str) -> Node {
    let text = format!(
        "[coordinator]\nenabled = true\n[network]\nname = \"its own\"\njoin = \"{join}\"\n[peering]\nbind = [{peering}]\n\
         [rest]\nbind = \"127.0.0.1:0\"\n"
    );
    Node::start_with(&folder.join("node.toml"), &text, &folder.join("data"))
}

fn name(node: &Node) -> Value {
    node.json("/api/core/v2/info")["protocol"]["networkName"].clone()
}

/// From a snapshot that the other node takes for it, and by gossip from there.
#[test]
fn one_line_joins_a_network() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two, three) =
        (place(folder.path(), "one"), place(folder.path(), "two"), place(folder.path(), "three"));
    let founder = Node::start(&one, TAKES_SNAPSHOTS);
    founder.wait_confirmed(12);
    let old = founder.attach("before the snapshot");
    founder.wait_for("reference", |node| node.has_referenced(&old));
    let at = founder.confirmed();
    founder.wait_confirmed(at + 7);
    let second = joiner(&two, &founder.peer, "\"127.0.0.1:0\"");
    second.wait_for("synced node", |node| node.get("/health").status == 200);
    assert_eq!(name(&second), "osmia-private");
    // It began behind that block.
    assert_eq!(second.get(&format!("/api/core/v2/blocks/{old}")).status, 404);
    // The third learns from the second, which is no founder.
    let third = joiner(&three, &second.peer, "\"127.0.0.1:0\"");
    third.wait_for("synced node", |node| node.get("/health").status == 200);
    let id = third.attach("from the third");
    for node in [&founder, &second, &third] {
        node.wait_for("referenced block", |node| node.has_referenced(&id));
    }
    // What was learned stays: the node starts without the other one.
    second.stop();
    let third_peer = third.peer.clone();
    let before = founder.confirmed();
    founder.wait_confirmed(before + 2);
    let second = joiner(&two, &third_peer, "\"127.0.0.1:0\"");
    assert_eq!(name(&second), "osmia-private");
    assert!(!two.join("data/identity/coordinator.key").exists());
    // Its ledger is damaged, and its snapshot gone: it takes another, whatever blocks it has.
    second.stop();
    let db = two.join("data/store/ledger/db");
    let length = std::fs::metadata(&db).unwrap().len();
    std::fs::write(&db, vec![0x5a; usize::try_from(length).unwrap()]).unwrap();
    std::fs::remove_dir_all(two.join("data/snapshots")).unwrap();
    let second = joiner(&two, &founder.peer, "\"127.0.0.1:0\"");
    let at = founder.confirmed();
    second.wait_confirmed(at);
    third.stop();
    founder.stop();
    second.stop();
}

#[test]
fn who_lets_no_strangers_in_tells_none_about_its_network() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (place(folder.path(), "one"), place(folder.path(), "two"));
    let text = "[health]\nrequire_peers = false\n[peering]\nbind = [\"127.0.0.1:0\"]\nunknown_peers = 0\n\
                [rest]\nbind = \"127.0.0.1:0\"\n[coordinator]\nenabled = true\ninterval_s = 1\n";
    let founder = Node::start_with(&one.join("node.toml"), text, &one.join("data"));
    founder.wait_confirmed(2);
    let join = format!(
        "[network]\njoin = \"{}\"\n[peering]\nbind = []\n[rest]\nbind = \"127.0.0.1:0\"\n",
        founder.peer
    );
    let said = Node::says(&two.join("node.toml"), &join, &two.join("data"), "network.join");
    assert!(said.contains("unknown_peers"), "{said}");
}

#[test]
fn a_node_with_a_network_of_its_own_joins_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let founder = Node::start(folder.path(), "");
    founder.wait_confirmed(1);
    let peer = founder.peer.clone();
    founder.stop();
    let text = Node::config(&format!("[coordinator]\nenabled = true\n[network]\njoin = \"{peer}\"\n"));
    let said = Node::refuses(&folder.path().join("node.toml"), &text, &folder.path().join("data"));
    assert!(said.contains("network.join") && said.contains("holds another network"), "{said}");
}

/// The second has no line about the first: it finds that one's network, and they find each other again without an address.
#[test]
fn nodes_on_one_local_network_find_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (place(folder.path(), "one"), place(folder.path(), "two"));
    let text = "[coordinator]\nenabled = true\ninterval_s = 1\n[peering]\nbind = [\"0.0.0.0:0\"]\n[rest]\n\
                bind = \"127.0.0.1:0\"\n";
    let founder = Node::start_with(&one.join("node.toml"), text, &one.join("data"));
    founder.wait_confirmed(1);
    let second = joiner(&two, "lan", "\"0.0.0.0:0\"");
    assert!(!two.join("data/identity/coordinator.key").exists() && two.join("data/network.toml").exists());
    second.wait_for("synced node", |node| node.get("/health").status == 200);
    let id = second.attach("from the second");
    for node in [&founder, &second] {
        node.wait_for("referenced block", |node| node.has_referenced(&id));
    }
    // On another port, with another address, as a lease may end.
    second.stop();
    let second = joiner(&two, "lan", "\"0.0.0.0:0\"");
    let at = founder.confirmed();
    second.wait_confirmed(at + 1);
    founder.stop();
    second.stop();
}
