//! The REST core API v2 of a real node: forms, faults, proof of work, health, restarts.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use osmia::mining::calibration;
use osmia::pow;
use osmia::protocol::block::{Block, Parents};
use osmia::protocol::hex;
use osmia::protocol::id::BlockId;
use serde_json::{Value, json};

use crate::http;
use crate::node::Node;

const BINARY: &str = "application/vnd.iota.serializer-v1";
const JSON: &str = "application/json";

fn tips(node: &Node) -> Vec<BlockId> {
    node.tips()
}

/// A block on the node's tips with enough proof of work.
fn mined(node: &Node, text: &str) -> Vec<u8> {
    let payload = osmia::protocol::tagged_data::TaggedData::new(b"test".to_vec(), text.into()).unwrap();
    node.mined(osmia::protocol::block::Payload::TaggedData(payload))
}

fn error_of(answer: &http::Answer) -> (u16, String) {
    let body: Value = serde_json::from_slice(&answer.body)
        .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&answer.body)));
    assert_eq!(body["error"]["code"], Value::String(answer.status.to_string()), "the code is a string");
    (answer.status, body["error"]["message"].as_str().unwrap().to_owned())
}

#[test]
fn blocks_in_both_forms_are_attached_read_back_and_referenced() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "");
    node.wait_confirmed(1);
    assert_eq!(node.get("/health").status, 200);
    assert_eq!(node.json("/api/routes"), json!({"routes": ["core/v2"]}));

    let raw = mined(&node, "binary");
    let posted = node.post(BINARY, &raw);
    assert_eq!(posted.status, 201);
    let id = osmia::protocol::block::id_of(&raw).to_string();
    assert_eq!(serde_json::from_slice::<Value>(&posted.body).unwrap(), json!({"blockId": id}));
    assert!(posted.head.contains(&format!("location: {id}")), "{}", posted.head);

    let path = format!("/api/core/v2/blocks/{id}");
    let read = http::request(node.api, "GET", &path, &[&format!("Accept: {BINARY}")], &[]).unwrap();
    assert_eq!((read.status, &read.body), (200, &raw));
    assert!(read.head.contains(&format!("content-type: {BINARY}")), "{}", read.head);
    let block = node.json(&path);
    assert_eq!(block["payload"], json!({"type": 5, "tag": "0x74657374", "data": hex::encode(b"binary")}));
    assert!(block["nonce"].is_string(), "64-bit numbers are strings");

    // The same block again is no error, nor is its JSON form.
    assert_eq!(node.post(BINARY, &raw).status, 201);
    assert_eq!(node.post(JSON, block.to_string().as_bytes()).status, 201);
    let other = mined(&node, "json");
    let other = osmia::protocol::json::BlockJson::from_block(&Block::parse(&other).unwrap());
    assert_eq!(node.post(JSON, &serde_json::to_vec(&other).unwrap()).status, 201);

    let metadata = format!("{path}/metadata");
    node.wait_for("reference", |node| node.json(&metadata)["referencedByMilestoneIndex"].is_u64());
    let found = node.json(&metadata);
    assert_eq!(found["ledgerInclusionState"], "noTransaction");
    assert_eq!((&found["blockId"], &found["isSolid"]), (&json!(id), &json!(true)));
    assert!(found["whiteFlagIndex"].is_u64() && found["shouldPromote"].is_null(), "{found}");
    let index = found["referencedByMilestoneIndex"].as_u64().unwrap();
    let milestone = node.json(&format!("/api/core/v2/milestones/by-index/{index}"));
    assert_eq!((&milestone["type"], &milestone["index"]), (&json!(7), &json!(index)));
}

/// HORNET: > `restAPI.useGZIP`
#[test]
fn an_answer_is_compressed_for_whom_that_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "");
    node.wait_confirmed(1);
    let path = "/api/core/v2/milestones/by-index/1";
    let packed = http::request(node.api, "GET", path, &["Accept-Encoding: gzip"], &[]).unwrap();
    assert!(packed.head.contains("content-encoding: gzip"), "{}", packed.head);
    // In one chunk, whose head stands before.
    let begin = packed.body.windows(2).position(|two| two == [0x1f, 0x8b]).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed.body[begin..]).read_to_string(&mut text).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), node.json(path));
    assert!(!node.get(path).head.contains("content-encoding"));
}

