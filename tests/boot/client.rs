//! Clients: the published iota-sdk in a Python environment of its own, and plain requests.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use osmia::protocol::block::{self, Block, Parents, Payload};
use osmia::protocol::id::BlockId;
use osmia::protocol::tagged_data::TaggedData;
use serde_json::{Value, json};

use crate::host;
use crate::http::{request, request_on};

/// The client that wallets and exchanges use, as published.
const PACKAGE: &str = "iota-sdk==1.1.4";

fn environment() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/osmia/python")
}

/// Installs the client, unless it is there: with the first Python that it was published for.
pub(crate) fn install() {
    let python = environment().join("bin/python");
    let works = |python: &PathBuf| {
        Command::new(python)
            .args(["-c", "import iota_sdk"])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if works(&python) {
        return;
    }
    println!("installing {PACKAGE}");
    let mut refusals = Vec::new();
    for interpreter in ["python3", "python3.12", "python3.11", "python3.10"] {
        let made = Command::new(interpreter).args(["-m", "venv", "--clear"]).arg(environment()).output();
        if !made.as_ref().is_ok_and(|output| output.status.success()) {
            refusals.push(format!("{interpreter}: {made:?}"));
            continue;
        }
        let pip = Command::new(&python).args(["-m", "pip", "install", "--quiet", PACKAGE]).output().unwrap();
        if works(&python) {
            return;
        }
        refusals.push(format!("{interpreter}: {}", String::from_utf8_lossy(&pip.stderr)));
    }
    panic!("{PACKAGE} is published for CPython 3.9 to 3.12; install one with its venv: {refusals:#?}");
}

/// Lets iota-sdk attach a block with its own proof of work, and one with the node's if that does it for clients;
/// gives their ids.
pub(crate) fn attach(api: SocketAddr) -> Vec<String> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/interop/attach.py");
    let python = environment().join("bin/python");
    let ids = host::run(Command::new(python).arg(script).arg(format!("http://{api}")));
    let ids: Value = serde_json::from_str(&ids).unwrap();
    ids.as_object().unwrap().values().map(|id| id.as_str().unwrap().to_owned()).collect()
}

/// Lets iota-sdk move value of every kind; fails unless every state is as it should be.
pub(crate) fn move_value(api: SocketAddr) {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/interop/ledger.py");
    let python = environment().join("bin/python");
    host::run(Command::new(python).arg(script).arg(format!("http://{api}")));
}

fn get(api: SocketAddr, path: &str) -> Option<(u16, Value)> {
    let answer = request(api, "GET", path, &[], &[])?;
    if answer.body.is_empty() {
        return Some((answer.status, Value::Null));
    }
    assert!(answer.head.contains("content-type: application/json"), "{path}: {}", answer.head);
    Some((answer.status, serde_json::from_slice(&answer.body).unwrap()))
}

/// What the status page tells programs.
pub(crate) fn try_status(board: Ipv4Addr) -> Option<Value> {
    let answer = request((board, 80).into(), "GET", "/status.json", &[], &[])?;
    serde_json::from_slice(&answer.body).ok()
}

pub(crate) fn status(board: Ipv4Addr) -> Value {
    try_status(board).unwrap()
}

pub(crate) fn is_healthy(api: SocketAddr) -> bool {
    get(api, "/health").is_some_and(|(status, _)| status == 200)
}

pub(crate) fn try_confirmed(api: SocketAddr) -> Option<u64> {
    let (_, info) = get(api, "/api/core/v2/info")?;
    info["status"]["confirmedMilestone"]["index"].as_u64()
}

pub(crate) fn confirmed(api: SocketAddr) -> u64 {
    try_confirmed(api).unwrap()
}

/// Posts a block whose parents and nonce the node finds; gives its id once that is acknowledged.
pub(crate) fn post(api: SocketAddr, text: &str) -> String {
    let data = osmia::protocol::hex::encode(text.as_bytes());
    let body = json!({"protocolVersion": 2, "payload": {"type": 5, "data": data}}).to_string();
    let json = ["Content-Type: application/json"];
    let answer = request(api, "POST", "/api/core/v2/blocks", &json, body.as_bytes()).unwrap();
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    answer["blockId"].as_str().unwrap().to_owned()
}

/// Whether a node that may not have heard of a block yet knows that a milestone references it.
pub(crate) fn has_referenced(api: SocketAddr, id: &str) -> bool {
    get(api, &format!("/api/core/v2/blocks/{id}")).is_some_and(|(status, _)| status == 200)
        && is_referenced(api, id)
}

