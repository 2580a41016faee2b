//! Autopeering's socket and clock: a task of its own, which tells the owner of the connections whom to connect to.

use std::io;
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ed25519_zebra::SigningKey;
use libp2p::PeerId;
use libp2p::identity::{Keypair, PublicKey, ed25519};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::autopeering::wire::{Key, MAX_BYTES};
use crate::autopeering::{Autopeering, EntryNode, Now, Output, Own};
use crate::config::{self, EntryAddress};
use crate::keeper::web::Names;

const TICK: Duration = Duration::from_millis(250);

/// Between two tries to look up the names of entry nodes.
const LOOK_UP_EVERY: Duration = Duration::from_secs(60);

/// Messages between the two tasks that may wait.
const QUEUE: usize = 256;

/// Bound before the node gives up its rights.
#[derive(Debug)]
pub struct Socket(StdSocket);

impl Socket {
    /// # Errors
    /// An address that is taken.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = StdSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }
}

/// What it is told.
#[derive(Debug)]
pub(super) enum Told {
    /// This peer is connected, but not by autopeering.
    Block(Key),
    /// This peer's connection ended.
    Gone(Key),
}

/// The way to the task.
#[derive(Debug)]
pub(super) struct Auto {
    told: mpsc::Sender<Told>,
    wishes: mpsc::Receiver<Output>,
}

impl Auto {
    /// Starts the task; it ends with this.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn start(
        Socket(socket): Socket,
        key: &Keypair,
        network: String,
        gossip: u16,
        entry_nodes: Vec<EntryAddress>,
        names: Names,
    ) -> anyhow::Result<Self> {
        let secret = key.clone().try_into_ed25519()?.secret();
        let seed: [u8; 32] = secret.as_ref().try_into()?;
        let port = socket.local_addr()?.port();
        let own = Own { key: SigningKey::from(seed), network, port, gossip };
        let address = config::entry_key(&key.public().try_into_ed25519()?.to_bytes());
        tracing::info!(
            port,
            entry_node = format!("/autopeering/{address}"),
            "autopeering tells this node's address to others"
        );
        let (told, orders) = mpsc::channel(QUEUE);
        let (sender, wishes) = mpsc::channel(QUEUE);
        tokio::spawn(run(UdpSocket::from_std(socket)?, own, entry_nodes, names, orders, sender));
        Ok(Self { told, wishes })
    }

    /// Tells it; what finds no room is made up for by the next of its kind.
    pub(super) fn tell(&self, told: Told) {
        if self.told.try_send(told).is_err() {
            tracing::debug!("autopeering is behind");
        }
    }

    /// What the connections' owner is to do; `None` when the task has ended.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn next(&mut self) -> Option<Output> {
        self.wishes.recv().await
    }
}

/// As gossip calls it.
pub(super) fn peer_id(key: &Key) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(key).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// The inverse; `None` for a peer with another kind of key.
pub(super) fn key_of(peer: &PeerId) -> Option<Key> {
    // An identity multihash of 36 bytes, which are a protocol buffer: type Ed25519, 32 bytes of key.
    peer.to_bytes().strip_prefix(&[0, 36, 8, 1, 18, 32])?.try_into().ok()
}

fn now(started: Instant) -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Now { ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX), unix }
}

async fn look_up(entry_nodes: Vec<EntryAddress>, names: Names) -> Vec<EntryNode> {
    let mut found = Vec::new();
    for node in &entry_nodes {
        match names.addresses(&node.host, node.port).await {
            Ok(addresses) => {
                let address = addresses.into_iter().find(|ip| ip.is_ipv4() || node.kind == "ip6");
                found.extend(address.map(|ip| EntryNode { key: node.key, address: (ip, node.port).into() }));
            }
            Err(error) => tracing::warn!(host = node.host, error, "autopeering.entry_nodes: not found"),
        }
    }
    found
}

async fn run(
    socket: UdpSocket,
    own: Own,
    entry_nodes: Vec<EntryAddress>,
    names: Names,
    mut orders: mpsc::Receiver<Told>,
    wishes: mpsc::Sender<Output>,
) {
    let started = Instant::now();
    let mut machine = Autopeering::new(own, now(started), &mut rand::random);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut look_up_at, mut look_ups) = (started, JoinSet::<Vec<EntryNode>>::new());
    let mut bytes = vec![0; MAX_BYTES + 1];
    loop {
        tokio::select! {
            received = socket.recv_from(&mut bytes) => {
                // A failure is one of an earlier datagram: another one may come.
                if let Ok((length, from)) = received {
                    machine.receive(&bytes[..length], from, now(started));
                }
            }
            Some(Ok(found)) = look_ups.join_next() => {
                found.into_iter().for_each(|node| machine.enter(node, now(started)));
            }
            order = orders.recv() => match order {
                Some(Told::Block(key)) => machine.block(key, now(started)),
                Some(Told::Gone(key)) => machine.gone(&key, now(started)),
                None => return,
            },
            _ = tick.tick() => {
                // A resolver that does not answer holds up nobody else.
                if Instant::now() >= look_up_at && look_ups.is_empty() && machine.is_alone() {
                    look_up_at = Instant::now() + LOOK_UP_EVERY;
                    look_ups.spawn(look_up(entry_nodes.clone(), names.clone()));
                }
                machine.tick(now(started), &mut rand::random);
            }
        }
        while let Some(output) = machine.poll() {
            match output {
                Output::Send { to, bytes } => {
                    // A datagram may be lost anyway.
                    if let Err(error) = socket.try_send_to(&bytes, to) {
                        tracing::debug!(%to, %error, "datagram not sent");
                    }
                }
                wish @ (Output::Connect { .. } | Output::Allow { .. } | Output::Drop { .. }) => {
                    if wishes.send(wish).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
