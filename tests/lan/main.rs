//! Four real nodes, each with a network of its own, on a switch that delays and loses frames and is cut in two for a minute.
//!
//! Runs as root, or in a user namespace. Each node is in a network namespace whose one link is a tap device; this program holds
//! the other ends.
#![allow(missing_docs, reason = "a test program")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test program reports and panics")]

#[path = "../http.rs"]
mod http;
#[path = "../switch.rs"]
mod switch;

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use osmia::identity::Identity;
use osmia::protocol::block::{Block, Parents, Payload};
use osmia::protocol::id::BlockId;
use osmia::protocol::tagged_data::TaggedData;
use serde_json::Value;
use switch::Switch;

/// Set in the namespace.
const INSIDE: &str = "OSMIA_LAN_TEST_INSIDE";

/// What has not happened by then never will.
const LIMIT: Duration = Duration::from_secs(180);

/// How long the network is cut in two.
const CUT: Duration = Duration::from_secs(60);

/// Milestones between the newest and the one that a snapshot is of.
const DEPTH: u64 = 5;

fn enter_namespace() {
    if std::env::var_os(INSIDE).is_some() {
        return;
    }
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let command = command.args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    let error = command.arg(std::env::current_exe().unwrap()).env(INSIDE, "1").exec();
    panic!("unshare: {error}");
}

