//! Strangers that send as much as they can take nothing from anybody else.

use std::time::{Duration, Instant};

use osmia::gossip::wire::Message;
use osmia::protocol::blake2b_256;
use osmia::protocol::block::{Block, Parents, Payload};
use osmia::protocol::id::BlockId;
use osmia::protocol::tagged_data::TaggedData;

use super::feeder::heartbeat;
use super::protocol;
use super::script::Script;
use crate::node::Node;
use crate::peers;

const STRANGERS: usize = 3;

/// Four thousand a second of each, which is as much as a peer may.
const BLOCKS: u32 = 100;
const EVERY: Duration = Duration::from_millis(25);

/// Of the peer, meanwhile.
const POSTED: usize = 20;
const POST_EVERY: Duration = Duration::from_millis(250);

/// Blocks on parents that nobody has.
fn orphans(from: u32) -> Vec<u8> {
    let id =
        |number: u32, part: u32| BlockId(blake2b_256(&[number.to_le_bytes(), part.to_le_bytes()].concat()));
    let block = |number: u32| {
        let data = TaggedData::new(b"crowd".to_vec(), number.to_le_bytes().to_vec()).unwrap();
        let parents = Parents::from_unsorted((0..8).map(|part| id(number, part)).collect()).unwrap();
        let payload = Some(Payload::TaggedData(data));
        Message::Block(&Block { protocol_version: 2, parents, payload, nonce: 0 }.pack()).pack()
    };
    (from..from + BLOCKS).flat_map(block).collect()
}

/// Where blocks cost nothing, three strangers send more than the node can take; a peer's blocks come through.
#[test]
fn a_crowd_of_strangers_keeps_no_block_of_a_peer_away() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    std::fs::create_dir_all(&one).unwrap();
    std::fs::create_dir_all(&two).unwrap();
    let free = "[network]\nmin_pow_score = 0\n";
    let config = Node::config(&format!("[coordinator]\nenabled = true\ninterval_s = 1\n{free}"))
        .replace("[rest]\n", "unknown_peers = 8\n[rest]\n");
    let founder = Node::start_with(&one.join("node.toml"), &config, &one.join("data"));
    founder.wait_confirmed(3);
    let follower = peers::join_with(&two, &one, &[&founder.peer], free);
    follower.wait_for("synced node", |node| node.get("/health").status == 200);

    let mut script = Script::start(&protocol("osmia-private"));
    let names = (0..STRANGERS).map(|number| format!("stranger {number}")).collect::<Vec<_>>();
    for name in &names {
        script.host(name, false);
        assert!(script.dial(name, &founder.peer, name));
        script.write(name, &heartbeat(1));
    }
    let (mut posted, mut number, mut ids) = (Instant::now(), 0, Vec::new());
    while ids.len() < POSTED {
        for name in &names {
            script.write(name, &orphans(number));
            number += BLOCKS;
        }
        if posted.elapsed() >= POST_EVERY {
            posted = Instant::now();
            ids.push(follower.attach("from a peer"));
        }
        std::thread::sleep(EVERY);
    }
    for id in &ids {
        founder.wait_for("block of the peer", |node| {
            node.get(&format!("/api/core/v2/blocks/{id}")).status == 200
        });
    }
    // It goes on after that, too, with whoever behaves.
    let last = follower.attach("afterwards");
    founder.wait_for("reference", |node| node.has_referenced(&last));
}