#[test]
fn milestones_by_index_and_id_agree_in_both_forms() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "");
    node.wait_confirmed(2);
    let info = node.json("/api/core/v2/info");
    assert_eq!(info["status"]["isHealthy"], true);
    let second = node.json("/api/core/v2/milestones/by-index/2");
    let first = second["previousMilestoneId"].as_str().unwrap();
    let by_id = node.json(&format!("/api/core/v2/milestones/{first}"));
    assert_eq!(by_id, node.json("/api/core/v2/milestones/by-index/1"));
    assert_eq!(by_id["previousMilestoneId"], format!("0x{}", "00".repeat(32)));
    let accept = format!("Accept: {BINARY}");
    let raw = http::request(node.api, "GET", "/api/core/v2/milestones/by-index/2", &[&accept], &[]).unwrap();
    // The payload with its type, as the published client reads it.
    assert_eq!(raw.body[..4], [7, 0, 0, 0]);
    assert_eq!(raw.body[4..8], 2u32.to_le_bytes());
}

/// HORNET looks for the parameter in any case, and not at its value.
#[test]
fn tips_may_be_semi_lazy() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "");
    node.wait_confirmed(1);
    for query in ["", "?allowSemiLazy=true", "?x=1&ALLOWSEMILAZY", "?allowSemiLazy=%ff"] {
        let tips = node.json(&format!("/api/core/v2/tips{query}"));
        assert!(tips["tips"].as_array().is_some_and(|tips| !tips.is_empty()), "{query}: {tips}");
    }
}

#[test]
fn every_fault_has_its_status_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "");
    node.wait_confirmed(1);
    let zero = format!("0x{}", "00".repeat(32));
    for (path, status, why) in [
        ("/api/core/v2/blocks/0x12/nothing", 404, "no such route"),
        ("/api/core/v2/nothing", 400, "missing or malformed jwt"),
        ("/nothing", 403, "nothing here"),
        ("/api/core/v2/blocks/0x12", 404, "not found"),
        (&format!("/api/core/v2/blocks/{zero}ff"), 404, "not found"),
        ("/api/core/v2/blocks/%ff%fe", 400, "not UTF-8"),
        ("/api/core/v2/blocks/12", 400, "blockId"),
        ("/api/core/v2/blocks/0x123", 400, "blockId"),
        ("/api/core/v2/blocks/0xzz/metadata", 400, "blockId"),
        (&format!("/api/core/v2/blocks/{zero}/metadata"), 404, "not found"),
        (&format!("/api/core/v2/milestones/{zero}"), 404, "not found"),
        ("/api/core/v2/milestones/by-index/0", 404, "not found"),
        ("/api/core/v2/milestones/by-index/999999", 404, "not found"),
        ("/api/core/v2/milestones/by-index/-1", 400, "no number"),
        ("/api/core/v2/milestones/by-index/4294967296", 400, "no number"),
    ] {
        let (found, message) = error_of(&node.get(path));
        assert_eq!(found, status, "{path}");
        assert!(message.contains(why), "{path}: {message}");
    }
    let wrong_method = http::request(node.api, "DELETE", "/api/core/v2/info", &[], &[]).unwrap();
    assert_eq!(error_of(&wrong_method).0, 405);

    let good = mined(&node, "good");
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    let json = |text: &str| text.as_bytes().to_vec();
    for (kind, body, status, why) in [
        (BINARY, changed(&|bytes| bytes.push(0)), 400, "1 bytes left over"),
        (BINARY, changed(&|bytes| bytes.truncate(bytes.len() - 1)), 400, "nonce"),
        (BINARY, changed(&|bytes| bytes[0] = 3), 400, "protocolVersion: 3"),
        (BINARY, changed(&|bytes| bytes[1] = 9), 400, "parents count: 9"),
        (BINARY, changed(&|bytes| bytes[2] ^= 1), 400, ""),
        (BINARY, vec![], 400, "protocolVersion"),
        (JSON, json("{\"protocolVersion\":"), 400, "invalid block: EOF"),
        (JSON, json("[]"), 400, "invalid block"),
        (JSON, json("{\"nonce\":5}"), 400, "invalid type"),
        (JSON, json("{\"protocolVersion\":2,\"nonce\":\"x\"}"), 400, "nonce: a 64-bit number"),
        (JSON, json("{\"protocolVersion\":2,\"nonce\":\"7\"}"), 400, "a nonce without parents"),
        (JSON, json("{\"protocolVersion\":2,\"parents\":[\"0x00\"]}"), 400, "parents"),
        (JSON, json("{\"protocolVersion\":2,\"payload\":{\"type\":8}}"), 400, "payload.type: type 8"),
        (
            JSON,
            json("{\"protocolVersion\":2,\"payload\":{\"type\":7}}"),
            400,
            "payload: missing field `index`",
        ),
        (
            JSON,
            json("{\"protocolVersion\":2,\"payload\":{\"type\":5,\"tag\":7}}"),
            400,
            "payload: invalid type: integer `7`",
        ),
        (JSON, json("{\"protocolVersion\":2,\"payload\":{}}"), 400, "payload.type: a number expected"),
        (JSON, json("[2,[],null,\"0\"]"), 400, "a JSON object expected"),
        ("text/plain", good.clone(), 415, "Content-Type must be"),
        (JSON, vec![b' '; (1 << 20) + 1], 413, "larger than 262144 bytes"),
    ] {
        let (found, message) = error_of(&node.post(kind, &body));
        assert_eq!(found, status, "{kind} {why}: {message}");
        assert!(message.contains(why), "{message:?} lacks {why:?}");
    }
    let none = http::request(node.api, "POST", "/api/core/v2/blocks", &[], &good).unwrap();
    assert_eq!(error_of(&none).0, 415, "no media type");

    // Unknown parents: refused, and nothing of it stays.
    let stranger =
        Block { parents: Parents::new(vec![BlockId([9; 32])]).unwrap(), ..Block::parse(&good).unwrap() };
    let bytes = stranger.pack();
    let digest = osmia::protocol::blake2b_256(&bytes[..bytes.len() - 8]);
    let mut search = pow::miner::Search::new(
        pow::kernel::Kernel::detect()[0],
        digest,
        pow::required_zeros(bytes.len(), 100),
        0,
    );
    let nonce = std::iter::repeat_with(|| search.step()).flatten().next().unwrap();
    let bytes = Block { nonce, ..stranger }.pack();
    let (status, message) = error_of(&node.post(BINARY, &bytes));
    assert!(status == 400 && message.contains("is not known here"), "{message}");
    let id = osmia::protocol::block::id_of(&bytes);
    assert_eq!(node.get(&format!("/api/core/v2/blocks/{id}")).status, 404);
}

