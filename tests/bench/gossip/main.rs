//! Gossip between two real nodes of this machine: one has a network, the other syncs it from genesis, by gossip alone.
//!
//! `cargo bench --bench gossip`: 260 milestones of 308 blocks of 292 bytes (80,080 blocks), and 2,000 milestones of one block
//! (`-- --full`: 10,000). Then 10,000 more blocks are posted to the first while the other follows: from socket to solid;
//! what the other's disk holds, gives back when pruned, and how it starts after `kill -9`.
//! `blocks/s` is from the start of the process to the newest milestone confirmed, processor time that of the whole process. The
//! last line is one JSON object; `vs` is the limit that the project set itself (a share of what HORNET
//! 2.0.1 takes) divided by our figure, so that more than 1 is within it. Beside HORNET itself, by hand: gossip.md.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark reports and panics")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use osmia::config::Config;
use osmia::engine::effect::Effect;
use osmia::engine::{Engine, Network, Origin, Start, checked};
use osmia::ledger::authority::Authority;
use osmia::ledger::whiteflag::Question;
use osmia::protocol::address::Address;
use osmia::protocol::blake2b_256;
use osmia::protocol::block::{Block, Parents, Payload, id_of};
use osmia::protocol::id::BlockId;
use osmia::protocol::milestone::{Essence, Milestone, Signature};
use osmia::protocol::tagged_data::TaggedData;
use osmia::snapshot::{genesis, load};
use osmia::store::{Limits, Store};

use node::Node;

mod disk;
#[path = "../../http.rs"]
#[allow(dead_code, reason = "a benchmark looks at bodies alone")]
mod http;
mod node;

/// Processor time for each block that a node may take (0.4 of what HORNET takes), in microseconds.
const CPU_LIMIT_US: f64 = 100.0;
/// The same for a node that follows (0.25).
const FOLLOWING_CPU_LIMIT_US: f64 = 120.0;
/// Memory after such a sync: half of what HORNET takes.
const MEMORY_LIMIT_MIB: f64 = 128.0;
/// What HORNET's better engine did.
const HORNET_BLOCKS_PER_S: f64 = 3_270.0;

/// Blocks that are built on one another, side by side.
const CHAINS: usize = 16;

fn key() -> SigningKey {
    SigningKey::from([7; 32])
}

fn configuration(peers: &str) -> String {
    let public = VerificationKeyBytes::from(&key());
    let hex = |bytes: &[u8]| osmia::protocol::hex::encode(bytes);
    format!(
        "[health]\nrequire_peers = false\n[rest]\nbind = \"127.0.0.1:0\"\n\
         [peering]\nbind = [\"127.0.0.1:0\"]\npeers = [{peers}]\n\
         [network]\nname = \"bench\"\nmin_pow_score = 0\nmilestone_keys = [{{ public_key = \"{}\" }}]\n\
         genesis_address = \"{}\"\n",
        hex(public.as_ref()),
        owner().to_bech32("tst"),
    )
}

fn owner() -> Address {
    Address::of_key(&VerificationKeyBytes::from(&key()).into())
}

