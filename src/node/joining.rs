//! The network of a node whose configuration says where to learn of it (`network.join`): asked for once, at the first start;
//! then it stands in the node's folder. A node whose ledger and snapshot are both lost asks for a snapshot once more.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use libp2p_identity::PeerId;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::starting::Starting;
use crate::config::{Config, Join, NamedPeer, PeerAddress};
use crate::engine::Network;
use crate::files::twice::{self, Found, Writer};
use crate::identity::Identity;
use crate::keeper::progress::Progress;
use crate::keeper::web::Names;
use crate::keeper::{Keeper, fetch};
use crate::ledger::authority::Authority;
use crate::net::join;
use crate::net::lan::{Around, Card, Lan, Neighbour, NetworkMark};
use crate::protocol::blake2b_256;
use crate::protocol::block::Block;
use crate::{coordinator, files};

/// What was learned, in the node's folder.
const FILE: &str = "network.toml";

/// It holds no secret.
const MODE: u32 = 0o644;

/// The snapshot that came with it, until the node begins with that.
const TAKEN: &str = "joined_snapshot.bin";

/// Nodes on the local network have answered by then.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Another new node founds a network in this time, or there is no local network.
const FOUND_WITHIN: Duration = Duration::from_secs(60);

/// What it does, for its owner.
const LOOKING: &str = "looking for a network to join on the local network (network.join)";
const SEVERAL: &str = "several networks on the local network: name a node of one in network.join";

/// Between two rounds, in seconds.
const PAUSE_S: u32 = 5;

/// Tells a network from others of the same name.
pub(super) fn mark(network: &Network) -> NetworkMark {
    let mut keys = network.authority.keys.clone();
    keys.sort_unstable_by_key(|range| (range.public_key, range.start));
    let range = |range: &crate::ledger::authority::KeyRange| {
        [&range.public_key[..], &range.start.0.to_le_bytes(), &range.end.0.to_le_bytes()].concat()
    };
    let bytes = keys.iter().flat_map(range).chain(network.authority.threshold.to_le_bytes());
    let mut keys = [0; 8];
    keys.copy_from_slice(&blake2b_256(&bytes.collect::<Vec<_>>())[..8]);
    NetworkMark { id: network.params.network_id(), keys: u64::from_le_bytes(keys) }
}

/// See the module.
pub(super) struct Joining<'a> {
    pub(super) config: &'a Config,
    pub(super) data: &'a Path,
    pub(super) own: &'a Identity,
    pub(super) keeper: &'a Keeper,
    pub(super) names: &'a Names,
    /// Where nodes on the local network reach gossip.
    pub(super) lan_port: Option<u16>,
    pub(super) listener: &'a Arc<TcpListener>,
    pub(super) probe: Option<&'a Arc<TcpListener>>,
}