#[test]
fn without_remote_pow_a_client_is_told_to_mine_itself() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "");
    node.wait_confirmed(1);
    assert_eq!(node.json("/api/core/v2/info")["features"], json!([]));
    let tips = tips(&node).iter().map(BlockId::to_string).collect::<Vec<_>>();
    for (expected, body) in [
        (503, json!({"protocolVersion": 2, "parents": tips, "payload": {"type": 5}, "nonce": "0"})),
        (400, json!({"protocolVersion": 2, "payload": {"type": 5}})),
    ] {
        let (status, message) = error_of(&node.post(JSON, body.to_string().as_bytes()));
        assert_eq!(status, expected);
        // The words that make iota-sdk fall back to its own proof of work.
        assert!(message.contains("proof of work is not enabled"), "{message}");
    }
}

#[test]
fn with_remote_pow_the_node_finds_parents_and_nonce() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "[pow]\nenabled = true\nworkers = 2\n");
    node.wait_confirmed(1);
    assert_eq!(node.json("/api/core/v2/info")["features"], json!(["pow"]));
    let body = json!({"protocolVersion": 2, "payload": {"type": 5, "data": "0x01"}});
    let answer = node.post(JSON, body.to_string().as_bytes());
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    let path = format!("/api/core/v2/blocks/{}", answer["blockId"].as_str().unwrap());
    let raw = http::request(node.api, "GET", &path, &[&format!("Accept: {BINARY}")], &[]).unwrap().body;
    assert!(pow::is_sufficient(&raw, 100));
    // Given parents are kept.
    let parents = tips(&node).iter().map(BlockId::to_string).collect::<Vec<_>>();
    let body = json!({"protocolVersion": 2, "parents": parents, "payload": {"type": 5}, "nonce": "0"});
    let answer: Value = serde_json::from_slice(&node.post(JSON, body.to_string().as_bytes()).body).unwrap();
    let block = node.json(&format!("/api/core/v2/blocks/{}", answer["blockId"].as_str().unwrap()));
    assert_eq!(block["parents"], json!(parents));
}

