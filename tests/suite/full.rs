//! A disk that somebody fills to the last byte: a small one, in memory, in a mount namespace of its own.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use osmia::protocol::blake2b_256;
use osmia::protocol::block::{Block, Parents, Payload};
use osmia::protocol::tagged_data::TaggedData;

use crate::node::Node;

/// Size of the disk, in MiB. An epoch holds 4 MiB then.
const DISK_MIB: u32 = 64;

/// Of one on which there is all the ballast.
const LARGER_MIB: u32 = 256;

/// Blocks for each milestone, a megabyte: what is alive is ten milestones and the epochs that they are in.
const BLOCKS: usize = 60;

/// Of the disk, in percent, before somebody else fills it.
const OWN: u64 = 55;

/// Of the disk, in percent: a tenth is the node's reserve.
const MOST_USED: u64 = 90;

/// Keeps the namespace; reads from a pipe that nobody writes to.
struct Disk {
    holder: Child,
    folder: PathBuf,
}

/// Issues a milestone a second; ten of them are alive.
const FOUNDER: &str = "[network]\nmin_pow_score = 0\nbelow_max_depth = 5\n[storage]\nkeep_milestones = 100\n\
                       [coordinator]\nenabled = true\ninterval_s = 1\n";

impl Disk {
    fn new(folder: &Path, mib: u32) -> Self {
        std::fs::create_dir(folder).unwrap();
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        let script = format!("mount -t tmpfs -o size={mib}m none '{}' && exec cat", folder.display());
        let holder = command
            .args(["--mount", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let disk = Self { holder, folder: folder.to_path_buf() };
        let started = Instant::now();
        while disk.about().is_none_or(|about| about.f_blocks * about.f_frsize != u64::from(mib) << 20) {
            assert!(started.elapsed() < Duration::from_secs(60), "no disk");
            std::thread::sleep(Duration::from_millis(20));
        }
        disk
    }

    /// As it is seen from here.
    fn path(&self) -> PathBuf {
        let folder = self.folder.strip_prefix("/").unwrap();
        PathBuf::from(format!("/proc/{}/root", self.holder.id())).join(folder)
    }

    fn about(&self) -> Option<rustix::fs::StatVfs> {
        rustix::fs::statvfs(self.path()).ok()
    }

    fn used_percent(&self) -> u64 {
        let about = self.about().unwrap();
        100 - about.f_bavail * 100 / about.f_blocks
    }

    /// To the last byte.
    fn fill(&self, name: &str) {
        let mut file = File::create(self.path().join(name)).unwrap();
        for portion in [1 << 16, 1 << 12, 1] {
            let zeros = vec![0; portion];
            let error = std::iter::repeat_with(|| file.write_all(&zeros)).find_map(Result::err).unwrap();
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
        }
    }

    fn start(&self, config: &Path, more: &[&str]) -> Node {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.holder.id())).arg("--mount");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg(env!("CARGO_BIN_EXE_osmia"));
        Node::start_by(command, config, &Node::config(FOUNDER), &self.folder.join("data"), more)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Blocks of 16 KB that do not compress.
fn post(node: &Node, milestone: u64) {
    let parents = Parents::from_unsorted(node.tips()).unwrap();
    for number in 0..BLOCKS {
        let piece = |piece: usize| blake2b_256(format!("{milestone} {number} {piece}").as_bytes());
        let data = TaggedData::new(b"full".to_vec(), (0..512).flat_map(piece).collect()).unwrap();
        let payload = Some(Payload::TaggedData(data));
        let block = Block { protocol_version: 2, parents: parents.clone(), payload, nonce: 0 };
        let answer = node.post("application/vnd.iota.serializer-v1", &block.pack());
        assert!([201, 503].contains(&answer.status), "{}", String::from_utf8_lossy(&answer.body));
    }
}

/// Old epochs make room; what was confirmed stays confirmed, and milestones go on.
#[test]
fn a_disk_that_somebody_fills_to_the_last_byte_is_made_room_on() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::new(&folder.path().join("disk"), DISK_MIB);
    let config = folder.path().join("node.toml");
    let node = disk.start(&config, &[]);
    while disk.used_percent() < OWN {
        let here = node.confirmed();
        post(&node, here);
        node.wait_confirmed(here + 1);
    }
    // While it is down, as after a power cut.
    let before = node.confirmed();
    node.kill();
    disk.fill("one");
    assert_eq!(disk.used_percent(), 100);
    let mut node = disk.start(&config, &[]);
    node.wait_confirmed(before + 3);
    assert!(disk.used_percent() <= MOST_USED, "{} %", disk.used_percent());

    // While it runs: it goes on, or ends with the reason, and goes on when it is started again, as every supervisor does.
    let before = node.confirmed();
    disk.fill("two");
    let node = match node.ends_or_reaches(before + 15) {
        None => node,
        Some(said) => {
            assert!(said.contains("No space left on device"), "{said}");
            let node = disk.start(&config, &[]);
            node.wait_confirmed(before + 15);
            node
        }
    };
    assert!(disk.used_percent() <= MOST_USED, "{} %", disk.used_percent());
    assert_eq!(node.get("/health").status, 200);
    node.stop();
}

/// One that has nothing to give up but its ballast.
#[test]
fn a_young_store_goes_on_while_the_disk_stays_full() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::new(&folder.path().join("disk"), LARGER_MIB);
    let config = folder.path().join("node.toml");
    let node = disk.start(&config, &["--ballast"]);
    node.wait_confirmed(3);
    let before = node.confirmed();
    node.kill();
    disk.fill("one");
    // More than one epoch.
    let mut node = disk.start(&config, &["--ballast"]);
    if let Some(said) = node.ends_or_reaches(before + 25) {
        panic!("{said}");
    }
    node.stop();
}
