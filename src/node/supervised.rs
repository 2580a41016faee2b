//! The report to the supervisor: one line a second on standard output, as long as the engine goes on.
//!
//! A line is `alive <confirmed index> <healthy|unhealthy>`. The supervisor feeds the board's watchdog from
//! these lines alone, so silence ends in a restart of the node and then of the board.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tokio::sync::watch;

use super::engine_thread::Progress;
use crate::handle::{Facts, Status};

/// The engine turns at least once a second when idle; a commit on a slow card may take long.
const STUCK_AFTER: Duration = Duration::from_secs(20);

/// Reports from a thread of its own until the engine ends or standard output is closed.
pub(super) fn report(
    progress: Progress,
    status: watch::Receiver<Arc<Status>>,
    facts: Arc<Facts>,
) -> anyhow::Result<()> {
    let run = move || {
        let (mut turns, mut moved) = (progress.load(Ordering::Relaxed), Instant::now());
        // The engine holds the other end.
        while status.has_changed().is_ok() {
            let now = progress.load(Ordering::Relaxed);
            if now != turns {
                (turns, moved) = (now, Instant::now());
            }
            let status = status.borrow().clone();
            if moved.elapsed() < STUCK_AFTER && say(&status, &facts).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    };
    std::thread::Builder::new().name("report".into()).spawn(run).map(drop).context("starting the report")
}

fn say(status: &Status, facts: &Facts) -> std::io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let health = if facts.is_healthy(status, now) { "healthy" } else { "unhealthy" };
    let mut out = std::io::stdout().lock();
    writeln!(out, "alive {} {health}", status.confirmed.index)?;
    out.flush()
}
