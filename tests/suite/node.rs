//! A real node process for tests: the built binary on a folder of its own, on a port that is free.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use osmia::pow;
use osmia::protocol::block::{Block, Parents, Payload};
use osmia::protocol::id::BlockId;
use osmia::protocol::tagged_data::TaggedData;
use serde_json::Value;

use crate::http::{self, Answer};

/// What has not happened by then never will.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Node {
    child: Child,
    pub(crate) api: SocketAddr,
    /// Its line in the peering of others.
    pub(crate) peer: String,
    /// Lines of its log after the start.
    log: mpsc::Receiver<String>,
}

impl Node {
    /// Founds a network in `folder`, or goes on with it; `more` is added to its configuration.
    pub(crate) fn start(folder: &Path, more: &str) -> Self {
        let config = folder.join("node.toml");
        let text = Self::config(&format!("{more}[coordinator]\nenabled = true\ninterval_s = 1\n"));
        Self::start_with(&config, &text, &folder.join("data"))
    }

    /// On a port that is free.
    pub(crate) fn config(more: &str) -> String {
        format!(
            "[health]\nrequire_peers = false\n[peering]\nbind = [\"127.0.0.1:0\"]\n[rest]\nbind = \"127.0.0.1:0\"\n{more}"
        )
    }

    /// Waits until the node says so in its log.
    pub(crate) fn wait_log(&self, text: &str) {
        let (started, mut before) = (Instant::now(), Vec::new());
        loop {
            let line = self.log.recv_timeout(LIMIT.saturating_sub(started.elapsed()));
            let line = line.unwrap_or_else(|_| panic!("never said {text:?}: {before:#?}"));
            if line.contains(text) {
                return;
            }
            before.push(line);
        }
    }