/// Clients that wait in the queue for longer than the network is deep: each gets a block or is told to come back, none
/// a block on parents that have become too old.
#[test]
fn parents_are_chosen_when_the_turn_comes() {
    let folder = tempfile::tempdir().unwrap();
    let network = "[network]\nname = \"queue\"\nmin_pow_score = 20000\nbelow_max_depth = 4\n";
    let node = Node::start(folder.path(), &format!("[pow]\nenabled = true\nworkers = 1\n{network}"));
    node.wait_confirmed(1);
    let api = node.api;
    let answers = std::thread::scope(|scope| {
        let post = move |client: usize| {
            let body =
                json!({"protocolVersion": 2, "payload": {"type": 5, "data": format!("0x{client:02x}")}});
            let json = [&*format!("Content-Type: {JSON}")];
            http::request(api, "POST", "/api/core/v2/blocks", &json, body.to_string().as_bytes()).unwrap()
        };
        let clients = (0..9).map(|client| scope.spawn(move || post(client))).collect::<Vec<_>>();
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    for answer in &answers {
        assert!([201, 503].contains(&answer.status), "{}", String::from_utf8_lossy(&answer.body));
    }
    assert!(answers.iter().any(|answer| answer.status == 201));
}

/// A payload that has enough zeros by chance, beside the parents that stand in for those still to be chosen.
#[test]
fn no_payload_is_left_without_its_nonce() {
    let folder = tempfile::tempdir().unwrap();
    let network = "[network]\nname = \"chance\"\nmin_pow_score = 1\n";
    let node = Node::start(folder.path(), &format!("[pow]\nenabled = true\nworkers = 1\n{network}"));
    node.wait_confirmed(1);
    // Every third hash or so is good enough for blocks as short as these.
    for number in 0..400 {
        let body = json!({"protocolVersion": 2, "payload": {"type": 5, "data": format!("0x{number:08x}")}});
        let answer = node.post(JSON, body.to_string().as_bytes());
        assert_eq!(answer.status, 201, "{number}: {}", String::from_utf8_lossy(&answer.body));
    }
}

/// What would be refused anyway is refused before a nonce is looked for, and what nobody here could find is not tried.
#[test]
fn hopeless_blocks_are_not_mined() {
    let folder = tempfile::tempdir().unwrap();
    let network = "[network]\nname = \"hopeless\"\nmin_pow_score = 4294967295\n";
    let node = Node::start(folder.path(), &format!("[pow]\nenabled = true\n{network}"));
    node.wait_confirmed(1);
    let body = json!({"protocolVersion": 3, "payload": {"type": 5, "data": "0x01"}});
    let (status, message) = error_of(&node.post(JSON, body.to_string().as_bytes()));
    assert!(status == 400 && message.contains("protocolVersion"), "{message}");
    let unknown = format!("0x{}", "12".repeat(32));
    let body = json!({"protocolVersion": 2, "parents": [unknown], "payload": {"type": 5}, "nonce": "0"});
    let (status, message) = error_of(&node.post(JSON, body.to_string().as_bytes()));
    assert!(status == 400 && message.contains("is not known here"), "{message}");
    let body = json!({"protocolVersion": 2, "payload": {"type": 5, "data": "0x01"}});
    let (status, message) = error_of(&node.post(JSON, body.to_string().as_bytes()));
    // The words that make iota-sdk fall back to its own proof of work.
    assert!(status == 503 && message.contains("proof of work is not available on this node"), "{message}");
}

/// A client that goes away gives its turn up, even if bytes of a next request hide that from the HTTP server; and a
/// node stops at once although it looks for somebody's nonce.
#[test]
fn a_client_that_goes_away_gives_its_turn_up() {
    let folder = tempfile::tempdir().unwrap();
    let body = r#"{"protocolVersion": 2, "payload": {"type": 5, "data": "0x01"}}"#;
    // A nonce takes a quarter to three quarters of a minute, on any machine.
    let rate = calibration::measure().rate(1);
    let zeros = (1..60).find(|zeros| 3u64.pow(*zeros) > 15 * rate).unwrap();
    let score = 3u64.pow(zeros) / 300;
    let network = format!("[network]\nname = \"patience\"\nmin_pow_score = {score}\n");
    let node = Node::start(folder.path(), &format!("[pow]\nenabled = true\nworkers = 1\n{network}"));
    node.wait_confirmed(1);
    let head = format!("POST /api/core/v2/blocks HTTP/1.1\r\nHost: n\r\nContent-Type: {JSON}\r\n");
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}GET /health HTTP/1.1\r\n", body.len());
    let connect = || {
        let mut connection = TcpStream::connect(node.api).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        connection.write_all(request.as_bytes()).unwrap();
        connection
    };
    let waits = |mut connection: &TcpStream| connection.read(&mut [0; 16]).is_err();
    let started = Instant::now();
    let in_time = || assert!(started.elapsed() < Duration::from_secs(90));
    // One that mines and a client's share of the queue, until somebody is told that there is no place.
    let mut places = Vec::new();
    loop {
        places.push(connect());
        if places.len() > 9 && !waits(&places[places.len() - 1]) {
            break;
        }
        in_time();
    }
    drop(places);
    // All places are free again.
    let again = loop {
        // Those of the turn before hold their places for a moment, too.
        std::thread::sleep(Duration::from_secs(2));
        let again = (0..9).map(|_| connect()).collect::<Vec<_>>();
        // All at once: one after the other, nonces are found meanwhile.
        let all_wait = std::thread::scope(|scope| {
            let waiting = again.iter().map(|one| scope.spawn(move || waits(one))).collect::<Vec<_>>();
            waiting.into_iter().all(|waiting| waiting.join().unwrap())
        });
        if all_wait {
            break again;
        }
        in_time();
    };
    node.stop();
    let mut told = 0;
    for mut connection in again {
        let mut answer = Vec::new();
        // A connection that is cut off is no answer.
        let _ = connection.read_to_end(&mut answer);
        told += usize::from(String::from_utf8_lossy(&answer).contains("the node is stopping"));
    }
    assert!(told >= 8, "{told} of 9 were told why they get no nonce");
}

/// What can never be valid is refused by the field.
#[test]
fn a_transaction_that_can_never_be_valid_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "");
    node.wait_confirmed(1);
    let zeros = "0x".to_owned() + &"00".repeat(32);
    let address = json!({"type": 0, "pubKeyHash": zeros});
    let output =
        json!({"type": 3, "amount": "1000000", "unlockConditions": [{"type": 0, "address": address}]});
    let essence = json!({
        "type": 1, "networkId": "1", "inputsCommitment": zeros, "outputs": [output],
        "inputs": [{"type": 0, "transactionId": zeros, "transactionOutputIndex": 0}],
    });
    let signature = json!({"type": 0, "publicKey": zeros, "signature": "0x".to_owned() + &"00".repeat(64)});
    let transaction =
        json!({"type": 6, "essence": essence, "unlocks": [{"type": 0, "signature": signature}]});
    let parents = tips(&node).iter().map(BlockId::to_string).collect::<Vec<_>>();
    let body = json!({"protocolVersion": 2, "parents": parents, "payload": transaction, "nonce": "1"});
    let (status, message) = error_of(&node.post(JSON, body.to_string().as_bytes()));
    assert_eq!(status, 400);
    assert!(message.contains("payload.essence.networkId: 1 is not this network's id"), "{message}");
    // A mistake inside is told by its field.
    let body = body.to_string().replace("\"1000000\"", "\"-1\"");
    let (status, message) = error_of(&node.post(JSON, body.as_bytes()));
    assert!(status == 400 && message.contains("amount: a 64-bit number"), "{message}");
}

