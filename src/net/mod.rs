//! Gossip with other nodes over libp2p (TCP, noise, yamux), as HORNET speaks it.
//!
//! One task owns the connections; one more runs each peer's stream; one thread looks at blocks. All of them call the
//! machine of [`crate::gossip`] through a [`Hub`], and so does the engine; blocks go to the engine's queue, which is the
//! only one that anybody waits for.

pub mod auto;
mod behaviour;
mod check;
mod crowd;
mod hub;
pub mod join;
mod known;
pub mod lan;
mod outbox;
mod sockets;
mod stream;
mod strikes;
mod tcp;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context;
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::core::{Multiaddr, Transport};
use libp2p::futures::StreamExt;
use libp2p::identity::Keypair;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{self, ConnectionId, DialError, NetworkBehaviour, Stream, SwarmEvent};
use libp2p::{PeerId, StreamProtocol, Swarm, identify, noise, yamux};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

pub use hub::Hub;
pub use sockets::Sockets;

use crate::autopeering::Output;
use crate::autopeering::wire::Key;
use crate::config::{EntryAddress, Peering};
use crate::engine::Network;
use crate::gossip::SLOTS;
use crate::gossip::peer::Relation;
use crate::handle::NodeHandle;
use crate::handle::peers::{AddError, PeerInfo, PeerRequest};
use crate::keeper::web::Names;
use crate::pow::tuning::Tuning;
use auto::{Auto, Told};
use behaviour::{Event, Opens};
use check::Checker;
use hub::Link;
use join::Introduction;
use known::KnownPeers;
use lan::{Around, Lan, Neighbour, NetworkMark};
use stream::Parts;
use strikes::Strikes;
use tcp::Tcp;

/// HORNET: > a connection is there within 5 s; encryption and the rest come on top here
const DIAL_WITHIN: Duration = Duration::from_secs(10);

/// A connection without a stream is closed after that.
const IDLE: Duration = Duration::from_secs(10);

/// Connections that are being encrypted, of which one place may have eight: whoever opens them and says nothing must come from
/// many places to keep others out.
const MOST_PENDING: u32 = 128;

/// Two nodes that dial each other know of it by then.
const CROSSED_WITHIN: Duration = Duration::from_secs(10);

/// Whom autopeering chose is connected by then, or is given up.
const CHOSEN_WITHIN: Duration = Duration::from_secs(30);

/// How often the machine is told that time passed.
const TICK: Duration = Duration::from_millis(250);

#[derive(NetworkBehaviour)]
struct Behaviour {
    limits: connection_limits::Behaviour,
    crowd: crowd::Behaviour,
    identify: identify::Behaviour,
    gossip: behaviour::Behaviour,
    join: Toggle<behaviour::Behaviour>,
}

/// Whom this node dials and who dials it: encrypted, identities proven, streams in one connection.
fn transport(key: &Keypair, tcp: Tcp) -> anyhow::Result<Boxed<(PeerId, StreamMuxerBox)>> {
    let noise = noise::Config::new(key).context("noise")?;
    let upgraded = tcp.upgrade(Version::V1).authenticate(noise).multiplex(yamux::Config::default());
    Ok(upgraded.timeout(DIAL_WITHIN).boxed())
}

/// For ever, where there is no autopeering.
async fn wishes(auto: &mut Option<Auto>) -> Option<Output> {
    match auto {
        Some(auto) => auto.next().await,
        None => std::future::pending().await,
    }
}

