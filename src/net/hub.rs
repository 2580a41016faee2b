//! The gossip machine with the links that its outputs go to. Everybody calls it, nobody waits for it: the lock is held for
//! microseconds, never across an await.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use libp2p::PeerId;
use libp2p::core::Multiaddr;
use libp2p::swarm::ConnectionId;
use tokio::sync::Notify;

use super::outbox::Outbox;
use super::tcp;
use crate::gossip::peer::Relation;
use crate::gossip::{Gossip, Output, PeerState, Progress, SLOTS, Slot};
use crate::protocol::id::BlockId;

/// One peer's stream.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: PeerId,
    /// Where it is.
    pub(super) address: Option<Multiaddr>,
    /// Which of the peer's connections it belongs to.
    pub(super) connection: ConnectionId,
    /// This node opened the stream.
    pub(super) opened: bool,
    pub(super) since: Instant,
    pub(super) outbox: Outbox,
    /// The peer broke a rule.
    pub(super) offence: AtomicBool,
    /// Ends the stream and its connection.
    pub(super) end: Notify,
}

impl Link {
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.address.as_ref().and_then(tcp::socket_address).map(|at| at.ip())
    }
}

/// Offences that nobody looked at yet; somebody looks several times a second.
const MOST_OFFENCES: usize = 256;

#[derive(Debug)]
struct Inner {
    gossip: Gossip,
    links: Vec<Option<Arc<Link>>>,
    /// Peers that broke a rule, and where they were.
    offences: Vec<(PeerId, Option<IpAddr>)>,
}

impl Inner {
    /// One offence of each link counts.
    fn offended(&mut self, link: &Link) {
        if !link.offence.swap(true, Ordering::Relaxed) && self.offences.len() < MOST_OFFENCES {
            self.offences.push((link.peer, link.ip()));
        }
    }

    /// Does what the machine asks for.
    fn perform(&mut self) {
        while let Some(output) = self.gossip.poll() {
            match output {
                Output::Send { to, frame } => {
                    for slot in to.iter() {
                        let sent = self.links[slot.place()]
                            .as_ref()
                            .is_none_or(|link| link.outbox.push(frame.clone()));
                        if !sent {
                            self.gossip.overrun(slot);
                        }
                    }
                }
                Output::Drop { slot, reason } => {
                    if let Some(link) = self.links[slot.place()].take() {
                        if reason.is_offence() {
                            self.offended(&link);
                        }
                        close(&link, &reason);
                    }
                }
            }
        }
    }

    fn is_linked(&self, slot: Slot, link: &Arc<Link>) -> bool {
        self.links[slot.place()].as_ref().is_some_and(|other| Arc::ptr_eq(other, link))
    }
}

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub {
    inner: Arc<Mutex<Inner>>,
    started: Instant,
}

impl Hub {
    /// Nobody is connected.
    pub fn new(progress: Progress, entry_points: impl IntoIterator<Item = BlockId>) -> Self {
        let gossip = Gossip::new(progress, entry_points);
        let inner = Inner { gossip, links: vec![None; SLOTS], offences: Vec::new() };
        Self { inner: Arc::new(Mutex::new(inner)), started: Instant::now() }
    }

    /// Calls the machine, with the time in milliseconds, and does what it asks for.
    pub fn with<T>(&self, call: impl FnOnce(&mut Gossip, u64) -> T) -> T {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let result = call(&mut inner.gossip, self.now_ms());
        inner.perform();
        result
    }

    /// As [`Hub::with`], for a stream that may be at its end already: `None` when its place is another one's by now.
    pub(super) fn of<T>(
        &self,
        slot: Slot,
        link: &Arc<Link>,
        call: impl FnOnce(&mut Gossip, u64) -> T,
    ) -> Option<T> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if !inner.is_linked(slot, link) {
            return None;
        }
        let result = call(&mut inner.gossip, self.now_ms());
        inner.perform();
        Some(result)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Links a stream, unless the peer has one already or there is no place.
    pub(super) fn connect(
        &self,
        peer: PeerId,
        address: Option<Multiaddr>,
        relation: Relation,
        connection: ConnectionId,
        opened: bool,
    ) -> Option<(Slot, Arc<Link>)> {
        let (since, outbox, end) = (Instant::now(), Outbox::default(), Notify::new());
        let offence = AtomicBool::new(false);
        let link = Arc::new(Link { peer, address, connection, opened, since, outbox, offence, end });
        let slot = {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            let slot = inner.gossip.connected(relation, self.now_ms())?;
            inner.links[slot.place()] = Some(link.clone());
            inner.perform();
            slot
        };
        tracing::info!(%peer, "peer connected");
        Some((slot, link))
    }

    /// A stream ended by itself.
    pub(super) fn disconnect(&self, slot: Slot, link: &Arc<Link>, reason: &dyn std::fmt::Display) {
        let mine = {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            // It may belong to another one by now.
            let mine = inner.is_linked(slot, link);
            if mine {
                inner.links[slot.place()] = None;
                inner.gossip.gone(slot, self.now_ms());
                inner.perform();
            }
            mine
        };
        if mine {
            close(link, reason);
        }
    }

    /// A peer broke a rule, though its stream may be at its end already.
    pub(super) fn offended(&self, link: &Link) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).offended(link);
    }

    /// Who broke a rule since this was last asked, and where.
    pub(super) fn take_offences(&self) -> Vec<(PeerId, Option<IpAddr>)> {
        std::mem::take(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner).offences)
    }

    /// Ends a peer's stream.
    pub(super) fn end(&self, peer: &PeerId, reason: &dyn std::fmt::Display) {
        if let Some((slot, link)) = self.find(peer) {
            self.disconnect(slot, &link, reason);
        }
    }

    /// The stream of a peer.
    pub(super) fn find(&self, peer: &PeerId) -> Option<(Slot, Arc<Link>)> {
        self.links().find(|(_, link)| link.peer == *peer)
    }

    pub(super) fn links(&self) -> impl Iterator<Item = (Slot, Arc<Link>)> + use<> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let links = inner.links.clone();
        Slot::all().zip(links).filter_map(|(slot, link)| Some((slot, link?)))
    }

    /// What is known of a peer.
    pub(super) fn state(&self, slot: Slot) -> Option<PeerState> {
        self.with(|gossip, _| gossip.peer(slot))
    }
}

fn close(link: &Link, reason: &dyn std::fmt::Display) {
    tracing::info!(peer = %link.peer, %reason, "peer disconnected");
    link.outbox.close();
    link.end.notify_one();
}