/// Asks again and again and reads no answer: the node ends that, as nobody else could have the place.
#[test]
fn a_client_that_reads_nothing_is_cut_off() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "");
    let mut stream = std::net::TcpStream::connect(node.api).unwrap();
    stream.set_write_timeout(Some(std::time::Duration::from_secs(120))).unwrap();
    let requests = "GET /api/core/v2/info HTTP/1.1\r\nHost: osmia\r\n\r\n".repeat(100);
    let error = loop {
        if let Err(error) = stream.write_all(requests.as_bytes()) {
            break error;
        }
    };
    let cut_off = [std::io::ErrorKind::ConnectionReset, std::io::ErrorKind::BrokenPipe];
    assert!(cut_off.contains(&error.kind()), "{error:?}");
}

#[test]
fn a_member_without_its_network_is_unhealthy_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "[network]\nname = \"alone\"\n");
    node.wait_confirmed(1);
    drop(node);
    // The same folder, now as a member that waits for peers.
    let key = std::fs::read_to_string(folder.path().join("data/identity/coordinator.key")).unwrap();
    let seed: [u8; 32] = hex::decode_array("key", key.trim()).unwrap();
    let public = ed25519_zebra::VerificationKey::from(&ed25519_zebra::SigningKey::from(seed));
    let config = folder.path().join("member.toml");
    let text = format!(
        "[network]\nname = \"alone\"\nmilestone_keys = [{{ public_key = \"{}\" }}]\n[rest]\nbind = \"127.0.0.1:0\"\n[peering]\nbind = []\n",
        hex::encode(&<[u8; 32]>::from(public))
    );
    let node = Node::start_with(&config, &text, &folder.path().join("data"));
    assert_eq!(node.get("/health").status, 503);
    let info = node.json("/api/core/v2/info");
    assert_eq!(info["status"]["isHealthy"], false);
    assert!(info["status"]["confirmedMilestone"]["index"].as_u64().unwrap() >= 1, "{info}");
}

