//! The node as PID 1 sees it: a child without rights that must give signs of life.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitStatus, kill_process};

use super::Event;
use super::setup::{CONFIG, NODE_DATA, NODE_ID};
use crate::boot::policy::{self, Restarts};

/// A node that has not stopped by then is killed.
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(60);

/// How long a killed node may take to end.
pub(super) const KILL_WITHIN: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Node {
    events: mpsc::Sender<Event>,
    state: State,
    restarts: Restarts,
}

enum State {
    Running { pid: Pid, since: Instant, alive: Instant },
    Paused { until: Instant },
    Stopped,
}

impl Node {
    /// A node that is started at the next [`Node::tend`].
    pub(super) fn new(events: mpsc::Sender<Event>) -> Self {
        Self { events, state: State::Paused { until: Instant::now() }, restarts: Restarts::default() }
    }

    /// The node gave a sign of life.
    pub(super) fn is_alive(&mut self, now: Instant) {
        if let State::Running { alive, .. } = &mut self.state {
            *alive = now;
        }
    }

    /// Starts the node when it is time to; kills one that has been silent for too long.
    pub(super) fn tend(&mut self, now: Instant) {
        if let State::Running { alive, .. } = &mut self.state
            && policy::is_too_silent(*alive, now)
        {
            tracing::error!("node silent for too long: killed");
            *alive = now;
            self.kill();
        }
        if let State::Paused { until } = self.state
            && now >= until
        {
            self.state = match start(&self.events) {
                Ok(pid) => State::Running { pid, since: now, alive: now },
                Err(error) => {
                    tracing::error!(%error, "node not started");
                    State::Paused { until: now + self.restarts.pause_after(Duration::ZERO) }
                }
            };
        }
    }

    pub(super) fn is(&self, pid: Pid) -> bool {
        matches!(self.state, State::Running { pid: own, .. } if own == pid)
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// The child's exit status was taken.
    pub(super) fn ended(&mut self, status: WaitStatus, now: Instant) {
        if let State::Running { since, .. } = self.state {
            let run = now.saturating_duration_since(since);
            let pause = self.restarts.pause_after(run);
            let (code, signal) = (status.exit_status(), status.terminating_signal());
            let (ran_s, pause_s) = (run.as_secs(), pause.as_secs());
            if code == Some(0) {
                tracing::info!(ran_s, "node ended in order");
            } else {
                tracing::warn!(?code, ?signal, ran_s, pause_s, "node ended");
            }
            self.state = State::Paused { until: now + pause };
        }
    }

    /// Asks the node to stop; it is not started again.
    pub(super) fn order_stop(&mut self) {
        match self.state {
            State::Running { pid, .. } => signal(pid, Signal::TERM),
            State::Paused { .. } | State::Stopped => self.state = State::Stopped,
        }
    }

    pub(super) fn kill(&self) {
        if let State::Running { pid, .. } = self.state {
            signal(pid, Signal::KILL);
        }
    }
}

fn signal(pid: Pid, signal: Signal) {
    if let Err(error) = kill_process(pid, signal) {
        tracing::warn!(%error, "node not signalled");
    }
}

/// Starts the child and a thread that turns its lines into events.
fn start(events: &mpsc::Sender<Event>) -> std::io::Result<Pid> {
    let mut child = Command::new("/proc/self/exe")
        .arg0("osmia")
        .args(["node", "--config", CONFIG, "--data", NODE_DATA, "--supervised"])
        .env_clear()
        .current_dir(NODE_DATA)
        .uid(NODE_ID)
        .gid(NODE_ID)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let events = events.clone();
    if let Some(output) = child.stdout.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line.starts_with("alive ") && events.send(Event::Alive).is_err() {
                    return;
                }
            }
        });
    }
    // Its exit status is taken in the main loop, with that of every other child.
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| std::io::Error::other("the child has no process id"))
}
