//! A real node.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{configuration, http};

/// See the module.
pub(super) struct Node {
    child: Child,
    pub(super) api: SocketAddr,
    pub(super) peer: String,
}

impl Node {
    pub(super) fn start(folder: &Path, peers: &str) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("node.toml"), configuration(peers)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_osmia"))
            .args(["node", "--config"])
            .arg(folder.join("node.toml"))
            .arg("--data")
            .arg(folder.join("data"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("node started")).unwrap();
        std::thread::spawn(move || lines.count());
        let word = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key)).unwrap().to_owned();
        let bound = word("peering=[");
        let port = bound.trim_end_matches(']').rsplit(':').next().unwrap().to_owned();
        let peer = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", word("peer_id=").trim_matches('"'));
        Self { child, api: word("rest=").parse().unwrap(), peer }
    }

    /// Ends it in order.
    pub(super) fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    pub(super) fn get(&self, path: &str) -> Vec<u8> {
        http::request(self.api, "GET", path, &[], &[]).unwrap().body
    }

    pub(super) fn confirmed(&self) -> u32 {
        let info: serde_json::Value = serde_json::from_slice(&self.get("/api/core/v2/info")).unwrap();
        u32::try_from(info["status"]["confirmedMilestone"]["index"].as_u64().unwrap()).unwrap()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap()
    }

    /// User and system time.
    pub(super) fn cpu_s(&self) -> f64 {
        let stat = self.read("stat");
        let fields = stat.rsplit(')').next().unwrap().split_whitespace().collect::<Vec<_>>();
        // The kernel counts in hundredths of a second for whoever reads this file.
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }

    pub(super) fn peak_mib(&self) -> f64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
