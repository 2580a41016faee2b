//! A child process of PID 1: unprivileged, restarted with growing pauses, talked to over its standard streams.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitStatus, kill_process};

use super::Event;
use crate::boot::policy::Restarts;
use crate::firmware::cgroup::{Cgroup, Limits};
use crate::firmware::privilege;
use crate::logging;

/// Longest line that a child may say; what is longer is cut.
const MAX_LINE_BYTES: u64 = 8 << 10;

/// How many arenas glibc keeps for threads that allocate at the same time. By itself it makes eight for each core, and what is
/// freed in one does not serve the others: a store that works for weeks, whose epochs are made by ever new threads, then
/// grows by a half (tests/bench/store.md).
const ARENAS: (&str, &str) = ("MALLOC_ARENA_MAX", "2");

/// The children, each with a user of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The Tangle node.
    Node,
    /// The status page.
    Rescue,
    /// Asks time servers.
    Time,
    /// Attacks as a node could.
    #[cfg(feature = "attack")]
    Attack,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Rescue => "rescue",
            Self::Time => "time",
            #[cfg(feature = "attack")]
            Self::Attack => "attack",
        }
    }

    /// User and group.
    pub(super) fn user(self) -> u32 {
        match self {
            Self::Node => 1_000,
            Self::Rescue => 1_001,
            Self::Time => 1_002,
            // Like the node, so that it may hope to reach it.
            #[cfg(feature = "attack")]
            Self::Attack => 1_000,
        }
    }
}

/// How a child is started.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) role: Role,
    pub(super) arguments: Vec<String>,
    /// Working folder.
    pub(super) folder: &'static str,
    pub(super) limits: Limits,
}

/// See the module.
pub(super) struct Service {
    spec: Spec,
    events: mpsc::SyncSender<Event>,
    state: State,
    restarts: Restarts,
}

enum State {
    Running { pid: Pid, since: Instant, input: Option<ChildStdin>, group: Option<Cgroup> },
    Paused { until: Instant },
    Stopped,
}

impl Service {
    /// A child that is started at the next [`Service::tend`].
    pub(super) fn new(spec: Spec, events: mpsc::SyncSender<Event>) -> Self {
        let state = State::Paused { until: Instant::now() };
        Self { spec, events, state, restarts: Restarts::default() }
    }

    /// Starts the child when it is time to; gives whether it did.
    pub(super) fn tend(&mut self, now: Instant) -> bool {
        let State::Paused { until } = self.state else { return false };
        if now < until {
            return false;
        }
        match start(&self.spec, &self.events, now) {
            Ok(running) => {
                self.state = running;
                true
            }
            Err(error) => {
                tracing::error!(child = self.spec.role.name(), %error, "not started");
                self.state = State::Paused { until: now + self.restarts.pause_after(Duration::ZERO) };
                false
            }
        }
    }

    pub(super) fn role(&self) -> Role {
        self.spec.role
    }

    pub(super) fn is(&self, pid: Pid) -> bool {
        matches!(self.state, State::Running { pid: own, .. } if own == pid)
    }

    /// Process id while it runs.
    #[cfg(feature = "attack")]
    pub(super) fn pid(&self) -> Option<Pid> {
        match self.state {
            State::Running { pid, .. } => Some(pid),
            State::Paused { .. } | State::Stopped => None,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// Says a line to the child. One that does not listen any more is about to end.
    pub(super) fn say(&mut self, line: &str) {
        if let State::Running { input: Some(input), .. } = &mut self.state {
            let _ = writeln!(input, "{line}");
        }
    }

    /// The child's exit status was taken.
    pub(super) fn ended(&mut self, status: WaitStatus, now: Instant) {
        let State::Running { since, group, .. } = &self.state else { return };
        let run = now.saturating_duration_since(*since);
        let starved = group.as_ref().is_some_and(Cgroup::ran_out_of_memory);
        let pause = self.restarts.pause_after(run);
        let (child, code, signal) =
            (self.spec.role.name(), status.exit_status(), status.terminating_signal());
        let (ran_s, pause_s) = (run.as_secs(), pause.as_secs());
        if code == Some(0) {
            tracing::info!(ran_s, "{child} ended in order");
        } else {
            tracing::warn!(?code, ?signal, starved, ran_s, pause_s, "{child} ended");
        }
        self.state = State::Paused { until: now + pause };
    }

    /// Asks the child to stop; it is not started again.
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
        tracing::warn!(%error, "child not signalled");
    }
}

/// Starts the child. It waits for `go`, which it is told only when it is in its control group.
fn start(spec: &Spec, events: &mpsc::SyncSender<Event>, now: Instant) -> std::io::Result<State> {
    let role = spec.role;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("osmia")
        .args(&spec.arguments)
        .env_clear()
        .env(ARENAS.0, ARENAS.1)
        .current_dir(spec.folder)
        .uid(role.user())
        .gid(role.user())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = privilege::spawn(&mut command)?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| std::io::Error::other("the child has no process id"))?;
    let group = match Cgroup::make(role.name(), &spec.limits).and_then(|group| group.add(pid).map(|()| group))
    {
        Ok(group) => Some(group),
        // Limits are a second line of defence: without them is better than not at all.
        Err(error) => {
            tracing::error!(child = role.name(), %error, "no limits");
            None
        }
    };
    listen(role, &mut child, events);
    let mut input = child.stdin.take();
    if let Some(input) = &input {
        // A child that does not listen loses lines; PID 1 never waits for it.
        rustix::fs::fcntl_setfl(input, rustix::fs::OFlags::NONBLOCK)?;
    }
    if let Some(input) = &mut input {
        // A child that died already is noticed by its exit status.
        let _ = input.write_all(b"go\n");
    }
    // Its exit status is taken in the main loop, with that of every other child.
    Ok(State::Running { pid, since: now, input, group })
}

/// Turns what the child says into events, and its log lines into log lines, on threads of their own.
fn listen(role: Role, child: &mut Child, events: &mpsc::SyncSender<Event>) {
    if let Some(output) = child.stdout.take() {
        let events = events.clone();
        std::thread::spawn(move || {
            lines(output, |line| events.send(Event::Said(role, line)).is_ok());
        });
    }
    if let Some(log) = child.stderr.take() {
        let events = events.clone();
        std::thread::spawn(move || {
            lines(log, |line| {
                logging::pass_on(&line);
                // Time, level, text: as `logging` writes them.
                match line.split_once(" ERROR ") {
                    Some((_, text)) => events.send(Event::Complained(role, text.to_owned())).is_ok(),
                    None => true,
                }
            });
        });
    }
}

/// Calls `each` for every line, until it says `false` or the stream ends. Lines are cut, bytes that are no UTF-8
/// replaced.
fn lines(stream: impl Read, each: impl Fn(String) -> bool) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        match (&mut stream).take(MAX_LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if !each(String::from_utf8_lossy(&line).trim_end().to_owned()) {
            return;
        }
    }
}
