//! What a node writes to its disk: a card lives for so many bytes.

use osmia::protocol::block::{Block, Parents, Payload};
use osmia::protocol::tagged_data::TaggedData;

use crate::http;
use crate::node::Node;

/// Blocks of clients, each synced before it is acknowledged, a few at a time.
const BLOCKS: u64 = 2_000;

/// Clients.
const CLIENTS: u64 = 8;

/// A client's block alone takes a page of the journal, and one of the epoch when its milestone comes.
const MOST_PER_BLOCK: u64 = 8 << 10;

/// Of a milestone with no block but its own: journal, epoch and ledger each sync a few pages.
const MOST_PER_MILESTONE: u64 = 128 << 10;

#[test]
fn what_is_written_for_a_block_is_bounded() {
    // Where there is a disk below.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let node = Node::start(folder.path(), "[network]\nmin_pow_score = 0\nbelow_max_depth = 200\n");
    node.wait_confirmed(2);
    let tips = Parents::from_unsorted(node.tips()).unwrap();
    let before = node.written_bytes();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (api, tips) = (node.api, &tips);
            scope.spawn(move || {
                for number in 0..BLOCKS / CLIENTS {
                    let mut data = vec![7; 200];
                    data[..16].copy_from_slice(&[client.to_le_bytes(), number.to_le_bytes()].concat());
                    let payload = Payload::TaggedData(TaggedData::new(b"wear".to_vec(), data).unwrap());
                    let parents = tips.clone();
                    let block = Block { protocol_version: 2, parents, payload: Some(payload), nonce: 0 };
                    let kind = "Content-Type: application/vnd.iota.serializer-v1";
                    let post = || http::request(api, "POST", "/api/core/v2/blocks", &[kind], &block.pack());
                    // A busy node says so, and is asked again.
                    let answers = std::iter::repeat_with(|| post().unwrap());
                    let answer = answers.take(100).find(|answer| answer.status != 503);
                    assert_eq!(answer.map(|answer| answer.status), Some(201));
                }
            });
        }
    });
    let here = node.confirmed();
    node.wait_confirmed(here + 2);
    let per_block = (node.written_bytes() - before) / BLOCKS;

    let (idle, since) = (node.written_bytes(), node.confirmed());
    node.wait_confirmed(since + 5);
    let per_milestone = (node.written_bytes() - idle) / (node.confirmed() - since);
    eprintln!("{per_block} bytes a block, {per_milestone} a milestone without blocks");
    assert!((1..=MOST_PER_BLOCK).contains(&per_block), "{per_block} bytes a block");
    assert!((1..=MOST_PER_MILESTONE).contains(&per_milestone), "{per_milestone} bytes a milestone");
    node.stop();
}