impl Joining<'_> {
    /// The configuration that holds: with what the network is known to be.
    ///
    /// # Errors
    /// The node has a network of its own; or the surroundings. Nodes that are not reached are tried again for ever.
    pub(super) async fn settle(&self) -> anyhow::Result<Config> {
        let Some(join) = &self.config.join else { return Ok(self.config.clone()) };
        // Whoever writes the keys of a network knows it: a card's own "lan" is not to lead elsewhere.
        if *join == Join::Lan && !self.config.network.milestone_keys.is_empty() {
            return Ok(self.config.clone());
        }
        let file = self.data.join(FILE);
        let parse = |text: &[u8]| {
            let text = std::str::from_utf8(text).ok()?;
            text.parse::<toml::Table>().ok().filter(|table| !table.is_empty()).map(|_| text.to_owned())
        };
        match twice::read(&file, MODE, Writer::Program, parse).with_context(|| file.display().to_string())? {
            Found::Whole(text) => {
                self.finish()?;
                return self.introduced(&text).with_context(|| {
                    format!("{}: move it, its copy and the store away to join anew", file.display())
                });
            }
            Found::Missing => {}
            Found::Damaged => bail!(
                "{}: damaged, and so is its copy: move both and the store away to join anew",
                file.display()
            ),
        }
        let founder = coordinator::has_key(&self.data.join("identity"));
        if founder || self.data.join(super::STORE).exists() {
            ensure!(
                (founder && *join == Join::Lan) || !self.config.network.milestone_keys.is_empty(),
                "network.join: {} holds another network already: take the key out, or start with an empty folder (on a \
                 board: a factory reset)",
                self.data.display()
            );
            return Ok(self.named(self.config.clone()));
        }
        let starting = Starting::begin(self.listener, self.probe)?;
        let learned = self.learn(join, None, &starting.progress).await;
        starting.end().await;
        match learned? {
            Some(text) => {
                let config = self.introduced(&text)?;
                // Until then, a power cut makes the node ask again; from then on, the next start finishes.
                twice::write(&file, text.as_bytes(), MODE)?;
                self.finish()?;
                tracing::info!(network = config.network.params.network_name, "joined a network");
                Ok(config)
            }
            None => Ok(self.config.clone()),
        }
    }

    /// Whether its network is one that another node told it of.
    pub(super) fn has_learned(&self) -> bool {
        self.config.join.is_some() && self.data.join(FILE).exists()
    }

    /// Text of a node of the `wanted` network, or of any; a snapshot came with it. `None` when this node is to found one.
    async fn learn(
        &self,
        join: &Join,
        wanted: Option<NetworkMark>,
        progress: &Progress,
    ) -> anyhow::Result<Option<String>> {
        match join {
            Join::Peer(address) => self.ask_for_ever(address, wanted, progress).await.map(Some),
            Join::Lan => self.search(wanted, progress).await,
        }
    }

    /// Takes another snapshot of the `known` network: ledger and snapshot are lost.
    pub(super) async fn take_again(&self, known: &Config, progress: &Progress) -> anyhow::Result<()> {
        tracing::warn!("ledger and snapshot are lost: asking for a snapshot once more (network.join)");
        let wanted = mark(&super::network(known, None));
        if let Some(join) = &self.config.join {
            self.learn(join, Some(wanted), progress).await?;
        }
        self.finish()
    }

    fn introduced(&self, text: &str) -> anyhow::Result<Config> {
        Ok(self.named(self.config.clone().introduced(text)?))
    }

    /// Whom the owner named is a peer.
    fn named(&self, mut config: Config) -> Config {
        if let Some(Join::Peer(address)) = &self.config.join
            && !config.peering.peers.iter().any(|peer| peer.address.id == address.id)
        {
            config.peering.peers.push(NamedPeer { address: address.clone(), alias: None });
        }
        config
    }

    async fn ask_for_ever(
        &self,
        address: &PeerAddress,
        wanted: Option<NetworkMark>,
        progress: &Progress,
    ) -> anyhow::Result<String> {
        loop {
            progress.say(format!("asking {address} about its network"));
            match self.ask(address, wanted, progress).await {
                Ok(text) => return Ok(text),
                Err(error) => {
                    tracing::warn!("network.join: {address}: {error:#}");
                    progress.say(format!("network.join: {address}: {error:#}; trying again"));
                }
            }
            wait(PAUSE_S, progress).await;
        }
    }

    async fn ask(
        &self,
        address: &PeerAddress,
        wanted: Option<NetworkMark>,
        progress: &Progress,
    ) -> anyhow::Result<String> {
        let peer: PeerId = address.id.parse().context("its peer id is none")?;
        let found = self.names.addresses(&address.host, address.port).await.map_err(anyhow::Error::msg)?;
        let into = self.keeper.full_path();
        let folder = into.parent().context("the folder of snapshots")?;
        std::fs::create_dir_all(folder)?;
        let part: PathBuf = folder.join("full_snapshot_taken.tmp");
        let places = found.into_iter().map(|ip| (ip, address.port).into()).collect::<Vec<_>>();
        let key = self.own.keypair();
        let learning = async {
            let text = join::ask(&key, peer, &places, &part, progress).await?;
            self.check(&text, wanted, part.clone()).await?;
            std::fs::rename(&part, folder.join(TAKEN))?;
            files::sync_folder(folder)?;
            Ok(text)
        };
        // PID 1 looks for signs of life; every step of it ends in time by itself.
        let waiting = async {
            loop {
                wait(1, progress).await;
            }
        };
        tokio::select! {
            text = learning => text,
            () = waiting => unreachable!("it waits for ever"),
        }
    }

    /// Text and snapshot have to belong together, and the coordinator to vouch for its milestone.
    async fn check(&self, text: &str, wanted: Option<NetworkMark>, snapshot: PathBuf) -> anyhow::Result<()> {
        let config = self.introduced(text).context("what it says of its network")?;
        // It may have got another coordinator's key since.
        let is_wanted = wanted.is_none_or(|wanted| wanted.id == mark(&super::network(&config, None)).id);
        ensure!(is_wanted, "it is in another network by now");
        let network = config.network;
        ensure!(!network.milestone_keys.is_empty(), "it names no milestone keys");
        let wanted = self.config.snapshots.ledger_hash;
        let loaded = tokio::task::spawn_blocking(move || fetch::check(&snapshot, None, wanted)).await??;
        let (found, name) = (&loaded.base.schedule.active.network_name, &network.params.network_name);
        // Before the node begins with it, not when it is too late to take another.
        let (supply, told) = (loaded.base.schedule.active.token_supply, network.params.token_supply);
        ensure!(supply == told, "its token supply is {told}, that of its snapshot {supply}");
        ensure!(found == name, "its network is {name:?}, its snapshot one of {found:?}");
        match &loaded.milestone {
            Some(milestone) => {
                let checked =
                    Authority::of(&network, None).check(&Block::of_milestone(milestone.clone()), milestone);
                checked.context("the milestone of its snapshot is none of this network")?;
            }
            None => ensure!(loaded.base.target.index.0 == 0, "its snapshot is without its milestone"),
        }
        Ok(())
    }

    /// The snapshot that was taken with the network that is known now is what the node begins with.
    fn finish(&self) -> anyhow::Result<()> {
        let full = self.keeper.full_path();
        let taken = full.with_file_name(TAKEN);
        if taken.exists() {
            std::fs::rename(&taken, &full).with_context(|| taken.display().to_string())?;
            full.parent().map_or(Ok(()), files::sync_folder)?;
        }
        Ok(())
    }

    /// Looks for a network around, or for the `wanted` one; `None` when this node is to found one.
    async fn search(
        &self,
        wanted: Option<NetworkMark>,
        progress: &Progress,
    ) -> anyhow::Result<Option<String>> {
        let own = self.own.peer_id();
        let port = self.lan_port;
        let card = Card { id: own.clone(), port: port.unwrap_or(1), network: None, open: false };
        let mut lan = match Lan::open(card, port.is_some()) {
            Ok(lan) => lan,
            Err(error) if self.config.coordinator.enabled && wanted.is_none() => {
                tracing::warn!(%error, "the local network cannot be asked: this node founds a network");
                return Ok(None);
            }
            Err(error) => return Err(error).context("network.join: the local network cannot be asked"),
        };
        let (began, mut connected) = (Instant::now(), None);
        let mut found = Around::default();
        let (mut earlier, mut heard, mut several, mut asked) = (false, false, false, None::<Instant>);
        loop {
            progress.step();
            progress.say(if several { SEVERAL } else { LOOKING }.to_owned());
            let round = tokio::time::sleep(Duration::from_secs(1));
            tokio::select! {
                neighbours = lan.next() => {
                    for neighbour in neighbours {
                        // Of several new nodes, the one with the lowest identity founds a network, the others join that.
                        earlier |= neighbour.card.network.is_none() && neighbour.card.id < own;
                        found.hear(neighbour, Instant::now());
                    }
                }
                () = round => {}
            }
            if connected.is_none() && lan.is_connected() {
                connected = Some(Instant::now());
                // What was asked before went nowhere.
                lan.hurry();
            }
            found.forget(Instant::now());
            // Who answered is there, whatever this machine's links are.
            let since =
                if found.nodes().next().is_none() { connected } else { Some(connected.unwrap_or(began)) };
            // All are heard again before one is asked again.
            let again = asked.is_some_and(|asked| asked.elapsed() < ANSWER_WITHIN);
            let early = since.is_none_or(|since| since.elapsed() < ANSWER_WITHIN);
            if again || early && began.elapsed() < FOUND_WITHIN {
                continue;
            }
            let is_wanted = |one: &&Neighbour| wanted.is_none() || one.card.network == wanted;
            let open = || found.nodes().filter(|one| one.card.open).filter(is_wanted);
            let networks = open().filter_map(|one| one.card.network).collect::<BTreeSet<_>>();
            (heard, several) = (heard || !networks.is_empty(), networks.len() > 1);
            let one = open().find(|one| one.card.network.is_some()).cloned();
            match (networks.len(), one) {
                (1, Some(Neighbour { card, address })) => {
                    let kind = if address.is_ipv4() { "ip4" } else { "ip6" };
                    let (host, port, id) = (address.ip().to_string(), address.port(), card.id.clone());
                    let address = PeerAddress { kind: kind.to_owned(), host, port, id };
                    tracing::info!(%address, "a network on the local network");
                    match self.ask(&address, wanted, progress).await {
                        Ok(text) => return Ok(Some(text)),
                        Err(error) => tracing::warn!("network.join: {address}: {error:#}"),
                    }
                    // It may be gone, and another one there.
                    found.clear();
                    lan.hurry();
                    asked = Some(Instant::now());
                }
                // Where there is a network, another one is not what its owner wants: better to wait.
                (0, _)
                    if self.config.coordinator.enabled
                        && wanted.is_none()
                        && !heard
                        && (!earlier || began.elapsed() > FOUND_WITHIN) =>
                {
                    tracing::info!("no network on the local network: this node founds one");
                    return Ok(None);
                }
                (_, _) => {}
            }
        }
    }
}

async fn wait(seconds: u32, progress: &Progress) {
    for _ in 0..seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        progress.step();
    }
}
