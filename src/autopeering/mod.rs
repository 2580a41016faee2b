//! Nodes that find each other over the internet by entry nodes, as HORNET does (hive.go's autopeering over UDP): who is there
//! is found out by asking whoever is known, and the nearest by a salted hash become neighbours. Off by default: it tells the
//! node's address to everybody.
//!
//! Sans-IO (layer L1): time and randomness are arguments, what is to be done is queued as [`Output`]s. Memory: at most
//! 1,000 nodes, some 200 bytes each. Any node that does this is an entry node for others.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod budget;
mod neighbours;
#[cfg(test)]
mod tests;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ed25519_zebra::{SigningKey, VerificationKey};

use budget::Budget;
use neighbours::{Neighbours, Salt, distance};
use wire::{Key, Message, Ping, Ports, Told};

/// HORNET `protocolVersion`.
const VERSION: u32 = 1;

/// hive.go: > a packet is of no use 20 s after it was made
const FRESH_S: i64 = 20;

/// hive.go `PingExpiration`: > what a ping has shown holds for 12 hours
const SHOWN_FOR_MS: u64 = 12 * 3_600_000;

/// hive.go `ResponseTimeout`.
const ANSWER_WITHIN_MS: u64 = 500;

/// hive.go: > a request is sent three times, each time after a longer pause
const TRIES: u8 = 3;

/// hive.go `DefaultReverifyInterval`, `DefaultQueryInterval`.
const VERIFY_EVERY_MS: u64 = 10_000;
const QUERY_EVERY_MS: u64 = 60_000;

/// hive.go `DefaultMaxManaged`.
const MOST_NODES: usize = 1_000;

/// HORNET `inboundPeers`, `outboundPeers`.
const INBOUND: usize = 2;
const OUTBOUND: usize = 2;

/// HORNET `saltLifetime`, in seconds.
const SALT_FOR_S: u64 = 7_200;

/// hive.go `DefaultOutboundUpdateInterval`, and when there is no place.
const LOOK_EVERY_MS: u64 = 1_000;
const LOOK_WHEN_FULL_MS: u64 = 60_000;

/// hive.go `defaultNeighborSkipTimeout`.
const SKIP_FOR_MS: u64 = 300_000;

/// The time, for counting and for telling.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Milliseconds since the start.
    pub ms: u64,
    /// Unix seconds.
    pub unix: u64,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a datagram.
    Send {
        /// To whom.
        to: SocketAddr,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// It agreed to be a neighbour: connect to its gossip.
    Connect {
        /// Who it is.
        key: Key,
        /// TCP.
        address: SocketAddr,
    },
    /// It is to connect to us: let it in.
    Allow {
        /// Who it is.
        key: Key,
    },
    /// It is no neighbour any more.
    Drop {
        /// Who it is.
        key: Key,
    },
}

/// A node that begins with nothing but this being known of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryNode {
    /// Who it is.
    pub key: Key,
    /// UDP.
    pub address: SocketAddr,
}

/// What this node is.
pub struct Own {
    /// Its key.
    pub key: SigningKey,
    /// Name of the network.
    pub network: String,
    /// UDP port of this.
    pub port: u16,
    /// TCP port of gossip.
    pub gossip: u16,
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Own")
            .field("network", &self.network)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy)]
struct Node {
    ip: IpAddr,
    ports: Ports,
    /// How often it has proven to be there since it was found.
    verified: u32,
    /// When it last was, or was tried.
    seen_ms: u64,
    /// It answered a ping from there: it is not somebody else's address.
    pong_ms: Option<u64>,
    /// It asked and was answered: it knows the same of us.
    ping_ms: Option<u64>,
    /// Nodes that were new here when it was asked last.
    news: usize,
    /// The configuration names it.
    is_entry: bool,
}