/// For ever, where nobody looks at the local network.
async fn neighbours(lan: &mut Option<(Lan, NetworkMark)>) -> Vec<Neighbour> {
    match lan {
        Some((lan, _)) => lan.next().await,
        None => std::future::pending().await,
    }
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
    /// What strangers are told who want to join; `None` when none are let in.
    pub introduction: Option<Introduction>,
    /// Where and by whom other nodes are found over the internet, if they are.
    pub autopeering: Option<(auto::Socket, Vec<EntryAddress>)>,
    /// The local network, and what this node's network is there called.
    pub lan: Option<(Lan, NetworkMark)>,
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
    introduction: Option<Introduction>,
    auto: Option<Auto>,
    /// Those whom autopeering chose, and when.
    neighbours: BTreeMap<PeerId, Instant>,
    lan: Option<(Lan, NetworkMark)>,
    /// Nodes of this network on the local network.
    around: Around,
    /// Nodes that are told how to join.
    joining: JoinSet<()>,
    streams: JoinSet<(PeerId, ConnectionId)>,
    look_ups: JoinSet<Found>,
    /// Where the other end of each connection is.
    places: HashMap<ConnectionId, Multiaddr>,
    /// What blocks are judged by.
    rules: Arc<Network>,
    strikes: Strikes,
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
        let Setup { key, peering, data, tuning, names, sockets, introduction, autopeering, lan } = setup;
        let rules = node.status_now().network.clone();
        let params = &rules.params;
        let bound = sockets.addresses();
        // Nodes of one machine may find each other, too.
        let port = Peering::outside(&bound).or(bound.first().copied()).map_or(0, |address| address.port());
        let auto = autopeering.map(|(socket, entry_nodes)| {
            Auto::start(socket, &key, params.network_name.clone(), port, entry_nodes, names.clone())
        });
        let network_id = params.network_id();
        let protocol = StreamProtocol::try_from_owned(format!("/iota-gossip/{network_id}/1.0.0"))
            .map_err(|error| anyhow::anyhow!("name of the protocol: {error}"))?;
        let tcp = Tcp::listening(sockets.into_listeners()).context("listening for peers")?;
        let most = u32::try_from(SLOTS).unwrap_or(u32::MAX);
        let limits = ConnectionLimits::default()
            .with_max_pending_incoming(Some(MOST_PENDING))
            .with_max_pending_outgoing(Some(most))
            .with_max_established_incoming(Some(2 * most))
            .with_max_established_per_peer(Some(2));
        let agent = concat!("osmia/", env!("CARGO_PKG_VERSION")).to_owned();
        let identify = identify::Config::new("/ipfs/0.1.0".into(), key.public()).with_agent_version(agent);
        let known = KnownPeers::open(&data, &peering.peers, Instant::now());
        // Those whom its owner named are let in whoever else is there.
        let mut limits = connection_limits::Behaviour::new(limits);
        known.iter().for_each(|(peer, _)| limits.bypass_peer_id(peer));
        let behaviour = Behaviour {
            limits,
            crowd: crowd::Behaviour::default(),
            identify: identify::Behaviour::new(identify),
            gossip: behaviour::Behaviour::new(protocol, Opens::Dialler),
            join: introduction.is_some().then(join::answering).into(),
        };
        let config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE);
        let swarm = Swarm::new(transport(&key, tcp)?, behaviour, key.public().to_peer_id(), config);
        let checker = Checker::start(hub.clone(), node.clone(), &tuning)?;
        Ok(Self {
            swarm,
            parts: Parts { hub: hub.clone(), node, checker },
            hub,
            known,
            unknown_peers: peering.unknown_peers,
            names,
            rules,
            introduction,
            auto: auto.transpose().context("autopeering")?,
            neighbours: BTreeMap::new(),
            lan,
            around: Around::default(),
            joining: JoinSet::new(),
            streams: JoinSet::new(),
            look_ups: JoinSet::new(),
            places: HashMap::new(),
            strikes: Strikes::default(),
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
                    self.forget_absent();
                    self.around.forget(tokio::time::Instant::now());
                }
                event = self.swarm.select_next_some() => self.swarm_event(event),
                Some(request) = requests.recv() => self.request(request),
                Some(ended) = self.streams.join_next() => ended.into_iter().for_each(|ended| self.ended(ended)),
                Some(Ok((peer, found))) = self.look_ups.join_next() => self.found(peer, found),
                Some(_) = self.joining.join_next() => {}
                neighbours = neighbours(&mut self.lan) => self.meet(neighbours),
                Some(wish) = wishes(&mut self.auto) => self.autopeer(wish),
            }
            self.judge();
            let connected = self.hub.links().count();
            self.parts.node.facts.peers.store(connected, Ordering::Relaxed);
        }
        for (slot, link) in self.hub.links() {
            self.hub.disconnect(slot, &link, &"this node stops");
        }
        self.joining.shutdown().await;
        while self.streams.join_next().await.is_some() {}
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the enum is not exhaustive: nothing else is of interest"
    )]
    fn swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip((peer, connection, event))) => match event {
                Event::Open { stream, opened } => self.open(peer, connection, stream, opened),
                Event::Failed => {
                    self.unreached(&peer, "it does not speak this network's protocol (see network.name)");
                    self.swarm.close_connection(connection);
                }
            },
            SwarmEvent::Behaviour(BehaviourEvent::Join((_, connection, event))) => match event {
                Event::Open { stream, .. } => self.introduce(connection, stream),
                Event::Failed => {}
            },
            SwarmEvent::ConnectionEstablished { connection_id, endpoint, .. } => {
                self.places.insert(connection_id, endpoint.get_remote_address().clone());
            }
            SwarmEvent::ConnectionClosed { connection_id, num_established: 1.., .. } => {
                self.places.remove(&connection_id);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established: 0, .. } => {
                self.places.remove(&connection_id);
                self.known.lost(&peer_id, Instant::now());
                if let Some((lan, _)) = &mut self.lan {
                    lan.hurry();
                }
                self.hub.end(&peer_id, &"the connection is gone");
                self.neighbours.remove(&peer_id);
                self.tell_auto(&peer_id, Told::Gone);
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                let problem = match &error {
                    DialError::WrongPeerId { .. } => "another node answers at its address".to_owned(),
                    DialError::Transport(_) => "nobody answers at its address".to_owned(),
                    other => other.to_string(),
                };
                // One that is found at two addresses is dialled at both.
                if !self.swarm.is_connected(&peer) {
                    self.unreached(&peer, &problem);
                }
                if !self.swarm.is_connected(&peer) && self.neighbours.remove(&peer).is_some() {
                    self.tell_auto(&peer, Told::Gone);
                }
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
    fn open(&mut self, peer: PeerId, connection: ConnectionId, stream: Stream, opened: bool) {
        let address = self.places.get(&connection).cloned();
        let at = address.as_ref().and_then(tcp::socket_address).map(|at| at.ip());
        if self.is_out(&peer, at) {
            tracing::debug!(%peer, "peer refused: it, or another one at its address, broke a rule");
            // One that is connected has done nothing since.
            if self.hub.find(&peer).is_none() {
                self.leave(peer);
            }
            return;
        }
        if let Some((slot, link)) = self.hub.find(&peer) {
            let replaces = if link.connection == connection {
                // A second stream.
                false
            } else if link.opened != opened && link.since.elapsed() < CROSSED_WITHIN {
                // Both dialled at the same time: the stream that the lower id opened stays, on both sides.
                opened == (self.swarm.local_peer_id() < &peer)
            } else {
                // Nobody dials who is connected: it lost the connection, as by a power cut, and this side has not noticed.
                !opened
            };
            if !replaces {
                return;
            }
            self.hub.disconnect(slot, &link, &"it connected anew");
        }
        let relation = self.relation(&peer);
        let admitted = self.admits(&peer, at);
        let connect = || self.hub.connect(peer, address, relation, connection, opened);
        match admitted.then(connect).flatten() {
            Some((slot, link)) => {
                self.known.is_news(&peer, None);
                if relation != Relation::Autopeered {
                    self.tell_auto(&peer, Told::Block);
                }
                let run = stream::run(self.parts.clone(), slot, link, stream);
                self.streams.spawn(async move {
                    run.await;
                    (peer, connection)
                });
            }
            None => {
                tracing::debug!(%peer, "peer refused: there are enough");
                drop(stream);
                self.leave(peer);
            }
        }
    }

    fn relation(&self, peer: &PeerId) -> Relation {
        match (self.known.get(peer), self.neighbours.contains_key(peer)) {
            (Some(_), _) => Relation::Known,
            (None, true) => Relation::Autopeered,
            (None, false) => Relation::Unknown,
        }
    }

    /// Connected peers that nobody named or chose.
    fn strangers(&self) -> impl Iterator<Item = Arc<Link>> {
        self.hub.links().map(|(_, link)| link).filter(|link| self.relation(&link.peer) == Relation::Unknown)
    }

    /// Whether one more of them may be here, from this place.
    fn has_room(&self, from: Option<IpAddr>) -> bool {
        let places = self.strangers().map(|link| link.ip()).collect::<Vec<_>>();
        crowd::has_room(self.unknown_peers, &places, from)
    }

    /// However many others there are: see [`Around::is_beside`].
    fn is_beside(&self, peer: &PeerId) -> bool {
        let connected = |id: &str| id.parse().is_ok_and(|peer| self.hub.find(&peer).is_some());
        let own = self.swarm.local_peer_id().to_base58();
        self.unknown_peers > 0 && self.around.is_beside(&own, &peer.to_base58(), connected)
    }

    /// Whether a peer may stay. One beside this node takes the place of one that is not any more, when too many were.
    fn admits(&mut self, peer: &PeerId, at: Option<IpAddr>) -> bool {
        if self.relation(peer) == Relation::Known && self.hub.links().count() >= SLOTS {
            // Whom the owner named is let in whoever else is there.
            let others = self.hub.links().map(|(_, link)| link.peer);
            let others = others.filter(|other| self.relation(other) != Relation::Known);
            if let Some(other) = others.max_by_key(|other| self.relation(other) == Relation::Unknown) {
                self.hub.end(&other, &"a named peer takes its place");
                self.leave(other);
            }
        }
        if self.relation(peer) != Relation::Unknown || self.has_room(at) {
            return true;
        }
        if !self.is_beside(peer) {
            return false;
        }
        let others = self.strangers().map(|link| link.peer).filter(|other| !self.is_beside(other));
        let others = others.collect::<Vec<_>>();
        if let Some(other) = others.first().filter(|_| others.len() >= self.unknown_peers) {
            self.hub.end(other, &"another node is beside this one");
            self.leave(*other);
        }
        true
    }

    /// Its owner is told once of what keeps a named peer away, and again when that changes.
    fn unreached(&mut self, peer: &PeerId, problem: &str) {
        match self.known.is_news(peer, Some(problem)) {
            true => tracing::warn!(%peer, problem, "named peer not reached"),
            false => tracing::debug!(%peer, problem, "peer not reached"),
        }
    }

    /// Whom autopeering chose, and who does not come, makes room for another one.
    fn forget_absent(&mut self) {
        let absent = |(peer, since): (&PeerId, &Instant)| {
            (since.elapsed() > CHOSEN_WITHIN && self.hub.find(peer).is_none()).then_some(*peer)
        };
        for peer in self.neighbours.iter().filter_map(absent).collect::<Vec<_>>() {
            self.neighbours.remove(&peer);
            self.tell_auto(&peer, Told::Gone);
        }
    }

    fn tell_auto(&self, peer: &PeerId, told: impl FnOnce(Key) -> Told) {
        if let (Some(auto), Some(key)) = (&self.auto, auto::key_of(peer)) {
            auto.tell(told(key));
        }
    }

    /// HORNET: > who is a peer already is removed from autopeering; whom it drops is disconnected
    fn autopeer(&mut self, wish: Output) {
        let (key, address) = match wish {
            Output::Connect { key, address } => (key, Some(address)),
            Output::Allow { key } => (key, None),
            Output::Drop { key } => {
                if let Some(peer) = auto::peer_id(&key).filter(|peer| self.neighbours.remove(peer).is_some())
                    && self.known.get(&peer).is_none()
                {
                    self.hub.end(&peer, &"autopeering chose another one");
                    self.leave(peer);
                }
                return;
            }
            Output::Send { .. } => return,
        };
        let Some(peer) = auto::peer_id(&key) else { return };
        if self.known.get(&peer).is_some() || self.hub.find(&peer).is_some() {
            return self.tell_auto(&peer, Told::Block);
        }
        self.neighbours.insert(peer, Instant::now());
        if let Some(address) = address {
            self.found(peer, Ok(vec![tcp::multiaddr(address)]));
        }
    }

    fn introduce(&mut self, connection: ConnectionId, stream: Stream) {
        match &self.introduction {
            Some(introduction) if self.joining.len() < join::MOST_ASKING => {
                let reader = self.parts.node.reader.clone();
                self.joining.spawn(join::answer(stream, introduction.clone(), reader));
            }
            Some(_) | None => {
                self.swarm.close_connection(connection);
            }
        }
    }

    /// Nodes on the local network say who they are. Those of this network are strangers like others, but are dialled.
    fn meet(&mut self, neighbours: Vec<Neighbour>) {
        let mark = self.lan.as_ref().map(|(_, mark)| *mark);
        let now = tokio::time::Instant::now();
        for neighbour in neighbours.into_iter().filter(|one| one.card.network == mark) {
            let (address, id, open) = (neighbour.address, neighbour.card.id.clone(), neighbour.card.open);
            let (rested, Ok(peer)) = (self.around.hear(neighbour.clone(), now), id.parse::<PeerId>()) else {
                continue;
            };
            let here = || self.swarm.is_connected(&peer) || self.hub.find(&peer).is_some();
            let welcome = || {
                let known = self.known.get(&peer).is_some();
                known || open && (self.is_beside(&peer) || self.has_room(Some(address.ip())))
            };
            // Somebody else may say so, too: whoever it is has to prove it.
            if rested
                && !here()
                && welcome()
                && self.dial_at(peer, vec![tcp::multiaddr(address)], PeerCondition::Disconnected)
            {
                self.around.dialled(&neighbour, now);
                tracing::info!(%peer, %address, "node of this network found on the local network");
            }
        }
    }

    /// HORNET: > with its stream, the connection is closed
    ///
    /// That one alone: when both dialled at the same time, the stream that stays may still be on its way on the other.
    fn ended(&mut self, (peer, connection): (PeerId, ConnectionId)) {
        if self.hub.find(&peer).is_none_or(|(_, link)| link.connection != connection) {
            self.swarm.close_connection(connection);
        }
    }

    /// Who broke a rule goes, and stays out for a while.
    fn judge(&mut self) {
        let (rules, now) = (self.parts.node.status_now().network.clone(), Instant::now());
        if !Arc::ptr_eq(&rules, &self.rules) {
            self.rules = rules;
            self.strikes.rules_changed(now);
        }
        for (peer, at) in self.hub.take_offences() {
            self.strikes.strike(peer, at.filter(|_| self.known.get(&peer).is_none()), now);
            self.hub.end(&peer, &"it broke a rule");
            self.leave(peer);
        }
    }

    fn is_out(&self, peer: &PeerId, at: Option<IpAddr>) -> bool {
        self.strikes.is_out(peer, at, self.known.get(peer).is_some(), Instant::now())
    }

    fn leave(&mut self, peer: PeerId) {
        // Whoever is gone needs not be told.
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    fn dial(&mut self) {
        let (swarm, hub, strikes, now) = (&self.swarm, &self.hub, &self.strikes, Instant::now());
        let absent = |peer: &PeerId| {
            peer != swarm.local_peer_id()
                && !swarm.is_connected(peer)
                && hub.find(peer).is_none()
                && !strikes.is_out(peer, None, true, now)
        };
        for (peer, address) in self.known.due(|peer| !absent(peer), now) {
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
            Err(error) => return self.unreached(&peer, &format!("its name is not found: {error}")),
        };
        self.dial_at(peer, addresses, PeerCondition::DisconnectedAndNotDialing);
    }

    fn dial_at(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, condition: PeerCondition) -> bool {
        let at = addresses.first().and_then(tcp::socket_address).map(|at| at.ip());
        if self.is_out(&peer, at) {
            return false;
        }
        let options = DialOpts::peer_id(peer).condition(condition).addresses(addresses).build();
        let dialled = self.swarm.dial(options);
        dialled.inspect_err(|error| tracing::debug!(%peer, %error, "peer not dialled")).is_ok()
    }

    fn request(&mut self, request: PeerRequest) {
        // Who asked may be gone.
        match request {
            PeerRequest::List { reply } => drop(reply.send(self.list())),
            PeerRequest::Add { address, alias, reply } => {
                let own = address.id == self.swarm.local_peer_id().to_base58();
                let added = match own {
                    true => Err(AddError::Unfit("multiAddress: the peer id is this node's own".to_owned())),
                    false => self.known.add(address, alias, Instant::now()),
                };
                let added = added.map(|peer| {
                    self.swarm.behaviour_mut().limits.bypass_peer_id(&peer);
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
                        self.swarm.behaviour_mut().limits.remove_peer_id(&peer);
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
        let linked = self.hub.find(peer);
        let place = linked.as_ref().and_then(|(_, link)| link.address.as_ref()).map(ToString::to_string);
        PeerInfo {
            id: peer.to_base58(),
            addresses: known.map(|known| known.address.place()).or(place).into_iter().collect(),
            alias: known.and_then(|known| known.alias.clone()),
            relation: self.relation(peer),
            state: linked.and_then(|(slot, _)| self.hub.state(slot)),
        }
    }
}