/// Runs a command to its end, in another process's network namespace if one is named.
fn run(namespace: Option<&Child>, command: &str) {
    let words = command.split(' ');
    let mut command = match namespace {
        Some(holder) => {
            let mut enter = Command::new("nsenter");
            enter.arg(format!("--net=/proc/{}/ns/net", holder.id())).args(words);
            enter
        }
        None => {
            let mut words = words;
            let mut command = Command::new(words.next().unwrap());
            command.args(words);
            command
        }
    };
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A namespace with one link to the switch, and the node in it.
struct Place {
    /// Keeps the namespace.
    holder: Child,
    node: Option<Child>,
    address: Ipv4Addr,
    link: usize,
    folder: PathBuf,
}

impl Place {
    fn new(switch: &Switch, number: u8, folder: &Path) -> Self {
        // It reads from a pipe that nobody writes to, and says that it is there.
        let mut holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        let theirs = format!("/proc/{}/ns/net", holder.id());
        wait_for("namespace", || fs::read_link(&theirs).is_ok_and(|theirs| theirs != own));
        let (name, address) = (format!("osmia{number}"), Ipv4Addr::new(10, 78, 0, number));
        let link = switch.tap(&name);
        run(None, &format!("ip link set {name} netns {}", holder.id()));
        for command in [
            "ip link set lo up",
            &format!("ip address add {address}/24 dev {name}"),
            &format!("ip link set {name} up"),
        ] {
            run(Some(&holder), command);
        }
        assert!(holder.try_wait().unwrap().is_none());
        let folder = folder.join(&name);
        fs::create_dir_all(&folder).unwrap();
        Self { holder, node: None, address, link, folder }
    }

    fn start(&mut self, more: &str) {
        let config = self.folder.join("node.toml");
        let bind = format!(
            "[rest]\nbind = \"{}:14265\"\n[peering]\nbind = [\"0.0.0.0:15600\"]\nunknown_peers = 1\n",
            self.address
        );
        fs::write(&config, format!("{bind}[snapshots]\ndepth = {DEPTH}\n{more}")).unwrap();
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let node = Command::new("nsenter")
            .arg(format!("--net=/proc/{}/ns/net", self.holder.id()))
            .arg(env!("CARGO_BIN_EXE_osmia"))
            .args(["node", "--config"])
            .arg(&config)
            .arg("--data")
            .arg(self.data())
            .stderr(log)
            .spawn()
            .unwrap();
        self.node = Some(node);
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// What others write to join its network.
    fn line(&self) -> String {
        let id = Identity::load(&self.data().join("identity")).unwrap().unwrap().peer_id();
        format!("/ip4/{}/tcp/15600/p2p/{id}", self.address)
    }

    fn get(&self, path: &str) -> Option<Value> {
        let api = SocketAddr::from((self.address, 14_265));
        let answer = http::request(api, "GET", path, &[], &[])?;
        (answer.status == 200).then(|| serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    fn confirmed(&self) -> u64 {
        let info = self.get("/api/core/v2/info");
        info.and_then(|info| info["status"]["confirmedMilestone"]["index"].as_u64()).unwrap_or(0)
    }

    fn is_healthy(&self) -> bool {
        self.get("/health").is_some()
    }

    /// A client attaches a block; the network wants no proof of work.
    fn attach(&self, text: &str) -> BlockId {
        let mut attached = None;
        wait_for("attached block", || {
            attached = self.try_attach(text);
            attached.is_some()
        });
        attached.unwrap()
    }

    fn try_attach(&self, text: &str) -> Option<BlockId> {
        let tips = self.get("/api/core/v2/tips")?;
        let tips =
            tips["tips"].as_array()?.iter().map(|tip| BlockId::from_hex(tip.as_str().unwrap()).unwrap());
        let parents = Parents::from_unsorted(tips.collect()).unwrap();
        let data = TaggedData::new(b"lan".to_vec(), text.as_bytes().to_vec()).unwrap();
        let block =
            Block { protocol_version: 2, parents, payload: Some(Payload::TaggedData(data)), nonce: 0 };
        let (api, bytes) = (SocketAddr::from((self.address, 14_265)), block.pack());
        let header = ["Content-Type: application/vnd.iota.serializer-v1"];
        let answer = http::request(api, "POST", "/api/core/v2/blocks", &header, &bytes)?;
        assert_ne!(answer.status, 400, "{}", answer.head);
        (answer.status == 201).then(|| osmia::protocol::block::id_of(&bytes))
    }

    fn is_referenced(&self, block: BlockId) -> bool {
        let metadata = self.get(&format!("/api/core/v2/blocks/{block}/metadata"));
        metadata.is_some_and(|metadata| metadata["ledgerInclusionState"] == "noTransaction")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            let lines = log.lines().rev().take(30).collect::<Vec<_>>();
            println!(
                "{}, at {}:\n{}",
                self.address,
                self.confirmed(),
                lines.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
        for child in self.node.iter_mut().chain([&mut self.holder]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < LIMIT, "no {what} in time");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn main() {
    enter_namespace();
    let started = Instant::now();
    let folder = tempfile::tempdir().unwrap();
    let switch = Switch::start(Duration::from_millis(5)..Duration::from_millis(60), 100);
    // This program's own link, to ask all of them.
    let own = switch.tap("osmia0");
    for command in ["ip link set lo up", "ip address add 10.78.0.100/24 dev osmia0", "ip link set osmia0 up"]
    {
        run(None, command);
    }
    let [mut one, mut two, mut three, mut four] =
        [1, 2, 3, 4].map(|number| Place::new(&switch, number, folder.path()));

    // With one place for strangers each, it is those beside each other that make them one network. The first founds it; the second is told of it by a line, the third finds it by itself.
    one.start("[health]\nrequire_peers = false\n[coordinator]\nenabled = true\ninterval_s = 1\n[network]\nmin_pow_score = 0\n");
    wait_for("milestones", || one.confirmed() > 2);
    two.start(&format!("[network]\njoin = \"{}\"\n", one.line()));
    three.start("[network]\njoin = \"lan\"\n");
    wait_for("synced network of three", || [&one, &two, &three].iter().all(|node| node.is_healthy()));
    let early = one.attach("before the cut");
    wait_for("block everywhere", || [&one, &two, &three].iter().all(|node| node.is_referenced(early)));
    println!("three nodes in step after {:.0} s", started.elapsed().as_secs_f32());

    // The fourth comes late: a snapshot of the third, then gossip.
    let before = three.confirmed();
    wait_for("milestones after the first block", || three.confirmed() > before + DEPTH);
    four.start(&format!("[network]\njoin = \"{}\"\n", three.line()));
    wait_for("synced late-comer", || four.is_healthy());
    assert!(four.get(&format!("/api/core/v2/blocks/{early}")).is_none(), "it began behind the first block");
    let nodes = [&one, &two, &three, &four];
    let attach_everywhere = || {
        for node in nodes {
            let block = node.attach(&format!("from {}", node.address));
            wait_for("block everywhere", || nodes.iter().all(|node| node.is_referenced(block)));
        }
    };
    attach_everywhere();

    // Two and two for a minute; milestones go on on one side.
    switch.cut(&[own, one.link, two.link]);
    let (before, cut) = (one.confirmed(), Instant::now());
    wait_for("end of the cut", || cut.elapsed() >= CUT);
    let reached = one.confirmed();
    assert!(reached >= before + 20 && two.confirmed() + 2 >= reached, "{before} to {reached}");
    assert!(
        three.get("/api/core/v2/info").is_none() && four.get("/api/core/v2/info").is_none(),
        "not cut off"
    );
    switch.cut(&[]);
    let healed = Instant::now();
    wait_for("answer of one that was cut off", || three.confirmed() > 0);
    assert!(three.confirmed() < reached, "it knew of {reached} before the networks met again");
    wait_for("synced network after the cut", || {
        nodes.iter().all(|node| node.confirmed() >= reached && node.is_healthy())
    });
    println!("in step {:.1} s after a cut of {} s", healed.elapsed().as_secs_f32(), CUT.as_secs());
    attach_everywhere();
    println!("lan: passed ({:.0} s)", started.elapsed().as_secs_f32());
}
