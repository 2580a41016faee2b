//! Nodes of one network that find each other on the local network, by multicast DNS over IPv4 (RFC 6762): each says its
//! identity, its port and its network from time to time, and when it is asked. Where a node is, the sender's address tells.
//! Nobody is believed more than that: whoever is dialled has to prove its identity.

mod around;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use rustix::net::sockopt;
use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::Instant;

pub use around::Around;
pub use wire::{Card, NetworkMark};

/// RFC 6762 §3: > UDP port 5353, 224.0.0.251
pub const PORT: u16 = 5353;
/// The group of [`PORT`].
pub const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), PORT);

/// Numbers of interfaces that are tried: a machine that makes virtual ones counts on.
const INTERFACES: std::ops::RangeInclusive<u32> = 1..=256;

/// The loopback interface has this number everywhere.
const LOOPBACK: u32 = 1;

/// Between two calls: the first pause, doubled with each call, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// RFC 6762 §6: > a record is not multicast again within one second
const GAP: Duration = Duration::from_secs(1);

/// Messages of one address, and addresses, that are looked at in a second; more is no discovery.
const MOST_MESSAGES: u32 = 10;
const MOST_SENDERS: usize = 32;

/// RFC 6762 §17: > no larger than 9000 bytes
const MOST_BYTES: usize = 9_000;

/// A node that said who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// What it said.
    pub card: Card,
    /// Where gossip reaches it.
    pub address: SocketAddr,
}

/// See the module.
#[derive(Debug)]
pub struct Lan {
    socket: UdpSocket,
    /// Whether it is said.
    told: bool,
    card: Card,
    interfaces: BTreeSet<u32>,
    next_call: Instant,
    pause: Duration,
    /// What is being received.
    buffer: Vec<u8>,
    /// Messages looked at, since when.
    looked_at: (Instant, BTreeMap<IpAddr, u32>),
    /// Somebody asked.
    answer: Option<Instant>,
    said: Option<Instant>,
}

impl Lan {
    /// Listens beside other programs that do so. With `told`, the node says who it is, too.
    ///
    /// # Errors
    /// The system's.
    pub fn open(card: Card, told: bool) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        // RFC 6762 §11: > sent with an IP TTL of 255
        socket.set_multicast_ttl_v4(255)?;
        socket.set_multicast_loop_v4(true)?;
        socket.set_nonblocking(true)?;
        // Routers do not forward what is sent there, so whoever is heard is near.
        socket.bind(&SocketAddr::from(GROUP).into())?;
        Ok(Self {
            socket: UdpSocket::from_std(socket.into())?,
            told,
            card,
            interfaces: BTreeSet::new(),
            next_call: Instant::now(),
            pause: PAUSES.0,
            buffer: vec![0; MOST_BYTES],
            looked_at: (Instant::now(), BTreeMap::new()),
            answer: None,
            said: None,
        })
    }

    /// Asks again soon, as at the start.
    pub fn hurry(&mut self) {
        self.pause = PAUSES.0;
        self.next_call = self.next_call.min(Instant::now() + PAUSES.0);
    }

    /// Whether an interface beside the loopback one has an address.
    pub fn is_connected(&self) -> bool {
        self.interfaces.iter().any(|index| *index != LOOPBACK && own_address(*index).is_some())
    }

    /// The next nodes that say who they are; says and asks meanwhile what is due.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> Vec<Neighbour> {
        loop {
            let due = self.answer.map_or(self.next_call, |answer| answer.min(self.next_call));
            tokio::select! {
                received = self.socket.recv_from(&mut self.buffer) => {
                    // A failure is one of an earlier message: another one may come.
                    let Ok((length, from)) = received else { continue };
                    if !self.has_time_for(from.ip()) {
                        continue;
                    }
                    let bytes = self.buffer[..length].to_vec();
                    let neighbours = self.hear(&bytes, from);
                    if !neighbours.is_empty() {
                        return neighbours;
                    }
                }
                () = tokio::time::sleep_until(due) => self.say(),
            }
        }
    }

    /// Whether one more message may be looked at.
    fn has_time_for(&mut self, from: IpAddr) -> bool {
        if self.looked_at.0.elapsed() >= GAP {
            self.looked_at = (Instant::now(), BTreeMap::new());
        }
        let counts = &mut self.looked_at.1;
        if counts.len() >= MOST_SENDERS && !counts.contains_key(&from) {
            return false;
        }
        let count = counts.entry(from).or_default();
        *count += 1;
        *count <= MOST_MESSAGES
    }

    fn hear(&mut self, bytes: &[u8], from: SocketAddr) -> Vec<Neighbour> {
        let heard = wire::hear(bytes, &self.card);
        if heard.asked && self.told {
            let soonest = self.said.map_or_else(Instant::now, |said| said + GAP);
            self.answer.get_or_insert(soonest.max(Instant::now()));
        }
        let neighbour = |card: Card| Neighbour { address: SocketAddr::new(from.ip(), card.port), card };
        heard.cards.into_iter().map(neighbour).collect()
    }

    fn say(&mut self) {
        let now = Instant::now();
        let calls = now >= self.next_call;
        if calls {
            self.interfaces = INTERFACES.filter(|index| self.listens_on(*index)).collect();
            self.next_call = now + self.pause;
            self.pause = (self.pause * 2).min(PAUSES.1);
        }
        self.answer = None;
        self.said = Some(now);
        for index in self.interfaces.clone() {
            if let Err(error) = self.say_on(index, calls) {
                tracing::debug!(interface = index, %error, "nothing said on this interface");
            }
        }
    }

    fn listens_on(&self, index: u32) -> bool {
        let joined = sockopt::set_ip_add_membership_with_ifindex(
            &self.socket,
            GROUP.ip(),
            &Ipv4Addr::UNSPECIFIED,
            index,
        );
        matches!(joined, Ok(()) | Err(rustix::io::Errno::ADDRINUSE))
    }

    fn say_on(&self, index: u32, asks: bool) -> io::Result<()> {
        select(&self.socket, index)?;
        if let Some(bytes) = asks.then(wire::question).flatten() {
            self.socket.try_send_to(&bytes, GROUP.into())?;
        }
        if let Some(bytes) = self.told.then(|| wire::announcement(&self.card, own_address(index))).flatten() {
            self.socket.try_send_to(&bytes, GROUP.into())?;
        }
        Ok(())
    }
}

/// What is sent next goes out by this interface, whatever the routes are.
fn select(socket: impl std::os::fd::AsFd, index: u32) -> io::Result<()> {
    let any = &Ipv4Addr::UNSPECIFIED;
    Ok(sockopt::set_ip_multicast_if_with_ifindex(socket, any, any, index)?)
}

/// The address that this node has there.
fn own_address(index: u32) -> Option<Ipv4Addr> {
    let probe = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    select(&probe, index).ok()?;
    // Nothing is sent by that.
    probe.connect(GROUP).ok()?;
    match probe.local_addr().ok()?.ip() {
        IpAddr::V4(ip) if !ip.is_unspecified() => Some(ip),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}
