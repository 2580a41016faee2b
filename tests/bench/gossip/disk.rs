//! What a node's disk holds after a sync, gives back when it is pruned, and what `kill -9` does to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use osmia::protocol::id::BlockId;

use super::{FOLLOWING, Node, http, post, tip};

/// For each block of 292 bytes.
const DISK_LIMIT_BYTES: f64 = 500.0;
/// Of what the pruned blocks took, a second after the answer.
const GIVEN_BACK_LIMIT: f64 = 0.95;

/// Milestones that stay.
const KEPT: u32 = 30;
const KILLS: u32 = 10;
/// Blocks a second when it is killed.
const RATE: u32 = 200;

/// Takes both nodes as they are after the sync of `total` blocks in `milestones` milestones; `folder` is that of the second.
pub(super) fn measure(
    leader: Node,
    node: Node,
    (milestones, total): (u32, u32),
    folder: &Path,
    rows: &mut BTreeMap<String, serde_json::Value>,
) {
    let mut row = |figure: &str, value: f64, vs: Option<f64>| {
        rows.insert(format!("disk_{figure}"), serde_json::json!({ "value": value, "vs": vs }));
    };
    leader.stop();
    node.stop();
    let count = f64::from(total + FOLLOWING);
    let before = block_bytes(folder);
    let each = before / count;
    println!("disk: {each:.0} bytes for each of {count} blocks");
    row("bytes_per_block", each, Some(DISK_LIMIT_BYTES / each));

    let node = Node::start(folder, "");
    let started = Instant::now();
    prune(&node, folder);
    let seconds = started.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_secs(1));
    // Those that no milestone references stay.
    let pruned = f64::from(milestones - KEPT) * f64::from(total) / f64::from(milestones) / count;
    let back = (before - block_bytes(folder)) / (before * pruned);
    println!(
        "pruned {:.0} % of the blocks in {seconds:.2} s, which gave back {:.1} % of what they took",
        100.0 * pruned,
        100.0 * back
    );
    row("given_back", back, Some(back / GIVEN_BACK_LIMIT));

    let worst = kill_again_and_again(node, folder);
    println!(
        "killed {KILLS} times under {RATE} blocks a second: nothing lost, serves after {worst:.0} ms at most"
    );
    row("start_after_kill_ms", worst, None);
}

/// By REST, as an operator does.
fn prune(node: &Node, folder: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_osmia"))
        .args(["tools", "jwt-api", "--data"])
        .arg(folder.join("data"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let token = String::from_utf8(output.stdout).unwrap();
    let token = token.split_whitespace().last().unwrap();
    let header = [&format!("Authorization: Bearer {token}") as &str, "Content-Type: application/json"];
    let body = format!("{{\"depth\":{KEPT}}}");
    let path = "/api/core/v2/control/database/prune";
    let answer = http::request(node.api, "POST", path, &header, body.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
}

/// Milliseconds from the start of the process until its API answers, the most of all rounds.
fn kill_again_and_again(mut node: Node, folder: &Path) -> f64 {
    let mut worst = 0.0_f64;
    for round in 0..KILLS {
        let over = AtomicBool::new(false);
        let (api, last) = (node.api, tip(&node));
        let acknowledged = std::thread::scope(|scope| {
            let client = scope.spawn(|| flood(api, last, round, &over));
            // At another moment of the write each time.
            std::thread::sleep(Duration::from_millis(1_000 + u64::from(round * 37)));
            drop(node);
            over.store(true, Ordering::Relaxed);
            client.join().unwrap()
        });
        assert!(acknowledged.len() > 20, "only {} blocks were taken", acknowledged.len());
        let started = Instant::now();
        node = Node::start(folder, "");
        node.confirmed();
        worst = worst.max(started.elapsed().as_secs_f64() * 1e3);
        for id in acknowledged {
            let path = format!("/api/core/v2/blocks/{id}");
            assert_eq!(http::request(node.api, "GET", &path, &[], &[]).unwrap().status, 200, "{id} is lost");
        }
    }
    worst
}

/// Posts until the node is gone; gives what it took.
fn flood(api: SocketAddr, mut last: BlockId, round: u32, over: &AtomicBool) -> Vec<BlockId> {
    let mut taken = Vec::new();
    let started = Instant::now();
    for number in 0.. {
        let due = Duration::from_secs(1) * number / RATE;
        std::thread::sleep(due.saturating_sub(started.elapsed()));
        match post(api, last, u32::MAX - round, number) {
            Some(id) => last = id,
            None if over.load(Ordering::Relaxed) => break,
            // It is being killed.
            None => continue,
        }
        taken.push(last);
    }
    taken
}

/// What the store takes on disk, without the unspent outputs.
fn block_bytes(folder: &Path) -> f64 {
    let store = folder.join("data/store");
    (disk_bytes(&store) - disk_bytes(&store.join("ledger"))) as f64
}

fn disk_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| {
        // What is deleted meanwhile takes no room.
        match std::fs::symlink_metadata(entry.path()) {
            Ok(about) if about.is_dir() => disk_bytes(&entry.path()),
            about => about.map_or(0, |about| about.blocks() * 512),
        }
    });
    bytes.sum()
}
