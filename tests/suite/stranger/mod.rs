//! Strangers: peers of another implementation of libp2p play HORNET, and whoever means harm.

mod crowd;
mod feeder;
mod script;
mod silence;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use osmia::gossip::wire::{self, Message};
use osmia::identity::Identity;
use osmia::protocol::block::{self, Block, Parents, Payload};
use osmia::protocol::hex;
use osmia::protocol::id::{BlockId, MilestoneIndex};
use osmia::protocol::params::{ProtocolParameters, RentStructure};
use osmia::protocol::tagged_data::TaggedData;
use osmia::token::{SALT, Tokens};
use serde_json::{Value, json};

use crate::http;
use crate::node::Node;
use crate::recording::{Recording, configuration, text};
use feeder::{Feeder, heartbeat};
use script::Script;

/// Name of the gossip protocol of a network.
fn protocol(network: &str) -> String {
    let params = ProtocolParameters {
        version: 2,
        network_name: network.to_owned(),
        bech32_hrp: String::new(),
        min_pow_score: 0,
        below_max_depth: 1,
        rent: RentStructure { v_byte_cost: 0, v_byte_factor_data: 0, v_byte_factor_key: 0 },
        token_supply: 0,
    };
    format!("/iota-gossip/{}/1.0.0", params.network_id())
}

/// A node of the recorded network that knows its genesis, and a peer that has the rest.
fn recorded_node(folder: &Path, recording: &Recording, feeder: &Feeder) -> Node {
    std::fs::create_dir_all(folder.join("data/snapshots")).unwrap();
    let genesis = folder.join("data/snapshots/full_snapshot.bin");
    std::fs::copy(recording.folder.join("genesis_full.bin"), genesis).unwrap();
    let own = "[peering]\nbind = [\"127.0.0.1:0\"]\n";
    let text = configuration(recording, false);
    assert!(text.contains(own), "{text}");
    let text = text.replace(own, &format!("{own}peers = [{{ address = \"{}\" }}]\n", feeder.address));
    Node::start_with(&folder.join("node.toml"), &text, &folder.join("data"))
}

/// One of the recorded connections.
#[derive(Default)]
struct Case {
    /// What the stranger wrote.
    writes: Vec<Vec<u8>>,
    /// Blocks that it asked for.
    asked: Vec<BlockId>,
    /// The newest milestone that it said it had.
    claims: MilestoneIndex,
    /// Frames with which HORNET began.
    first: Vec<Vec<u8>>,
    /// Blocks that HORNET sent.
    sent: BTreeSet<BlockId>,
    /// What the API said afterwards: path, and the answer.
    rest: Vec<(String, Value)>,
    /// HORNET ended it.
    closed: bool,
    /// The node's newest milestone at the time.
    index: u32,
}

fn cases(recording: &Recording) -> Vec<(String, Case)> {
    let (mut order, mut cases) = (Vec::new(), BTreeMap::<String, Case>::new());
    for line in recording.lines("gossip_cases.jsonl") {
        let name = text(&line["case"]).to_owned();
        if !cases.contains_key(&name) {
            order.push(name.clone());
        }
        let case = cases.entry(name).or_default();
        let bytes = |key: &str| hex::decode("value", text(&line[key])).unwrap();
        let frame = || {
            let value = bytes("value");
            let kind = u8::try_from(line["type"].as_u64().unwrap()).unwrap();
            let length = u16::try_from(value.len()).unwrap().to_le_bytes();
            [&[kind, length[0], length[1]], value.as_slice()].concat()
        };
        match text(&line["dir"]) {
            "out" if line["rawBytes"].is_string() => case.writes.push(bytes("rawBytes")),
            "out" => {
                let frame = frame();
                match wire::parse(&frame) {
                    Ok(Some((Message::BlockRequest(id), _))) => case.asked.push(id),
                    Ok(Some((Message::Heartbeat(said), _))) => {
                        case.claims = case.claims.max(said.solid).max(said.latest)
                    }
                    _ => {}
                }
                case.writes.push(frame);
            }
            "in" if line["type"] == 2 => {
                let id: [u8; 32] = bytes("blockId").try_into().unwrap();
                case.sent.insert(BlockId(id));
            }
            "in" => {
                let frame = frame();
                if let Ok(Some((Message::Heartbeat(heartbeat), _))) = wire::parse(&frame)
                    && case.first.is_empty()
                {
                    case.index = heartbeat.solid.0;
                }
                if case.first.len() < 2 {
                    case.first.push(frame);
                }
            }
            "rest" => case.rest.push((text(&line["path"]).to_owned(), line["json"].clone())),
            "result" => case.closed = text(&line["text"]).starts_with("closed"),
            _ => {}
        }
    }
    let mut newest = 1;
    for name in &order {
        let case = cases.get_mut(name).unwrap();
        // Those that HORNET said nothing to.
        newest = newest.max(case.index);
        case.index = newest;
    }
    order.into_iter().map(|name| (name.clone(), cases.remove(&name).unwrap())).collect()
}

