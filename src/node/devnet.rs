//! A private Tangle on one machine: its founder, and other nodes beside it, each a process of its own.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::coordinator;
use crate::identity::Identity;
use crate::protocol::address::Address;
use crate::protocol::hex;

/// Gossip's port lies so far above that of the REST API, as it does by default.
const GOSSIP_ABOVE_REST: u16 = 15_600 - 14_265;

/// How often it is looked whether all nodes run.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What kind of network.
#[derive(Debug, Clone)]
pub struct Devnet {
    /// Folder of the founder; those of the others lie in it.
    pub data: PathBuf,
    /// Where the founder's REST API listens; the others take the ports that follow.
    pub rest: SocketAddr,
    /// Do proof of work for clients.
    pub pow: bool,
    /// How many nodes.
    pub nodes: u16,
}

impl Devnet {
    /// The founder's configuration.
    pub fn founder(&self) -> String {
        format!(
            "[coordinator]\nenabled = true\n[network]\nname = \"osmia-devnet\"\n{}",
            self.common(self.rest, &[])
        )
    }

    fn common(&self, rest: SocketAddr, peers: &[String]) -> String {
        let peers = peers.iter().map(|peer| format!("{{ address = \"{peer}\" }}")).collect::<Vec<_>>();
        format!(
            "[health]\nrequire_peers = false\n[rest]\nbind = \"{rest}\"\n[pow]\nenabled = {}\n\
             [peering]\nbind = [\"{}\"]\npeers = [{}]\n",
            self.pow,
            SocketAddr::new(rest.ip(), rest.port().wrapping_add(GOSSIP_ABOVE_REST)),
            peers.join(", ")
        )
    }

    /// Folder and configuration of every node, the founder first. Makes the keys that they know each other by.
    fn plan(&self) -> anyhow::Result<Vec<(PathBuf, String)>> {
        let identity = self.data.join("identity");
        let key = hex::encode(&coordinator::public_key(&identity)?);
        let owner = Address::of_key(&coordinator::genesis_key(&identity)?).to_bech32("tst");
        let mut plan = vec![(self.data.clone(), self.founder())];
        let mut peers = vec![address(self.rest, &self.data)?];
        for number in 2..=self.nodes {
            let data = self.data.join(format!("node-{number}"));
            let port =
                self.rest.port().checked_add(number - 1).context("--nodes: there are no more ports")?;
            let rest = SocketAddr::new(self.rest.ip(), port);
            let text = format!(
                "[network]\nname = \"osmia-devnet\"\nmilestone_keys = [{{ public_key = \"{key}\" }}]\n\
                 genesis_address = \"{owner}\"\n{}",
                self.common(rest, &peers)
            );
            peers.push(address(rest, &data)?);
            plan.push((data, text));
        }
        Ok(plan)
    }

    /// Runs all nodes until a signal comes or one of them ends.
    ///
    /// # Errors
    /// What keeps a node from starting; that one failed.
    pub fn run(&self) -> anyhow::Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals")?;
        let own = std::env::current_exe().context("this program's file")?;
        let mut children = Children(Vec::new());
        for (data, text) in self.plan()? {
            let file = data.join("node.toml");
            std::fs::write(&file, text).with_context(|| file.display().to_string())?;
            let mut command = Command::new(&own);
            let command = command.args(["node", "--config"]).arg(&file).arg("--data").arg(&data);
            children.0.push(command.spawn().with_context(|| own.display().to_string())?);
        }
        loop {
            if signals.pending().next().is_some() {
                return children.stop();
            }
            for child in &mut children.0 {
                if let Some(status) = child.try_wait()? {
                    children.stop()?;
                    anyhow::bail!("a node ended: {status}");
                }
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// The nodes' processes; none outlives this, unless the process is killed.
struct Children(Vec<Child>);

impl Children {
    fn stop(&mut self) -> anyhow::Result<()> {
        for child in &self.0 {
            // One that has ended needs not be told.
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
        }
        for child in &mut self.0 {
            child.wait()?;
        }
        self.0.clear();
        Ok(())
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!(%error, "a node was not stopped");
        }
    }
}

/// What peers dial.
fn address(rest: SocketAddr, data: &Path) -> anyhow::Result<String> {
    let id = Identity::load_or_create(&data.join("identity"))?.peer_id();
    let kind = match rest.ip() {
        IpAddr::V4(_) => "ip4",
        IpAddr::V6(_) => "ip6",
    };
    let port = rest.port().wrapping_add(GOSSIP_ABOVE_REST);
    Ok(format!("/{kind}/{}/tcp/{port}/p2p/{id}", rest.ip()))
}