/// Whether it knows blocks to build on.
pub(crate) fn has_tips(api: SocketAddr) -> bool {
    get(api, "/api/core/v2/tips").is_some_and(|(status, _)| status == 200)
}

/// Blocks to build on.
pub(crate) fn tips(api: SocketAddr) -> Parents {
    let (_, tips) = get(api, "/api/core/v2/tips").unwrap();
    let tips = tips["tips"].as_array().unwrap_or_else(|| panic!("{tips}"));
    let tips = tips.iter().map(|tip| BlockId::from_hex(tip.as_str().unwrap()).unwrap()).collect();
    Parents::from_unsorted(tips).unwrap()
}

/// Room is made within this time: a snapshot is written first, on a card.
const ROOM_WITHIN: Duration = Duration::from_secs(180);

/// Attaches a block where the network wants no proof of work; gives its id once that is acknowledged. A node that makes room at
/// the moment says when to come back.
pub(crate) fn post_plain(api: SocketAddr, parents: Parents, data: &[u8]) -> String {
    let payload = TaggedData::new(b"boot".to_vec(), data.to_vec()).unwrap();
    let payload = Some(Payload::TaggedData(payload));
    let bytes = Block { protocol_version: 2, parents, payload, nonce: 0 }.pack();
    let binary = ["Content-Type: application/vnd.iota.serializer-v1"];
    let started = Instant::now();
    loop {
        let answer = request(api, "POST", "/api/core/v2/blocks", &binary, &bytes).unwrap();
        if answer.status == 503 && answer.head.contains("retry-after: ") && started.elapsed() < ROOM_WITHIN {
            std::thread::sleep(Duration::from_secs(1));
            continue;
        }
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        return block::id_of(&bytes).to_string();
    }
}

/// So many clients of each source post at once, each a block whose nonce the node finds; how many blocks were attached,
/// and how many clients were told when to come back. Over the link that the host's kernel serves: qemu's own network
/// accepts one connection after the other, and the kernel resets what waits for that too long.
pub(crate) fn flood(api: SocketAddr, sources: [Ipv4Addr; 2], each: usize) -> (usize, usize) {
    let post = |source: Ipv4Addr, client: usize| {
        let data = osmia::protocol::hex::encode(format!("client {client}").as_bytes());
        let body = json!({"protocolVersion": 2, "payload": {"type": 5, "data": data}}).to_string();
        let json = ["Content-Type: application/json"];
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        // Of so many at once, some wait for their connection until the board has time for them.
        socket.connect_timeout(&api.into(), Duration::from_secs(100)).unwrap();
        let answer = request_on(socket.into(), "POST", "/api/core/v2/blocks", &json, body.as_bytes());
        let answer = answer.unwrap_or_else(|| panic!("client {client} of {source} got no answer"));
        match answer.status {
            201 => true,
            503 => {
                assert!(answer.head.to_lowercase().contains("retry-after: "), "{}", answer.head);
                false
            }
            status => panic!("{status}: {}", String::from_utf8_lossy(&answer.body)),
        }
    };
    let attached = std::thread::scope(|scope| {
        let clients = sources.into_iter().flat_map(|source| (0..each).map(move |client| (source, client)));
        let threads =
            clients.map(|(source, client)| scope.spawn(move || post(source, client))).collect::<Vec<_>>();
        threads.into_iter().map(|thread| thread.join().unwrap()).filter(|attached| *attached).count()
    });
    (attached, 2 * each - attached)
}

/// The block must be known at once; whether a milestone references it yet is the answer.
pub(crate) fn is_referenced(api: SocketAddr, id: &str) -> bool {
    let (status, metadata) = get(api, &format!("/api/core/v2/blocks/{id}/metadata")).unwrap();
    assert_eq!(status, 200, "acknowledged block {id} is lost: {metadata}");
    metadata["referencedByMilestoneIndex"].is_u64()
}

/// Every milestone names the one before it.
pub(crate) fn assert_follows_its_predecessor(api: SocketAddr, index: u64) {
    let milestone = |index: u64| get(api, &format!("/api/core/v2/milestones/by-index/{index}")).unwrap().1;
    let previous = milestone(index)["previousMilestoneId"].as_str().unwrap().to_owned();
    if index > 1 {
        let (status, found) = get(api, &format!("/api/core/v2/milestones/{previous}")).unwrap();
        assert_eq!((status, found["index"].as_u64()), (200, Some(index - 1)), "milestone {index}");
    }
}
