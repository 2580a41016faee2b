//! `node-info`: asks a running node how it is.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use super::Answer;

/// A node that does not answer within this time is not well.
const PATIENCE: Duration = Duration::from_secs(10);

/// Largest answer that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Name, version, milestones and health. `url` is like `http://192.168.1.20:14265`.
pub(super) fn ask(url: &str) -> anyhow::Result<Answer> {
    let host =
        url.strip_prefix("http://").context("--node-url: only http:// is spoken here")?.trim_end_matches('/');
    let place = if host.rsplit(']').next().unwrap_or(host).contains(':') {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let mut stream = TcpStream::connect(&place).with_context(|| place.clone())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET /api/core/v2/info HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_BYTES).read_to_end(&mut answer).with_context(|| place.clone())?;
    let text = String::from_utf8(answer).with_context(|| place.clone())?;
    let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("{place}: no HTTP answer"))?;
    let status = head.lines().next().unwrap_or_default();
    anyhow::ensure!(status.contains(" 200"), "{place}: {status}");
    let json: Value = serde_json::from_str(body).with_context(|| format!("{place}: {body:?}"))?;
    let field =
        |pointer: &str| json.pointer(pointer).map(|value| value.to_string().trim_matches('"').to_owned());
    let lines = [
        ("name", "/name"),
        ("version", "/version"),
        ("latest milestone", "/status/latestMilestone/index"),
        ("confirmed milestone", "/status/confirmedMilestone/index"),
        ("healthy", "/status/isHealthy"),
    ];
    let lines = lines.map(|(name, pointer)| format!("{name}: {}", field(pointer).unwrap_or_default()));
    Ok(Answer { text: lines.join("\n"), json })
}