/// 32,768 bytes are a block, one more are none, whatever form they come in.
#[test]
fn the_largest_block_is_taken_and_one_byte_more_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "[network]\nmin_pow_score = 0\n");
    node.wait_confirmed(1);
    let parents = tips(&node).iter().map(BlockId::to_string).collect::<Vec<_>>();
    let frame = 1 + 1 + 32 * parents.len() + 4 + (4 + 1 + 4) + 8;
    for (length, status) in [(32_768, 201), (32_769, 400), (32_768 + frame, 400)] {
        let data = hex::encode(&vec![7; length - frame]);
        let body = json!({"protocolVersion": 2, "parents": parents, "payload": {"type": 5, "data": data}, "nonce": "1"});
        let answer = node.post(JSON, body.to_string().as_bytes());
        assert_eq!(answer.status, status, "{length}: {}", String::from_utf8_lossy(&answer.body));
    }
    // The largest one survives the journal.
    let largest = node.json("/api/core/v2/tips");
    node.kill();
    let node = Node::start(folder.path(), "[network]\nmin_pow_score = 0\n");
    for id in largest["tips"].as_array().unwrap() {
        assert_eq!(node.get(&format!("/api/core/v2/blocks/{}", id.as_str().unwrap())).status, 200);
    }
}

/// A block that a milestone referenced keeps that reference when it is posted again after a restart.
#[test]
fn a_referenced_block_is_never_referenced_again() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "");
    node.wait_confirmed(1);
    let raw = mined(&node, "once");
    assert_eq!(node.post(BINARY, &raw).status, 201);
    let path = format!("/api/core/v2/blocks/{}/metadata", osmia::protocol::block::id_of(&raw));
    node.wait_for("reference", |node| node.json(&path)["referencedByMilestoneIndex"].is_u64());
    let before = node.json(&path);
    node.stop();
    let node = Node::start(folder.path(), "");
    node.wait_for("health", |node| node.get("/health").status == 200);
    assert_eq!(node.post(BINARY, &raw).status, 201);
    node.wait_confirmed(node.confirmed() + 2);
    assert_eq!(node.json(&path), before);
}

/// Connections that say nothing are cut off, so that others find a place.
#[test]
fn silent_connections_do_not_shut_out_others() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "");
    let silent = (0..140).map(|_| std::net::TcpStream::connect(node.api).unwrap()).collect::<Vec<_>>();
    // Waits for a place, which is free after ten seconds.
    assert_eq!(node.get("/api/routes").status, 200);
    drop(silent);
}

/// Killed at any moment, a node still has every block that it acknowledged, and goes on issuing.
#[test]
fn a_killed_node_keeps_what_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut posted: Vec<String> = Vec::new();
    let mut newest = 0;
    for round in 0..6 {
        let node = Node::start(folder.path(), "[storage]\nkeep_milestones = 200\n");
        node.wait_confirmed(newest + 1);
        for id in &posted {
            assert_eq!(
                node.get(&format!("/api/core/v2/blocks/{id}")).status,
                200,
                "{id} lost in round {round}"
            );
        }
        newest = node.confirmed();
        for number in 0..=round * 3 {
            let raw = mined(&node, &format!("{round} {number}"));
            assert_eq!(node.post(BINARY, &raw).status, 201);
            posted.push(osmia::protocol::block::id_of(&raw).to_string());
        }
        node.kill();
    }
    let node = Node::start(folder.path(), "[storage]\nkeep_milestones = 200\n");
    for id in &posted {
        node.wait_for("reference", |node| {
            node.json(&format!("/api/core/v2/blocks/{id}/metadata"))["referencedByMilestoneIndex"].is_u64()
        });
    }
    node.stop();
}