    /// What a node says that does not start.
    pub(crate) fn refuses(config: &Path, text: &str, data: &Path) -> String {
        std::fs::write(config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_osmia"));
        let output = command.args(["node", "--config"]).arg(config).arg("--data").arg(data).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// The first line with `text` that a node says which does not come as far as to start.
    pub(crate) fn says(config: &Path, file: &str, data: &Path, text: &str) -> String {
        std::fs::write(config, file).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_osmia"));
        let command = command.args(["node", "--config"]).arg(config).arg("--data").arg(data);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let said = lines.find(|line| line.contains(text));
        child.kill().unwrap();
        child.wait().unwrap();
        said.unwrap_or_else(|| panic!("it ended and never said {text:?}"))
    }

    /// Starts with a whole configuration on a data folder.
    pub(crate) fn start_with(config: &Path, text: &str, data: &Path) -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_osmia")), config, text, data, &[])
    }

    /// The same by a command that takes the node's arguments, and `more` of them.
    pub(crate) fn start_by(
        mut command: Command,
        config: &Path,
        text: &str,
        data: &Path,
        more: &[&str],
    ) -> Self {
        std::fs::write(config, text).unwrap();
        let mut child = command
            .args(["node", "--config"])
            .arg(config)
            .arg("--data")
            .arg(data)
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // Nobody may listen any more.
                let _ = sender.send(line);
            }
        });
        let (began, mut before) = (Instant::now(), Vec::new());
        let (api, peer) = loop {
            let left = (2 * LIMIT).saturating_sub(began.elapsed());
            let line = log.recv_timeout(left).unwrap_or_else(|_| panic!("not started: {before:#?}"));
            if line.contains("node started") {
                let word = |key: &str| {
                    let word = line.split(' ').find_map(|word| word.strip_prefix(key));
                    word.unwrap_or_else(|| panic!("{line}")).to_owned()
                };
                let bound = word("peering=[");
                // Nobody can connect to a node that listens nowhere.
                let port = bound.trim_end_matches(']').rsplit(':').next().unwrap().to_owned();
                let peer = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", word("peer_id=").trim_matches('"'));
                break (word("rest=").parse().unwrap(), peer);
            }
            before.push(line);
        };
        Self { child, api, peer, log }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        http::request(self.api, "GET", path, &[], &[]).unwrap()
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).unwrap()
    }

    pub(crate) fn post(&self, content_type: &str, body: &[u8]) -> Answer {
        let header = format!("Content-Type: {content_type}");
        http::request(self.api, "POST", "/api/core/v2/blocks", &[&header], body).unwrap()
    }

    /// A node may fall behind for a moment, or know no block yet behind its snapshot: asked again, as a client would.
    /// Asks what only the owner may, whose token is made of the key in the node's folder.
    pub(crate) fn control(&self, data: &Path, path: &str, request: &Value) -> (u16, Value) {
        let identity = osmia::identity::Identity::load(&data.join("identity")).unwrap().unwrap();
        let (secret, peer) = (identity.token_secret(), identity.peer_id());
        let token =
            osmia::token::Tokens::new(secret, peer, osmia::token::SALT.to_owned()).issue(1_700_000_000);
        let headers = [&*format!("Authorization: Bearer {token}")];
        let path = format!("/api/core/v2/control/{path}");
        let answer =
            http::request(self.api, "POST", &path, &headers, request.to_string().as_bytes()).unwrap();
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    pub(crate) fn tips(&self) -> Vec<BlockId> {
        let tips: Value = self.wait_some("tips", |node| {
            let answer = node.get("/api/core/v2/tips");
            (answer.status == 200).then(|| serde_json::from_slice(&answer.body).unwrap())
        });
        let tips = tips["tips"].as_array().unwrap();
        tips.iter().map(|id| BlockId::from_hex(id.as_str().unwrap()).unwrap()).collect()
    }

    /// A block on the node's tips, with enough proof of work for a minimum of 100.
    pub(crate) fn mined(&self, payload: Payload) -> Vec<u8> {
        let parents = Parents::from_unsorted(self.tips()).unwrap();
        let mut block = Block { protocol_version: 2, parents, payload: Some(payload), nonce: 0 };
        let bytes = block.pack();
        let digest = osmia::protocol::blake2b_256(&bytes[..bytes.len() - 8]);
        let zeros = pow::required_zeros(bytes.len(), 100);
        let mut search = pow::miner::Search::new(pow::kernel::Kernel::detect()[0], digest, zeros, 1);
        block.nonce = std::iter::repeat_with(|| search.step()).flatten().next().unwrap();
        block.pack()
    }

    /// Attaches tagged data and gives the block's id; asked again while the node is not synced, as a client would.
    pub(crate) fn attach(&self, text: &str) -> String {
        let data = TaggedData::new(b"suite".to_vec(), text.as_bytes().to_vec()).unwrap();
        self.wait_some("place for a block", |node| {
            let block = node.mined(Payload::TaggedData(data.clone()));
            let answer = node.post("application/vnd.iota.serializer-v1", &block);
            assert!([201, 503].contains(&answer.status), "{}", String::from_utf8_lossy(&answer.body));
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            body["blockId"].as_str().map(str::to_owned)
        })
    }

    /// Whether a milestone references a block of data.
    pub(crate) fn has_referenced(&self, id: &str) -> bool {
        let answer = self.get(&format!("/api/core/v2/blocks/{id}/metadata"));
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        body["ledgerInclusionState"] == "noTransaction"
    }

    pub(crate) fn wait_for(&self, what: &str, happened: impl Fn(&Self) -> bool) {
        self.wait_some(what, |node| happened(node).then_some(()));
    }

    fn wait_some<T>(&self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(seen) = look(self) {
                return seen;
            }
            assert!(
                started.elapsed() < LIMIT,
                "no {what} in time: {:#?}",
                self.log.try_iter().collect::<Vec<_>>()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn confirmed(&self) -> u64 {
        self.json("/api/core/v2/info")["status"]["confirmedMilestone"]["index"].as_u64().unwrap()
    }

    pub(crate) fn wait_confirmed(&self, index: u64) {
        self.wait_for(&format!("milestone {index}"), |node| node.confirmed() >= index);
    }

    /// Waits until the node has confirmed a milestone, or ends; then gives what it said.
    pub(crate) fn ends_or_reaches(&mut self, index: u64) -> Option<String> {
        let started = Instant::now();
        while started.elapsed() < LIMIT {
            if self.child.try_wait().unwrap().is_some() {
                return Some(self.log.iter().collect::<Vec<_>>().join("\n"));
            }
            let info = http::request(self.api, "GET", "/api/core/v2/info", &[], &[]);
            let info = info.and_then(|answer| serde_json::from_slice::<Value>(&answer.body).ok());
            if info.unwrap_or_default()["status"]["confirmedMilestone"]["index"].as_u64() >= Some(index) {
                return None;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("neither ended nor at milestone {index}: {:#?}", self.log.try_iter().collect::<Vec<_>>());
    }

    /// Bytes that the kernel was made to write to disks (proc(5)).
    pub(crate) fn written_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/io", self.child.id())).unwrap();
        let number = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
        number.parse().unwrap()
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; the node must end by itself, without an error.
    pub(crate) fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return;
            }
            assert!(started.elapsed() < LIMIT, "the node does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Ended already in most tests.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