/// The stream is alive: the node answers on it.
fn answers(script: &mut Script, stream: &str) {
    script.take(stream).clear();
    let started = Instant::now();
    loop {
        script.write(stream, &Message::MilestoneRequest(MilestoneIndex(1)).pack());
        script.event(Duration::from_millis(200));
        let received = script.take(stream).clone();
        let (mut at, mut found) = (0, false);
        while let Ok(Some((message, length))) = wire::parse(&received[at..]) {
            found |= matches!(message, Message::Block(bytes)
                if Block::parse(bytes).is_ok_and(|block| block.milestone().is_some_and(|payload| payload.essence.index.0 == 1)));
            at += length;
        }
        if found {
            return;
        }
        assert!(!script.is_closed(stream), "the node ended it");
        assert!(started.elapsed() < script::LIMIT, "the node does not answer");
    }
}

/// What the node said is what HORNET said: how it began, what it asked for, and that it gave what it was asked for.
fn speaks_as_hornet(script: &mut Script, stream: &str, case: &Case, recorded: &BTreeSet<BlockId>) {
    let gives = |script: &Script, id: &BlockId| {
        whole_frames(script.all(stream)).iter().any(|frame| {
            matches!(wire::parse(frame), Ok(Some((Message::Block(bytes), _))) if block::id_of(bytes) == *id)
        })
    };
    for id in case.asked.iter().filter(|_| !case.closed) {
        let started = Instant::now();
        // One that it was just given may not be stored yet.
        while case.sent.contains(id) && !gives(script, id) {
            assert!(started.elapsed() < script::LIMIT, "{stream}: {id} is not given");
            script.write(stream, &Message::BlockRequest(*id).pack());
            script.event(Duration::from_millis(200));
        }
        assert_eq!(gives(script, id), case.sent.contains(id), "{stream}: {id}");
    }
    let said = whole_frames(script.all(stream));
    // The end of a stream may overtake what was sent on it.
    let first = said.iter().take(if case.closed { said.len().min(2) } else { 2 });
    assert!(
        first.eq(case.first.iter().take(if case.closed { said.len() } else { 2 })),
        "{stream}: {said:x?}"
    );
    for frame in &said {
        match wire::parse(frame) {
            // The parent that three strangers made up, or one of a block that HORNET had by then, and the feeder tells later.
            Ok(Some((Message::BlockRequest(id), _))) => {
                assert!(id == BlockId([0xab; 32]) || recorded.contains(&id), "{stream}: {id} is asked for");
            }
            Ok(Some((Message::MilestoneRequest(index), _))) => {
                assert!(index <= case.claims, "{stream}: milestone {index} is asked for");
            }
            _ => {}
        }
    }
}

/// Every connection that a stranger made to HORNET ends here as it ended there, the node says what HORNET said, and the API says
/// the same of the blocks.
///
/// | case | HORNET | here | why |
/// | --- | --- | --- | --- |
/// | heartbeat that claims to be far ahead | 1,178 requests in 14 s | at most 40 | a peer is believed as far as it gives what it claims to have |
#[test]
fn recorded_strangers_fare_as_with_hornet() {
    let recording = Recording::of("tangle-c");
    let protocol = protocol(text(&recording.network()["networkName"]));
    let feeder = Feeder::start(&recording, &protocol);
    let folder = tempfile::tempdir().unwrap();
    let node = recorded_node(folder.path(), &recording, &feeder);
    let mut script = Script::start(&protocol);
    let cases = cases(&recording);
    assert_eq!(cases.len(), 36);
    let recorded = recording.blocks().iter().map(|bytes| block::id_of(bytes)).collect::<BTreeSet<_>>();
    for (name, case) in &cases {
        eprintln!("{name}, at milestone {}", case.index);
        feeder.advance(case.index);
        node.wait_confirmed(case.index.into());
        let crowd = name.starts_with("five unknown peers at once");
        // The others of a crowd have left by then.
        let before = if crowd && !name.ends_with("once") { usize::MAX } else { 1 };
        node.wait_for("peers that left", |node| connected(node, folder.path()).len() <= before);
        let stream = name.as_str();
        script.host(stream, false);
        let opened = script.dial(stream, &node.peer, stream);
        if name == "bytes one at a time" {
            let bytes = [heartbeat(case.index), Message::MilestoneRequest(MilestoneIndex(0)).pack()].concat();
            for byte in bytes {
                script.write(stream, &[byte]);
            }
        }
        for write in case.writes.iter().filter(|_| opened && !script.is_closed(stream)) {
            script.write(stream, write);
        }
        match case.closed {
            // One that is one too many may be gone before its stream is open.
            true if !opened => {}
            true => script.wait_closed(stream),
            false => {
                assert!(opened, "{name}");
                if name.contains("far ahead") {
                    let count = requests_within(&mut script, stream, Duration::from_secs(14));
                    assert!((1..=40).contains(&count), "{count} requests");
                }
                answers(&mut script, stream);
            }
        }
        speaks_as_hornet(&mut script, stream, case, &recorded);
        for (path, expected) in &case.rest {
            let status = expected["_status"].as_u64().unwrap();
            node.wait_for(path, |node| u64::from(node.get(path).status) == status);
            if expected["isSolid"] == true {
                node.wait_for("solid block", |node| node.json(path)["isSolid"] == true);
            } else if status == 200 {
                let answer = node.json(path);
                for key in ["blockId", "isSolid", "parents", "payload", "nonce", "protocolVersion"] {
                    assert_eq!(answer[key], expected[key], "{name}: {path}: {key}");
                }
            }
        }
        if !crowd && !case.closed {
            script.command(json!({ "do": "close", "stream": stream }));
        }
    }
    // Nothing of that keeps it from following the network to the end.
    feeder.advance(715);
    node.wait_confirmed(715);
    node.stop();
}

