//! Clients: the published iota-sdk in a Python environment of its own, and plain requests.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::board::http;
use crate::host;

/// The client that wallets and exchanges use, as published.
const PACKAGE: &str = "iota-sdk==1.1.4";

fn environment() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/osmia/python")
}

/// Installs the client, unless it is there.
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
    host::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(environment()));
    host::run(Command::new(&python).args(["-m", "pip", "install", "--quiet", PACKAGE]));
}

/// Lets iota-sdk attach a block with each kind of proof of work; gives their ids.
pub(crate) fn attach(api: SocketAddr) -> String {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/interop/attach.py");
    let python = environment().join("bin/python");
    let ids = host::run(Command::new(python).arg(script).arg(format!("http://{api}")));
    let ids = ids.trim().to_owned();
    assert!(ids.contains("local") && ids.contains("remote"), "{ids}");
    ids
}

fn get(api: SocketAddr, path: &str) -> Option<(u16, Value)> {
    let (status, body) =
        http(api, &format!("GET {path} HTTP/1.1\r\nHost: osmia\r\nConnection: close\r\n\r\n"))?;
    Some((status, serde_json::from_str(&body).unwrap_or(Value::Null)))
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
    let request = format!(
        "POST /api/core/v2/blocks HTTP/1.1\r\nHost: osmia\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (status, body) = http(api, &request).unwrap();
    assert_eq!(status, 201, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    answer["blockId"].as_str().unwrap().to_owned()
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
