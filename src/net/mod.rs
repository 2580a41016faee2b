//! Gossip with other nodes over libp2p (TCP, noise, yamux), as HORNET speaks it.
//!
//! One task owns the connections; one more runs each peer's stream; one thread looks at blocks. All of them call the
//! machine of [`crate::gossip`] through a [`Hub`], and so does the engine; blocks go to the engine's queue, which is the
//! only one that anybody waits for.

mod behaviour;
mod check;
mod hub;
mod known;
mod outbox;
mod stream;
mod tcp;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context;
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::upgrade::Version;
use libp2p::core::{Multiaddr, Transport};
use libp2p::futures::StreamExt;
use libp2p::identity::Keypair;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{self, NetworkBehaviour, Stream, SwarmEvent};
use libp2p::{PeerId, StreamProtocol, Swarm, identify, noise, yamux};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

pub use hub::Hub;

use crate::config::Peering;
use crate::gossip::SLOTS;
use crate::gossip::peer::Relation;
use crate::handle::NodeHandle;
use crate::handle::peers::{PeerInfo, PeerRequest};
use crate::keeper::web::Names;
use crate::pow::tuning::Tuning;
use behaviour::Event;
use check::Checker;
use known::KnownPeers;
use stream::Parts;

/// HORNET: > a connection is there within 5 s; encryption and the rest come on top here
const DIAL_WITHIN: Duration = Duration::from_secs(10);

/// A connection without a stream is closed after that.
const IDLE: Duration = Duration::from_secs(10);

/// Connections that are being encrypted; each costs a few milliseconds.
const MOST_PENDING: u32 = 16;

/// How often the machine is told that time passed.
const TICK: Duration = Duration::from_millis(250);

#[derive(NetworkBehaviour)]
struct Behaviour {
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    gossip: behaviour::Behaviour,
}

/// Sockets that peers connect to, opened before the node gives up its rights to.
#[derive(Debug)]
pub struct Sockets(Vec<std::net::TcpListener>);

impl Sockets {
    /// Listens on each address. One of an address family that the machine has not is left out.
    ///
    /// # Errors
    /// An address that is taken.
    pub fn open(addresses: &[SocketAddr]) -> anyhow::Result<Self> {
        let mut sockets = Vec::new();
        for address in addresses {
            match tcp::bind(*address) {
                Ok(socket) => sockets.push(socket),
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable || is_no_family(&error) => {
                    tracing::warn!(%address, %error, "peers cannot connect to this address");
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("peering.bind: listening on {address}"));
                }
            }
        }
        Ok(Self(sockets))
    }

    /// Where peers connect to.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }
}

fn is_no_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// What gossip needs beside the node.
#[derive(Debug)]
pub struct Setup {
    /// The node's key.
    pub key: Keypair,
    /// Who may connect, and to whom.
    pub peering: Peering,
    /// The node's folder.
    pub data: PathBuf,
    /// How to judge proof of work.
    pub tuning: Tuning,
    /// How names of peers are looked up.
    pub names: Names,
    /// Where peers connect to.
    pub sockets: Sockets,
}

/// A peer whose address is looked up.
type Found = (PeerId, Result<Vec<Multiaddr>, String>);

/// All of it, ready to run.
pub struct Net {
    swarm: Swarm<Behaviour>,
    hub: Hub,
    parts: Parts,
    known: KnownPeers,
    unknown_peers: usize,
    names: Names,
    streams: JoinSet<PeerId>,
    look_ups: JoinSet<Found>,
    /// Where connected peers are.
    places: HashMap<PeerId, Multiaddr>,
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net").field("known", &self.known).finish_non_exhaustive()
    }
}