/// Asks `peers` with a token.
fn as_owner(node: &Node, folder: &Path, method: &str, body: &[u8]) -> http::Answer {
    let identity = Identity::load(&folder.join("data/identity")).unwrap().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let token = Tokens::new(identity.token_secret(), identity.peer_id(), SALT.to_owned()).issue(now);
    let header = format!("Authorization: Bearer {token}");
    http::request(node.api, method, "/api/core/v2/peers", &[&header], body).unwrap()
}

/// Peers that the node is connected to, as its owner is told.
fn connected(node: &Node, folder: &Path) -> Vec<Value> {
    let answer = as_owner(node, folder, "GET", &[]);
    let peers: Option<Vec<Value>> = serde_json::from_slice(&answer.body).unwrap();
    peers.unwrap_or_default().into_iter().filter(|peer| peer["connected"] == true).collect()
}

/// Requests for milestones that come in this time.
fn requests_within(script: &mut Script, stream: &str, time: Duration) -> usize {
    let started = Instant::now();
    while started.elapsed() < time {
        script.event(Duration::from_millis(100));
    }
    let received = script.take(stream).clone();
    let (mut at, mut count) = (0, 0);
    while let Ok(Some((message, length))) = wire::parse(&received[at..]) {
        count += usize::from(matches!(message, Message::MilestoneRequest(index) if index.0 > 0));
        at += length;
    }
    count
}

/// Frames in these bytes, without what is left of the last one.
fn whole_frames(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut at, mut frames) = (0, Vec::new());
    while let Some((_, length)) = wire::parse(&bytes[at..]).unwrap() {
        frames.push(bytes[at..at + length].to_vec());
        at += length;
    }
    frames
}

/// Frames that came on a stream since this was last asked.
fn frames(script: &mut Script, stream: &str) -> Vec<Vec<u8>> {
    let received = std::mem::take(script.take(stream));
    let frames = whole_frames(&received);
    let length = frames.iter().map(Vec::len).sum::<usize>();
    *script.take(stream) = received[length..].to_vec();
    frames
}