fn main() {
    let full = std::env::args().any(|argument| argument == "--full");
    let small = if full { 10_000 } else { 2_000 };
    let mut rows = BTreeMap::new();
    for (name, milestones, blocks) in [("sync", 260, 308), ("small_milestones", small, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let total = found(&one, milestones, blocks);
        let leader = Node::start(&one, "");
        let before = leader.cpu_s();
        let started = Instant::now();
        let node = Node::start(&two, &format!("{{ address = \"{}\" }}", leader.peer));
        while node.confirmed() < milestones {
            assert!(started.elapsed() < Duration::from_secs(600), "at milestone {}", node.confirmed());
            std::thread::sleep(Duration::from_millis(20));
        }
        let seconds = started.elapsed().as_secs_f64();
        let count = f64::from(total);
        let cpu_us = node.cpu_s() * 1e6 / count;
        let served_us = (leader.cpu_s() - before) * 1e6 / count;
        let (rate, memory) = (count / seconds, node.peak_mib());
        println!(
            "{name}: {milestones} milestones, {total} blocks in {seconds:.1} s: {rate:.0} blocks/s, {cpu_us:.0} us of CPU a block, \
             {served_us:.0} us to serve it, peak {memory:.0} MiB"
        );
        let mut row = |figure: &str, value: f64, vs: Option<f64>| {
            rows.insert(format!("{name}_{figure}"), serde_json::json!({ "value": value, "vs": vs }));
        };
        let large = blocks > 1;
        row("blocks_per_s", rate, large.then_some(rate / HORNET_BLOCKS_PER_S));
        row("cpu_us_per_block", cpu_us, large.then_some(CPU_LIMIT_US / cpu_us));
        row("serving_cpu_us_per_block", served_us, None);
        row("peak_rss_mib", memory, Some(MEMORY_LIMIT_MIB / memory));
        if large {
            let (before, started) = (node.cpu_s(), Instant::now());
            follow(&leader, &node);
            let count = f64::from(FOLLOWING);
            let rate = count / started.elapsed().as_secs_f64();
            let (cpu_us, memory) = ((node.cpu_s() - before) * 1e6 / count, node.peak_mib());
            println!(
                "following: {rate:.0} blocks/s, {cpu_us:.0} us of CPU a block from socket to solid, peak {memory:.0} MiB"
            );
            let mut row = |figure: &str, value: f64, vs: Option<f64>| {
                rows.insert(format!("following_{figure}"), serde_json::json!({ "value": value, "vs": vs }));
            };
            row("blocks_per_s", rate, None);
            row("cpu_us_per_block", cpu_us, Some(FOLLOWING_CPU_LIMIT_US / cpu_us));
            row("peak_rss_mib", memory, Some(MEMORY_LIMIT_MIB / memory));
            disk::measure(leader, node, (milestones, total), &two, &mut rows);
        }
    }
    println!("{}", serde_json::to_string(&rows).unwrap());
}

/// Clients that post to the node which is followed, and how many blocks each.
const CLIENTS: u32 = 4;
const EACH: u32 = 2_500;
const FOLLOWING: u32 = CLIENTS * EACH;

/// Clients post blocks to one node until they are solid on the other.
fn follow(leader: &Node, node: &Node) {
    let (api, tip) = (leader.api, tip(leader));
    let client = move |client: u32| {
        (0..EACH).fold(tip, |last, number| post(api, last, client, number).expect("a block was refused"))
    };
    let clients = (0..CLIENTS).map(|number| std::thread::spawn(move || client(number))).collect::<Vec<_>>();
    for last in clients.into_iter().map(|client| client.join().unwrap()) {
        let started = Instant::now();
        let is_solid = || {
            let path = format!("/api/core/v2/blocks/{last}/metadata");
            let metadata = serde_json::from_slice::<serde_json::Value>(&node.get(&path)).unwrap_or_default();
            metadata["isSolid"] == true
        };
        while !is_solid() {
            assert!(started.elapsed() < Duration::from_secs(60), "{last} does not arrive");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A block to build on.
fn tip(node: &Node) -> BlockId {
    let tips: serde_json::Value = serde_json::from_slice(&node.get("/api/core/v2/tips")).unwrap();
    BlockId::from_hex(tips["tips"][0].as_str().unwrap()).unwrap()
}

/// Posts a block of 292 bytes, another one for each client and number; gives its id if it was taken.
fn post(api: SocketAddr, parent: BlockId, client: u32, number: u32) -> Option<BlockId> {
    let noise =
        (0..7).flat_map(|part: u32| blake2b_256(&[client, number, part].map(u32::to_le_bytes).concat()));
    let data = TaggedData::new(b"bench".to_vec(), noise.take(200).collect()).unwrap();
    let (parents, payload) = (Parents::from_unsorted(vec![parent]).unwrap(), Some(Payload::TaggedData(data)));
    let bytes = Block { protocol_version: 2, parents, payload, nonce: 0 }.pack();
    let header = ["Content-Type: application/vnd.iota.serializer-v1"];
    let answer = http::request(api, "POST", "/api/core/v2/blocks", &header, &bytes)?;
    (answer.status == 201).then(|| id_of(&bytes))
}

/// Makes the store of a node that has such a network; gives the number of its blocks.
fn found(folder: &Path, milestones: u32, blocks: u32) -> u32 {
    let config = Config::parse(&configuration("")).unwrap();
    let network =
        Network { params: config.network.params.clone(), authority: Authority::of(&config.network, None) };
    let limits = Limits { keep_milestones: u32::MAX, live_milestones: 20, cache_bytes: 8 << 20 };
    std::fs::create_dir_all(folder.join("data")).unwrap();
    let mut store = Store::open(&folder.join("data/store"), "bench", limits).unwrap();
    for output in genesis::outputs(network.params.token_supply, owner(), &[]).unwrap() {
        load::Target::insert(&mut store, output).unwrap();
    }
    let base = genesis::base(network.params.clone());
    store.found(&base).unwrap();
    store.recover(0).unwrap();
    let mut engine = Engine::new(Start::at(&base));
    let (mut chains, mut last, mut number, mut total) = ([BlockId::ZERO; CHAINS], BlockId::ZERO, 0_usize, 0);
    let submit = |engine: &mut Engine, store: &mut Store, block: &Block| {
        let checked = checked::check(&network, Arc::from(block.pack())).unwrap();
        let id = checked.id;
        engine.submit(&store.reader(), checked, Origin::Replayed, 0).unwrap();
        settle(engine, store);
        id
    };
    for index in 1..=milestones {
        for chain in 0..blocks as usize {
            let (own, other) = (chain % CHAINS, number * 7 % CHAINS);
            let parents = Parents::from_unsorted(vec![chains[own], chains[other]]).unwrap();
            let noise = (0..7)
                .flat_map(|part: u64| blake2b_256(&[number.to_le_bytes(), part.to_le_bytes()].concat()));
            let data = TaggedData::new(b"bench".to_vec(), noise.take(200).collect()).unwrap();
            let payload = Some(Payload::TaggedData(data));
            chains[own] =
                submit(&mut engine, &mut store, &Block { protocol_version: 2, parents, payload, nonce: 0 });
            (number, total) = (number + 1, total + 1);
        }
        let newest = chains.iter().copied().filter(|id| *id != BlockId::ZERO).take(Parents::MOST - 1);
        let confirmed = engine.confirmed();
        let question = Question {
            index: confirmed.index.next(),
            timestamp: 1_000 + index,
            parents: Parents::from_unsorted(newest.chain([last]).collect()).unwrap(),
            previous: confirmed.id,
        };
        let roots = engine.white_flag(&store.reader(), &question).unwrap();
        let essence = Essence {
            index: question.index,
            timestamp: question.timestamp,
            protocol_version: 2,
            previous: question.previous,
            parents: question.parents,
            inclusion_merkle_root: roots.inclusion_merkle_root,
            applied_merkle_root: roots.applied_merkle_root,
            metadata: Vec::new(),
            options: Default::default(),
        };
        let public_key = VerificationKeyBytes::from(&key()).into();
        let signature = Signature { public_key, signature: key().sign(&essence.id().0).into() };
        let milestone = Milestone::new(essence, vec![signature]).unwrap();
        last = submit(&mut engine, &mut store, &Block::of_milestone(milestone));
        total += 1;
        assert_eq!(engine.confirmed().index.0, index);
    }
    store.close().unwrap();
    total
}

fn settle(engine: &mut Engine, store: &mut Store) {
    let reader = store.reader();
    loop {
        while let Some(effect) = engine.poll() {
            match effect {
                Effect::Store { id, bytes, forward: _ } => store.put_block(&id, &bytes, false).unwrap(),
                Effect::Request { .. } => {}
                Effect::Commit(confirmation) => store.commit(&confirmation).unwrap(),
            }
        }
        if !engine.advance(&reader).unwrap() {
            return;
        }
    }
}