impl Net {
    /// Gets everything ready; nobody is connected before [`Net::run`].
    ///
    /// # Errors
    /// The surroundings.
    pub fn new(setup: Setup, hub: Hub, node: NodeHandle) -> anyhow::Result<Self> {
        let Setup { key, peering, data, tuning, names, sockets } = setup;
        let network_id = node.status_now().network.params.network_id();
        let protocol = StreamProtocol::try_from_owned(format!("/iota-gossip/{network_id}/1.0.0"))
            .map_err(|error| anyhow::anyhow!("name of the protocol: {error}"))?;
        let transport = tcp::Tcp::listening(sockets.0)
            .context("listening for peers")?
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&key).context("noise")?)
            .multiplex(yamux::Config::default())
            .timeout(DIAL_WITHIN)
            .boxed();
        let most = u32::try_from(SLOTS).unwrap_or(u32::MAX);
        let limits = ConnectionLimits::default()
            .with_max_pending_incoming(Some(MOST_PENDING))
            .with_max_pending_outgoing(Some(most))
            .with_max_established_incoming(Some(2 * most))
            .with_max_established_per_peer(Some(2));
        let agent = concat!("osmia/", env!("CARGO_PKG_VERSION")).to_owned();
        let identify = identify::Config::new("/ipfs/0.1.0".into(), key.public()).with_agent_version(agent);
        let behaviour = Behaviour {
            limits: connection_limits::Behaviour::new(limits),
            identify: identify::Behaviour::new(identify),
            gossip: behaviour::Behaviour::new(protocol),
        };
        let config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE);
        let swarm = Swarm::new(transport, behaviour, key.public().to_peer_id(), config);
        let checker = Checker::start(hub.clone(), node.clone(), &tuning)?;
        Ok(Self {
            swarm,
            parts: Parts { hub: hub.clone(), node, checker },
            hub,
            known: KnownPeers::open(&data, &peering.peers, Instant::now()),
            unknown_peers: peering.unknown_peers,
            names,
            streams: JoinSet::new(),
            look_ups: JoinSet::new(),
            places: HashMap::new(),
        })
    }

    /// Runs until the node stops.
    pub async fn run(mut self, mut requests: mpsc::Receiver<PeerRequest>, mut stop: watch::Receiver<bool>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // A closed channel is a stop, too.
                _ = stop.wait_for(|stop| *stop) => break,
                _ = tick.tick() => {
                    self.hub.with(|gossip, now_ms| gossip.tick(now_ms));
                    self.dial();
                }
                event = self.swarm.select_next_some() => self.swarm_event(event),
                Some(request) = requests.recv() => self.request(request),
                Some(ended) = self.streams.join_next() => self.ended(ended.ok()),
                Some(Ok((peer, found))) = self.look_ups.join_next() => self.found(peer, found),
            }
            let connected = self.hub.links().count();
            self.parts.node.facts.peers.store(connected, Ordering::Relaxed);
        }
        for (slot, link) in self.hub.links() {
            self.hub.disconnect(slot, &link, &"this node stops");
        }
        while self.streams.join_next().await.is_some() {}
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the enum is not exhaustive: nothing else is of interest"
    )]
    fn swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip((peer, connection, event))) => match event {
                Event::Open { stream, opened } => self.open(peer, stream, opened),
                Event::Failed => {
                    tracing::debug!(%peer, "peer does not speak this network's protocol");
                    self.swarm.close_connection(connection);
                }
            },
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } => {
                self.places.insert(peer_id, endpoint.get_remote_address().clone());
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                self.places.remove(&peer_id);
                self.known.lost(&peer_id, Instant::now());
                self.hub.end(&peer_id, &"the connection is gone");
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                tracing::debug!(%peer, %error, "peer not reached");
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::info!(%address, id = %self.swarm.local_peer_id(), "listening for peers");
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "connection of a peer not accepted")
            }
            _ => {}
        }
    }

    /// HORNET: > one stream for each peer; known peers are let in, and a few others
    fn open(&mut self, peer: PeerId, stream: Stream, opened: bool) {
        if let Some((slot, link)) = self.hub.find(&peer) {
            // Both dialled at the same time: the same one of the two streams stays on both sides. One that is in use stays.
            let own_stays = self.swarm.local_peer_id() < &peer;
            let in_use = self.hub.state(slot).is_some_and(|state| state.heartbeat.is_some());
            if !link.opened || opened || own_stays || in_use {
                return;
            }
            self.hub.disconnect(slot, &link, &"it opened a stream at the same time");
        }
        let relation = match self.known.get(&peer) {
            Some(_) => Relation::Known,
            None => Relation::Unknown,
        };
        let strangers = || self.hub.links().filter(|(_, link)| link.relation == Relation::Unknown).count();
        let admitted = relation == Relation::Known || strangers() < self.unknown_peers;
        match admitted.then(|| self.hub.connect(peer, relation, opened)).flatten() {
            Some((slot, link)) => {
                let run = stream::run(self.parts.clone(), slot, link, stream);
                self.streams.spawn(async move {
                    run.await;
                    peer
                });
            }
            None => {
                tracing::debug!(%peer, "peer refused: there are enough");
                drop(stream);
                self.leave(peer);
            }
        }
    }

    /// HORNET: > with its stream, the connection is closed
    fn ended(&mut self, peer: Option<PeerId>) {
        if let Some(peer) = peer.filter(|peer| self.hub.find(peer).is_none()) {
            self.leave(peer);
        }
    }

    fn leave(&mut self, peer: PeerId) {
        // Whoever is gone needs not be told.
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    fn dial(&mut self) {
        let (swarm, hub) = (&self.swarm, &self.hub);
        let connected = |peer: &PeerId| {
            peer == swarm.local_peer_id() || swarm.is_connected(peer) || hub.find(peer).is_some()
        };
        for (peer, address) in self.known.due(connected, Instant::now()) {
            let names = self.names.clone();
            self.look_ups.spawn(async move {
                let found = names.addresses(&address.host, address.port).await;
                let fits = |ip: &IpAddr| match address.kind.as_str() {
                    "ip4" | "dns4" => ip.is_ipv4(),
                    "ip6" | "dns6" => ip.is_ipv6(),
                    _ => true,
                };
                let place = |ip: IpAddr| tcp::multiaddr(SocketAddr::new(ip, address.port));
                (peer, found.map(|found| found.into_iter().filter(fits).map(place).collect()))
            });
        }
    }

    fn found(&mut self, peer: PeerId, found: Result<Vec<Multiaddr>, String>) {
        let addresses = match found {
            Ok(addresses) => addresses,
            Err(error) => {
                tracing::debug!(%peer, error, "address of a peer not found");
                return;
            }
        };
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .build();
        if let Err(error) = self.swarm.dial(options) {
            tracing::debug!(%peer, %error, "peer not dialled");
        }
    }

    fn request(&mut self, request: PeerRequest) {
        // Who asked may be gone.
        match request {
            PeerRequest::List { reply } => drop(reply.send(self.list())),
            PeerRequest::Add { address, alias, reply } => {
                let own = address.id == self.swarm.local_peer_id().to_base58();
                let added = match own {
                    true => Err("multiAddress: the peer id is this node's own".to_owned()),
                    false => self.known.add(address, alias, Instant::now()),
                };
                let added = added.map(|peer| {
                    if let Some((slot, _)) = self.hub.find(&peer) {
                        self.hub.with(|gossip, _| gossip.set_relation(slot, Relation::Known));
                    }
                    self.info(&peer)
                });
                drop(reply.send(added));
            }
            PeerRequest::Remove { id, reply } => {
                let removed = match id.parse() {
                    Ok(peer) => self.known.remove(&peer).map(|known| {
                        let connected = self.hub.find(&peer).is_some();
                        self.hub.end(&peer, &"its owner removed it");
                        self.leave(peer);
                        known || connected
                    }),
                    Err(_) => Ok(false),
                };
                drop(reply.send(removed));
            }
        }
    }

    fn list(&self) -> Vec<PeerInfo> {
        let connected = self.hub.links().map(|(_, link)| link.peer);
        let peers = connected.chain(self.known.iter().map(|(peer, _)| *peer)).collect::<BTreeSet<_>>();
        let mut list = peers.iter().map(|peer| self.info(peer)).collect::<Vec<_>>();
        list.sort_by(|one, other| one.id.cmp(&other.id));
        list
    }

    fn info(&self, peer: &PeerId) -> PeerInfo {
        let known = self.known.get(peer);
        let place = self.places.get(peer).map(ToString::to_string);
        PeerInfo {
            id: peer.to_base58(),
            addresses: known.map(|known| known.address.place()).or(place).into_iter().collect(),
            alias: known.and_then(|known| known.alias.clone()),
            relation: if known.is_some() { Relation::Known } else { Relation::Unknown },
            state: self.hub.find(peer).and_then(|(slot, _)| self.hub.state(slot)),
        }
    }
}