/// Who opens what, what is said first, and that blocks travel in both directions, once.
#[test]
fn a_peer_of_another_implementation_is_served_as_by_hornet() {
    let protocol = protocol("osmia-private");
    let mut script = Script::start(&protocol);
    let (hornet, address) = script.host("hornet", true);
    let folder = tempfile::tempdir().unwrap();
    let peers =
        format!("[peering]\nbind = [\"127.0.0.1:0\"]\npeers = [{{ address = \"{}\" }}]\n", address.unwrap());
    let config = Node::config("[coordinator]\nenabled = true\ninterval_s = 1\n")
        .replace("[peering]\nbind = [\"127.0.0.1:0\"]\n", &peers);
    let node = Node::start_with(&folder.path().join("node.toml"), &config, &folder.path().join("data"));

    // Whoever dials opens the stream, and begins with a heartbeat and the request for the newest milestone.
    let inbound = |event: &Value| event["event"] == "open" && event["inbound"] == true;
    let first = text(&script.wait("stream of the node", inbound)["stream"]).to_owned();
    let id = node.peer.rsplit('/').next().unwrap().to_owned();
    script.write(&first, &heartbeat(0));
    let started = Instant::now();
    let mut said = Vec::new();
    while said.len() < 2 {
        assert!(started.elapsed() < script::LIMIT);
        script.event(Duration::from_millis(100));
        said.extend(frames(&mut script, &first));
    }
    assert_eq!((said[0][0], said[0].len()), (4, 17), "a heartbeat");
    assert_eq!(said[1], Message::MilestoneRequest(MilestoneIndex(0)).pack());

    script.command(json!({ "do": "identify", "host": "hornet", "id": id }));
    let identified = script.wait("identity", |event| event["event"] == "identified");
    assert!(text(&identified["agentVersion"]).starts_with("osmia/"), "{identified}");
    assert!(identified["protocols"].as_array().unwrap().contains(&json!(protocol)), "{identified}");

    // One stream for each peer: a second one is ended, the first goes on.
    answers(&mut script, &first);
    script.command(json!({ "do": "open", "host": "hornet", "id": id, "stream": "second" }));
    script.wait_closed("second");
    answers(&mut script, &first);

    // A block of a client reaches the peer, once; one of the peer reaches the Tangle.
    node.wait_confirmed(2);
    let payload =
        |data: &[u8]| Payload::TaggedData(TaggedData::new(b"stranger".to_vec(), data.to_vec()).unwrap());
    let bytes = node.mined(payload(b"from a client"));
    assert_eq!(node.post("application/vnd.iota.serializer-v1", &bytes).status, 201);
    let from_peer = node.mined(payload(b"from a peer"));
    script.write(&first, &Message::Block(&from_peer).pack());
    let path = format!("/api/core/v2/blocks/{}/metadata", block::id_of(&from_peer));
    node.wait_for("referenced block", |node| {
        let answer: Value = serde_json::from_slice(&node.get(&path).body).unwrap();
        answer["ledgerInclusionState"] == "noTransaction"
    });
    let here = node.confirmed();
    node.wait_confirmed(here + 2);
    while script.event(Duration::from_millis(300)).is_some() {
        if script.take(&first).len() > 1 << 20 {
            panic!("the node never stops");
        }
        let frames = frames(&mut script, &first);
        said.extend(frames);
        if node.confirmed() > here + 4 {
            break;
        }
    }
    let count = |bytes: &[u8]| said.iter().filter(|frame| **frame == Message::Block(bytes).pack()).count();
    assert_eq!((count(&bytes), count(&from_peer)), (1, 0));

    // A genuine milestone under one parent more than it names ended HORNET for good.
    let newest = said.iter().rev().find_map(|frame| match wire::parse(frame) {
        Ok(Some((Message::Block(bytes), _))) => {
            Block::parse(bytes).ok().filter(|block| block.milestone().is_some())
        }
        _ => None,
    });
    let mut block = newest.expect("milestones were sent");
    let parents = block.parents.as_slice().iter().copied().chain([block::id_of(&bytes)]).collect();
    block.parents = Parents::from_unsorted(parents).unwrap();
    script.write(&first, &Message::Block(&block.pack()).pack());
    answers(&mut script, &first);

    // Nobody is their own peer.
    let body = json!({ "multiAddress": node.peer }).to_string();
    let answer = as_owner(&node, folder.path(), "POST", body.as_bytes());
    assert_eq!(answer.status, 400, "{}", String::from_utf8_lossy(&answer.body));

    // Whoever ends the stream loses the connection, and a named peer is dialled again.
    script.command(json!({ "do": "close", "stream": first }));
    script.wait("end of the connection", |event| {
        event["event"] == "disconnected" && event["id"] == id.as_str()
    });
    let again = text(&script.wait("another stream", inbound)["stream"]).to_owned();
    script.write(&again, &heartbeat(0));
    answers(&mut script, &again);

    // Who breaks a rule stays out for a while; others on its machine do not.
    let breaker = |script: &mut Script, stream: &str| {
        let opened = script.dial("breaker", &node.peer, stream);
        if opened {
            script.write(stream, &heartbeat(0));
        }
        opened
    };
    script.host("breaker", false);
    assert!(breaker(&mut script, "breaks"));
    answers(&mut script, "breaks");
    script.write("breaks", &Message::Block(b"garbage").pack());
    script.wait_closed("breaks");
    let since = Instant::now();
    if breaker(&mut script, "comes again") {
        script.wait_closed("comes again");
    }
    assert!(since.elapsed() < Duration::from_secs(50), "it was ended for something else");
    script.host("other", false);
    assert!(script.dial("other", &node.peer, "behaves"));
    script.write("behaves", &heartbeat(0));
    answers(&mut script, "behaves");

    // Another network's node is no peer.
    let mut foreign = Script::start("/iota-gossip/1/1.0.0");
    foreign.host("foreign", false);
    assert!(!foreign.dial("foreign", &node.peer, "foreign"));
    assert_ne!(hornet, id);
    node.stop();
}
