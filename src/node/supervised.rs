//! The node under PID 1: what it is told on standard input, what it reports on standard output.
//!
//! Once a second it says `alive <turns> <confirmed index> <its time> <healthy|unhealthy> <spare> <written> <blocks>`. `turns`
//! counts the engine's turns: one that stands still is PID 1's to judge; `spare` is the spare computing power in hashes a second,
//! `written` what was written to disks and `blocks` the blocks stored, in bytes since the start; each may be `-`. Before the first
//! of these lines: `peer <id> <port of gossip> <issues|follows>`; `-` in place of the port when strangers are not told how to join,
//! `issues` when the milestones are its own. `did <text>` is what it did by itself, for its owner; `firewall <number>
//! <private|everybody|confirm>` is a wish of his, which `firewall <said>` answers ([`crate::boot::trial`]). It hears `go` before
//! anything else ([`crate::confine::await_go`]), then `clock trusted` or `clock untrusted`, and `names <address> …`, the name
//! servers of the local network.

use std::io::{BufRead, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tokio::sync::watch;

use super::engine_thread::Turns;
use crate::handle::{Facts, Status};
use crate::keeper::progress::Progress;
use crate::rest::Door;

/// UDP and TCP port of name servers.
pub(super) const NAMES_PORT: u16 = 53;

/// Takes what PID 1 says, from a thread of its own.
pub(super) fn listen(
    clock_trusted: Arc<AtomicBool>,
    require_clock: bool,
    names: watch::Sender<Vec<SocketAddr>>,
    door: Door,
) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            match line.as_str() {
                "clock trusted" => clock_trusted.store(true, Ordering::Relaxed),
                "clock untrusted" => clock_trusted.store(!require_clock, Ordering::Relaxed),
                line => {
                    if let Some(said) = line.strip_prefix("firewall ") {
                        door.hear(said);
                    }
                    let Some(list) = line.strip_prefix("names ") else { continue };
                    let addresses = list.split(' ').filter_map(|word| word.parse::<IpAddr>().ok());
                    names.send_replace(
                        addresses.map(|address| SocketAddr::new(address, NAMES_PORT)).collect(),
                    );
                }
            }
        }
    });
}

/// Reports while a start takes its time, until `stop` is set.
pub(super) fn report_starting(progress: Arc<Progress>, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let run = move || {
        while !*stop.borrow() {
            if write_line(&format!("alive {} 0 0 unhealthy - - -", progress.steps())).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    };
    std::thread::Builder::new().name("report".into()).spawn(run).map(drop).context("starting the report")
}

/// What the node did by itself, for its owner.
pub(super) fn did(text: &str) {
    // Nobody may listen.
    let _ = write_line(&format!("did {}", text.replace(['\n', '\r'], " ")));
}

/// What others may know of the node.
pub(super) struct Peer {
    /// Its identity.
    pub(super) id: String,
    /// Where those that want to join its network reach it.
    pub(super) port: Option<u16>,
    /// It issues the network's milestones.
    pub(super) issues: bool,
}

/// Reports from a thread of its own until the engine ends or standard output is closed.
pub(super) fn report(
    turns: Turns,
    status: watch::Receiver<Arc<Status>>,
    facts: Arc<Facts>,
    peer: Peer,
    mut spare: impl FnMut() -> Option<u64> + Send + 'static,
) -> anyhow::Result<()> {
    let run = move || {
        let port = peer.port.map_or_else(|| "-".to_owned(), |port| port.to_string());
        let role = if peer.issues { "issues" } else { "follows" };
        if write_line(&format!("peer {} {port} {role}", peer.id)).is_err() {
            return;
        }
        // The engine holds the other end.
        while status.has_changed().is_ok() {
            let turns = turns.load(Ordering::Relaxed);
            let status = status.borrow().clone();
            if say(turns, &status, &facts, spare()).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    };
    std::thread::Builder::new().name("report".into()).spawn(run).map(drop).context("starting the report")
}

fn say(turns: u64, status: &Status, facts: &Facts, spare: Option<u64>) -> std::io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let health = if facts.is_healthy(status, now) { "healthy" } else { "unhealthy" };
    let confirmed = status.confirmed;
    let or_none = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let (spare, written) = (or_none(spare), or_none(status.wear.written_bytes));
    let (index, time, blocks) = (confirmed.index.0, confirmed.timestamp, status.wear.block_bytes);
    write_line(&format!("alive {turns} {index} {time} {health} {spare} {written} {blocks}"))
}

/// Says a line to PID 1.
pub(super) fn write_line(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