impl Node {
    fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.ports.peering)
    }

    fn is_verified(&self, ip: IpAddr, now: Now) -> bool {
        self.ip == ip && self.pong_ms.is_some_and(|pong| now.ms < pong + SHOWN_FOR_MS)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ping,
    Peers,
    Neighbour,
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Open {
    key: Key,
    to: SocketAddr,
    kind: Kind,
    hash: Vec<u8>,
    /// When it is sent again, or given up.
    due_ms: u64,
    tries: u8,
}

/// See the module.
#[derive(Debug)]
pub struct Autopeering {
    own: Own,
    own_key: Key,
    network_id: u32,
    nodes: BTreeMap<Key, Node>,
    open: Vec<Open>,
    inbound: Neighbours,
    outbound: Neighbours,
    /// Those who are peers by another way.
    blocked: BTreeSet<Key>,
    /// Those who did not want, until then.
    skipped: BTreeMap<Key, u64>,
    /// Told to others, and kept.
    salts: [Salt; 2],
    verify_ms: u64,
    query_ms: u64,
    look_ms: u64,
    budget: Budget,
    outputs: VecDeque<Output>,
}

/// FNV-1a, 32 bits: by which networks are told apart here.
fn fnv(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

impl Autopeering {
    /// Knows nobody.
    pub fn new(own: Own, now: Now, random: &mut dyn FnMut() -> u64) -> Self {
        let own_key = VerificationKey::from(&own.key).into();
        let mut this = Self {
            network_id: fnv(&own.network),
            own_key,
            own,
            nodes: BTreeMap::new(),
            open: Vec::new(),
            inbound: Neighbours::default(),
            outbound: Neighbours::default(),
            blocked: BTreeSet::new(),
            skipped: BTreeMap::new(),
            salts: [Salt { bytes: [0; wire::SALT_BYTES], expires: 0 }; 2],
            verify_ms: now.ms,
            query_ms: now.ms + ANSWER_WITHIN_MS,
            look_ms: now.ms,
            budget: Budget::default(),
            outputs: VecDeque::new(),
        };
        this.new_salts(now, random);
        this
    }

    /// Begins with this node, which is tried for ever.
    pub fn enter(&mut self, EntryNode { key, address }: EntryNode, now: Now) {
        let ports = Ports { peering: address.port(), gossip: None };
        self.found(Told { key, ip: address.ip(), ports }, now);
        if let Some(node) = self.nodes.get_mut(&key) {
            node.is_entry = true;
            // Its address may have changed.
            if node.verified == 0 {
                (node.ip, node.ports) = (address.ip(), ports);
            }
        }
    }

    /// Whether nobody that is known was there of late.
    pub fn is_alone(&self) -> bool {
        self.nodes.values().all(|node| node.verified == 0)
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether a peer is one by autopeering.
    pub fn is_neighbour(&self, key: &Key) -> bool {
        self.inbound.contains(key) || self.outbound.contains(key)
    }

    /// A peer is connected by another way: it is no neighbour, and becomes none.
    pub fn block(&mut self, key: Key, now: Now) {
        self.blocked.insert(key);
        self.give_up(&key, now);
    }

    /// A peer's connection ended.
    pub fn gone(&mut self, key: &Key, now: Now) {
        if self.blocked.remove(key) {
            self.skipped.remove(key);
        }
        self.give_up(key, now);
    }

    /// Time passed: to be called a few times a second.
    pub fn tick(&mut self, now: Now, random: &mut dyn FnMut() -> u64) {
        self.expire(now);
        if now.ms >= self.verify_ms {
            self.verify_ms = now.ms + VERIFY_EVERY_MS;
            // Who was seen longest ago; entry nodes that are not there are tried for ever.
            let next = self.nodes.iter().min_by_key(|(_, node)| node.seen_ms).map(|(key, _)| *key);
            if let Some(key) = next {
                self.nodes.entry(key).and_modify(|node| node.seen_ms = now.ms);
                self.ask(key, Kind::Ping, now);
            }
        }
        if now.ms >= self.query_ms {
            self.query_ms = now.ms + QUERY_EVERY_MS;
            self.query(now, random);
        }
        if now.unix >= self.salts[0].expires {
            self.new_salts(now, random);
        }
        if now.ms >= self.look_ms && !self.open.iter().any(|open| open.kind == Kind::Neighbour) {
            self.look(now);
            // Two that ask each other at the same time would do so for ever.
            self.look_ms += random() % LOOK_EVERY_MS;
        }
    }

    /// A datagram came. At most one Ed25519 check.
    pub fn receive(&mut self, bytes: &[u8], from: SocketAddr, now: Now) {
        if !self.has_time_for(from.ip(), now) {
            return;
        }
        let Some((key, data)) = wire::open(bytes).filter(|(key, _)| *key != self.own_key) else { return };
        let Some(message) = wire::parse(&data, &self.own.network) else { return };
        let verified = self.nodes.get(&key).is_some_and(|node| node.is_verified(from.ip(), now));
        let fresh =
            |timestamp: i64| i64::try_from(now.unix).is_ok_and(|now| now.saturating_sub(timestamp) < FRESH_S);
        match message {
            Message::Ping(ping) if fresh(ping.timestamp) => self.pinged(key, &ping, &data, from, now),
            Message::PeersRequest { timestamp } if fresh(timestamp) && verified => {
                self.tell_peers(&key, &data, now);
            }
            Message::Request { timestamp, salt_expires }
                if fresh(timestamp) && verified && salt_expires > now.unix =>
            {
                let accepted = self.take_in(key, now);
                self.send_to(&key, wire::response(&data, accepted));
            }
            Message::Drop { timestamp } if fresh(timestamp) => {
                if self.nodes.get(&key).is_some_and(|node| node.ip == from.ip()) {
                    self.give_up(&key, now);
                }
            }
            Message::Pong { request, ports } => {
                if self.answered(&key, from, Kind::Ping, &request) && ports.peering == from.port() {
                    self.ponged(key, from.ip(), ports, now);
                }
            }
            Message::Peers { request, peers } => {
                if self.answered(&key, from, Kind::Peers, &request) {
                    let news = peers.into_iter().filter(|told| self.found(told.clone(), now)).count();
                    self.nodes.entry(key).and_modify(|node| node.news = news);
                }
            }
            Message::Response { request, accepted } => {
                if self.answered(&key, from, Kind::Neighbour, &request) {
                    self.responded(key, accepted, now);
                }
            }
            Message::Ping(_)
            | Message::PeersRequest { .. }
            | Message::Request { .. }
            | Message::Drop { .. } => {}
        }
    }

    /// Whether a datagram from there may be looked at. O(nodes known), which is little beside a signature check.
    fn has_time_for(&mut self, from: IpAddr, now: Now) -> bool {
        let is_known =
            self.nodes.values().any(|node| node.ip == from && (node.verified > 0 || node.is_entry));
        let was_asked = || self.open.iter().any(|open| open.to.ip() == from);
        let known = is_known || was_asked();
        self.budget.take(from, known, now.ms / 1_000)
    }

    fn pinged(&mut self, key: Key, ping: &Ping, data: &[u8], from: SocketAddr, now: Now) {
        let unspecified = ping.source.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
        let port = u16::try_from(ping.source_port).ok().filter(|port| *port > 0);
        let Some(port) =
            port.filter(|_| ping.version == VERSION && ping.network_id == self.network_id && unspecified)
        else {
            return;
        };
        let to = SocketAddr::new(from.ip(), port);
        let ports = Ports { peering: self.own.port, gossip: Some(self.own.gossip) };
        self.send(to, wire::pong(data, ports, &self.own.network, from.ip()));
        self.found(Told { key, ip: from.ip(), ports: Ports { peering: port, gossip: None } }, now);
        let Some(node) = self.nodes.get_mut(&key) else { return };
        node.ping_ms = Some(now.ms);
        if node.is_verified(from.ip(), now) {
            return;
        }
        // What it says of itself is found out by asking there. Somebody may have sent its ping again from elsewhere: where it
        // has proven to be, it stays until it answers from the other place.
        if !node.is_verified(node.ip, now) {
            (node.ip, node.ports.peering, node.pong_ms) = (from.ip(), port, None);
        }
        if !self.open.iter().any(|open| open.key == key && open.kind == Kind::Ping && open.to == to) {
            self.request(key, Kind::Ping, to, now);
        }
    }

    fn ponged(&mut self, key: Key, ip: IpAddr, ports: Ports, now: Now) {
        if let Some(node) = self.nodes.get_mut(&key) {
            (node.ip, node.ports, node.seen_ms, node.pong_ms) = (ip, ports, now.ms, Some(now.ms));
            node.verified = node.verified.saturating_add(1);
        }
    }

    /// Somebody tells of a node: whether it was not known.
    fn found(&mut self, told: Told, now: Now) -> bool {
        let usable = !told.ip.is_multicast() && !told.ip.is_unspecified();
        if told.key == self.own_key || self.nodes.contains_key(&told.key) || !usable {
            return false;
        }
        if self.nodes.len() >= MOST_NODES {
            // One that never proved to be there makes room.
            let idle = self.nodes.iter().find(|(_, node)| node.verified == 0 && !node.is_entry);
            let Some(idle) = idle.map(|(key, _)| *key) else { return false };
            self.nodes.remove(&idle);
        }
        // New ones are looked at first.
        let node = Node {
            ip: told.ip,
            ports: told.ports,
            verified: 0,
            seen_ms: 0,
            pong_ms: None,
            ping_ms: None,
            news: 0,
            is_entry: false,
        };
        self.nodes.insert(told.key, node);
        self.verify_ms = self.verify_ms.min(now.ms + ANSWER_WITHIN_MS);
        true
    }

    fn tell_peers(&mut self, to: &Key, request: &[u8], now: Now) {
        // Rotated by time, so that not always the same are told.
        let known = self.nodes.iter().filter(|(key, node)| node.verified > 0 && *key != to);
        let mut told =
            known.map(|(key, node)| Told { key: *key, ip: node.ip, ports: node.ports }).collect::<Vec<_>>();
        let by = usize::try_from(now.ms / 1_000).unwrap_or(0) % told.len().max(1);
        told.rotate_left(by);
        self.send_to(to, wire::peers(request, &told, &self.own.network));
    }

    /// hive.go: > the peer seen last, and one of the three that told of most new peers
    fn query(&mut self, now: Now, random: &mut dyn FnMut() -> u64) {
        let mut verified = self.nodes.iter().filter(|(_, node)| node.verified > 0).collect::<Vec<_>>();
        verified.sort_by_key(|(_, node)| std::cmp::Reverse(node.seen_ms));
        let latest = verified.first().map(|(key, _)| **key);
        let mut others = verified.into_iter().skip(1).collect::<Vec<_>>();
        others.sort_by_key(|(_, node)| std::cmp::Reverse(node.news));
        others.truncate(3);
        let at = usize::try_from(random() % others.len().max(1) as u64).unwrap_or(0);
        let other = others.get(at).map(|(key, _)| **key);
        if latest.is_none() {
            self.query_ms = now.ms + LOOK_EVERY_MS;
        }
        for key in latest.into_iter().chain(other) {
            self.ask(key, Kind::Peers, now);
        }
    }

    /// Looks for the nearest node that may be a neighbour.
    fn look(&mut self, now: Now) {
        let full = self.outbound.len() >= OUTBOUND;
        self.look_ms = now.ms + if full { LOOK_WHEN_FULL_MS } else { LOOK_EVERY_MS };
        self.skipped.retain(|_, until| *until > now.ms);
        let fits = |key: &Key, node: &Node| node.verified > 0 && self.may_be_neighbour(key, node);
        let all = self.nodes.iter().filter(|(key, node)| fits(key, node)).map(|(key, _)| *key);
        let all = all.filter(|key| !self.skipped.contains_key(key)).collect::<Vec<_>>();
        // hive.go: > when fewer than two are left, the others get another chance
        if all.len() < 2 {
            self.skipped.clear();
        }
        let salt = self.salts[0];
        let Some(nearest) = all.into_iter().min_by_key(|key| distance(&self.own_key, key, &salt)) else {
            return;
        };
        if self.outbound.place_for(&self.own_key, &nearest, &salt, OUTBOUND).is_some() {
            self.ask(nearest, Kind::Neighbour, now);
        }
    }

    /// HORNET: > neighbours offer gossip of this network
    fn may_be_neighbour(&self, key: &Key, node: &Node) -> bool {
        node.ports.gossip.is_some() && !self.blocked.contains(key) && !self.is_neighbour(key)
    }

    /// It asks to be a neighbour.
    fn take_in(&mut self, key: Key, now: Now) -> bool {
        // It asked before, and may have been restarted since.
        if self.inbound.contains(&key) {
            self.outputs.push_back(Output::Allow { key });
            return true;
        }
        let fits = self.nodes.get(&key).is_some_and(|node| self.may_be_neighbour(&key, node));
        let place = self.inbound.place_for(&self.own_key, &key, &self.salts[1], INBOUND).filter(|_| fits);
        let Some(furthest) = place else { return false };
        if let Some(furthest) = furthest {
            self.give_up(&furthest, now);
        }
        self.inbound.add(key);
        self.outputs.push_back(Output::Allow { key });
        true
    }

    /// It answered our wish that it be a neighbour.
    fn responded(&mut self, key: Key, accepted: bool, now: Now) {
        if !accepted {
            self.skipped.insert(key, now.ms + SKIP_FOR_MS);
            return;
        }
        // hive.go: > asked for each other at once: both let go, and try again
        if self.inbound.contains(&key) {
            self.give_up(&key, now);
            return;
        }
        let Some(Node { ip, ports: Ports { gossip: Some(port), .. }, .. }) = self.nodes.get(&key).copied()
        else {
            return;
        };
        match self.outbound.place_for(&self.own_key, &key, &self.salts[0], OUTBOUND) {
            Some(Some(furthest)) => self.give_up(&furthest, now),
            Some(None) => {}
            None => return self.send_to(&key, wire::drop(unix(now))),
        }
        self.outbound.add(key);
        self.outputs.push_back(Output::Connect { key, address: SocketAddr::new(ip, port) });
    }

    fn give_up(&mut self, key: &Key, now: Now) {
        let (inbound, outbound) = (self.inbound.remove(key), self.outbound.remove(key));
        if outbound {
            self.skipped.insert(*key, now.ms + SKIP_FOR_MS);
            self.look_ms = now.ms;
        }
        if inbound || outbound {
            self.send_to(key, wire::drop(unix(now)));
            self.outputs.push_back(Output::Drop { key: *key });
        }
    }

    fn new_salts(&mut self, now: Now, random: &mut dyn FnMut() -> u64) {
        for salt in &mut self.salts {
            for chunk in salt.bytes.chunks_mut(8) {
                chunk.copy_from_slice(&random().to_le_bytes()[..chunk.len()]);
            }
            salt.expires = now.unix.saturating_add(SALT_FOR_S);
        }
        self.skipped.clear();
    }

    /// Sends a request. Who has not asked us yet is pinged first: it takes none of somebody that it does not know.
    fn ask(&mut self, key: Key, kind: Kind, now: Now) {
        let Some(node) = self.nodes.get(&key).copied() else { return };
        let known_there = node.ping_ms.is_some_and(|ping| now.ms < ping + SHOWN_FOR_MS);
        let to = node.address();
        if kind != Kind::Ping && !known_there {
            self.open.push(Open {
                key,
                to,
                kind,
                hash: Vec::new(),
                due_ms: now.ms + ANSWER_WITHIN_MS,
                tries: 0,
            });
            return self.ask(key, Kind::Ping, now);
        }
        self.request(key, kind, to, now);
    }

    fn request(&mut self, key: Key, kind: Kind, to: SocketAddr, now: Now) {
        let hash = self.send_request(kind, to, now);
        self.open.push(Open { key, to, kind, hash, due_ms: now.ms + ANSWER_WITHIN_MS, tries: 1 });
    }

    fn send_request(&mut self, kind: Kind, to: SocketAddr, now: Now) -> Vec<u8> {
        let data = match kind {
            Kind::Ping => wire::ping(&Ping {
                version: VERSION,
                network_id: self.network_id,
                timestamp: unix(now),
                // hive.go: > the address that it comes from counts
                source: Ipv4Addr::UNSPECIFIED.to_string(),
                source_port: self.own.port.into(),
                destination: to.ip().to_string(),
            }),
            Kind::Peers => wire::peers_request(unix(now)),
            Kind::Neighbour => wire::request(unix(now), self.salts[0].bytes, self.salts[0].expires),
        };
        let hash = wire::hash(&data);
        self.send(to, data);
        hash
    }

    /// Whether this answers an open request, which is closed then.
    fn answered(&mut self, key: &Key, from: SocketAddr, kind: Kind, request: &[u8]) -> bool {
        let fits = |open: &Open| {
            open.key == *key && open.kind == kind && open.to.ip() == from.ip() && open.hash == request
        };
        let at = self.open.iter().position(fits);
        at.is_some_and(|at| {
            self.open.swap_remove(at);
            true
        })
    }

    fn expire(&mut self, now: Now) {
        let (due, open) = std::mem::take(&mut self.open).into_iter().partition(|open| open.due_ms <= now.ms);
        self.open = open;
        let due: Vec<Open> = due;
        for mut open in due {
            if open.tries < TRIES {
                open.hash = self.send_request(open.kind, open.to, now);
                open.tries += 1;
                open.due_ms = now.ms + ANSWER_WITHIN_MS * (u64::from(open.tries) + 1);
                self.open.push(open);
                continue;
            }
            match open.kind {
                Kind::Ping | Kind::Peers => {
                    if self.nodes.get(&open.key).is_some_and(|node| node.address() == open.to) {
                        self.lost(&open.key);
                    }
                }
                Kind::Neighbour => drop(self.skipped.insert(open.key, now.ms + SKIP_FOR_MS)),
            }
        }
    }

    /// It is not there: forgotten, unless the configuration names it.
    fn lost(&mut self, key: &Key) {
        let neighbour = self.is_neighbour(key);
        match self.nodes.get_mut(key) {
            Some(node) if node.is_entry => (node.verified, node.pong_ms) = (0, None),
            Some(_) if !neighbour => drop(self.nodes.remove(key)),
            Some(_) | None => {}
        }
    }

    fn send_to(&mut self, key: &Key, data: Vec<u8>) {
        if let Some(to) = self.nodes.get(key).map(Node::address) {
            self.send(to, data);
        }
    }

    fn send(&mut self, to: SocketAddr, data: Vec<u8>) {
        let bytes = wire::seal(data, &self.own.key);
        if bytes.len() <= wire::MAX_BYTES {
            self.outputs.push_back(Output::Send { to, bytes });
        }
    }
}

fn unix(now: Now) -> i64 {
    i64::try_from(now.unix).unwrap_or(i64::MAX)
}
