//! What nodes say to each other, and what one node makes of it: heartbeats, requests, who has which block.
//!
//! Sans-IO (layer L1): time is an argument, frames to be sent and peers to be dropped are queued as [`Output`]s. Wire
//! format, time limits and rules are HORNET's; where it can be led astray by a peer, this does otherwise:
//!
//! | what | HORNET | here |
//! | --- | --- | --- |
//! | a peer that claims milestones that it has not | is asked for 150 at once, again each 5 s | for 16, then for half as many after each silence, and ever more seldom |
//! | what is wanted | some requests stay for ever, others 15 s | nothing stays longer than somebody needs it |
//! | a parent that no milestone needs | needs no proof of work when it was asked for | needs it |
//! | milestones that nobody signed | are kept as blocks, without proof of work | so are a few of each peer |
//! | blocks of clients | sent to each peer twice | once, also to those that connect before a milestone references them |
//! | a peer that asks for far too much | is answered as fast as it asks | loses what is too much, then the connection |
//! | heartbeats while syncing | one for each milestone | five a second at most |
//!
//! Memory: at most [`SLOTS`] peers, 2 MiB for blocks that passed by, 6 MiB for requests.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod peer;
mod request;
mod seen;
pub mod wire;

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use crate::protocol::block;
use crate::protocol::id::{BlockId, MilestoneIndex};
use peer::{Counters, Peer, Reason, Relation};
use request::{Requests, Want};
use seen::{Passed, Seen};
use wire::{Heartbeat, Message};

/// Most peers at a time.
pub const SLOTS: usize = PLACES as usize;

/// The same, as places are numbered.
const PLACES: u8 = 32;

/// HORNET `warpsync.advancementRange`: milestones that are asked for ahead of the confirmed one.
const WINDOW: u32 = 150;

/// HORNET: > a heartbeat within 5 s of the stream's start
const FIRST_HEARTBEAT_WITHIN_MS: u64 = 5_000;

/// HORNET: > the last heartbeat may be 100 s old
const HEARTBEAT_WITHIN_MS: u64 = 100_000;

/// HORNET: > a heartbeat is sent when none was for 30 s
const HEARTBEAT_EVERY_MS: u64 = 30_000;

/// Changes are told no more often.
const HEARTBEAT_GAP_MS: u64 = 200;

/// A block that came is with the engine by then, or is lost.
const CHECK_WITHIN_MS: u64 = 10_000;

/// Place of a connected peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u8);

impl Slot {
    /// Every place.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..PLACES).map(Self)
    }

    /// From 0.
    pub fn place(self) -> usize {
        usize::from(self.0)
    }
}

/// A set of places.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Slots(u32);

impl Slots {
    /// Just this.
    pub fn of(slot: Slot) -> Self {
        Self(1 << slot.0)
    }

    /// Whether it is in.
    pub fn contains(self, slot: Slot) -> bool {
        self.0 & (1 << slot.0) != 0
    }

    /// Adds it.
    pub fn insert(&mut self, slot: Slot) {
        self.0 |= 1 << slot.0;
    }

    /// Adds all of them.
    pub fn add(&mut self, others: Self) {
        self.0 |= others.0;
    }

    fn remove(&mut self, slot: Slot) {
        self.0 &= !(1 << slot.0);
    }

    /// All in it, ascending.
    pub fn iter(self) -> impl Iterator<Item = Slot> {
        Slot::all().filter(move |slot| self.contains(*slot))
    }
}

/// Where this node is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Newest confirmed milestone.
    pub confirmed: MilestoneIndex,
    /// Newest milestone known.
    pub latest: MilestoneIndex,
    /// Newest milestone whose data are gone.
    pub pruned: MilestoneIndex,
    /// Whether new blocks are of use here.
    pub almost_synced: bool,
    /// The last milestone whose past cone is asked for: so much may wait for its past cone, and no more.
    pub reach: MilestoneIndex,
}

impl Progress {
    /// A node in step needs whatever the newest blocks are built on.
    fn latest_if_synced(&self) -> MilestoneIndex {
        if self.almost_synced { self.latest } else { MilestoneIndex(0) }
    }
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a frame.
    Send {
        /// To whom.
        to: Slots,
        /// All of it.
        frame: Arc<[u8]>,
    },
    /// End a connection.
    Drop {
        /// Whose.
        slot: Slot,
        /// Why.
        reason: Reason,
    },
}

/// What to do with a block that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Nothing: it is known, or of no use now.
    Ignore,
    /// Look at it: nobody asked for it.
    Check,
    /// Look at it: the milestone that it claims to be was asked for.
    Milestone,
    /// Look at it: some block was built on it.
    Asked,
    /// Look at it: it was asked for, as part of that milestone's past cone.
    Wanted(MilestoneIndex),
}

/// What was found of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// A block of this network; perhaps the one of a milestone.
    Good(Option<MilestoneIndex>),
    /// A milestone that nobody signed. It is a block like any other (HORNET), but one that cost no work.
    Forged,
    /// Of no use, and no offence: it may come again.
    Useless,
    /// It breaks a rule.
    Invalid,
}

/// What is known of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerState {
    /// Its newest heartbeat.
    pub heartbeat: Option<Heartbeat>,
    /// What passed.
    pub counters: Counters,
}

/// See the module.
#[derive(Debug)]
pub struct Gossip {
    peers: Vec<Option<Peer>>,
    seen: Seen,
    requests: Requests,
    progress: Progress,
    /// Milestones above the confirmed one that are here.
    ahead: BTreeSet<MilestoneIndex>,
    outputs: VecDeque<Output>,
    /// A change that is not told yet.
    untold: bool,
    /// Blocks that count as known (TIP-35): nobody is asked for them.
    entry_points: HashSet<BlockId>,
}

impl Gossip {
    /// Nobody is connected. The Tangle begins at these solid entry points.
    pub fn new(progress: Progress, entry_points: impl IntoIterator<Item = BlockId>) -> Self {
        Self {
            peers: vec![None; SLOTS],
            seen: Seen::default(),
            requests: Requests::default(),
            progress,
            ahead: BTreeSet::new(),
            outputs: VecDeque::new(),
            untold: false,
            entry_points: entry_points.into_iter().collect(),
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// A stream is open. `None` when there is no place for another peer.
    pub fn connected(&mut self, relation: Relation, now_ms: u64) -> Option<Slot> {
        let slot = Slot::all().find(|slot| self.peers[slot.place()].is_none())?;
        self.peers[slot.place()] = Some(Peer::new(relation, now_ms));
        // HORNET: > a stream begins with a heartbeat and the request for the newest milestone
        self.tell(slot, now_ms);
        let request = Message::MilestoneRequest(MilestoneIndex(0)).pack();
        self.outputs.push_back(Output::Send { to: Slots::of(slot), frame: request.into() });
        if let Some(peer) = &mut self.peers[slot.place()] {
            peer.counters.sent_milestone_requests = peer.counters.sent_milestone_requests.saturating_add(1);
        }
        self.untold = true;
        Some(slot)
    }

    /// A stream is closed.
    pub fn gone(&mut self, slot: Slot, now_ms: u64) {
        if self.peers[slot.place()].take().is_some() {
            self.requests.gone(slot);
            self.seen.forget_holder(slot);
            self.untold = true;
            self.ask(now_ms);
        }
    }

    /// Its owner named a peer, or took its name back.
    pub fn set_relation(&mut self, slot: Slot, relation: Relation) {
        if let Some(peer) = &mut self.peers[slot.place()] {
            peer.relation = relation;
        }
    }

    /// A heartbeat came.
    pub fn heartbeat(&mut self, slot: Slot, heartbeat: Heartbeat, now_ms: u64) {
        let Some(peer) = &mut self.peers[slot.place()] else { return };
        peer.counters.received_heartbeats = peer.counters.received_heartbeats.saturating_add(1);
        if !peer.heartbeats.take(now_ms) {
            return peer.dropped();
        }
        peer.heartbeat = Some((heartbeat, now_ms));
        self.plan(now_ms);
    }

    /// A request for a block or a milestone came: whether it is to be answered.
    pub fn may_ask(&mut self, slot: Slot, milestone: bool, now_ms: u64) -> bool {
        let Some(peer) = &mut self.peers[slot.place()] else { return false };
        match milestone {
            true => {
                peer.counters.received_milestone_requests =
                    peer.counters.received_milestone_requests.saturating_add(1)
            }
            false => {
                peer.counters.received_block_requests =
                    peer.counters.received_block_requests.saturating_add(1)
            }
        }
        match peer.may_ask(now_ms) {
            Ok(()) => true,
            Err(beyond) => {
                if beyond.floods {
                    self.drop_peer(slot, Reason::Flood, now_ms);
                }
                false
            }
        }
    }

    /// A block came. Whoever is told to look at it says by [`Gossip::checked`] what was found.
    pub fn block(&mut self, slot: Slot, id: BlockId, bytes: &[u8], now_ms: u64) -> Arrival {
        let Some(peer) = &mut self.peers[slot.place()] else { return Arrival::Ignore };
        peer.counters.received_blocks = peer.counters.received_blocks.saturating_add(1);
        let want = Want::Block(id);
        let milestone = block::peek_milestone(bytes);
        let asked = milestone.is_some_and(|index| self.requests.wanted(&Want::Milestone(index)).is_some());
        let arrival = match self.requests.wanted(&want) {
            Some(Some(index)) => Arrival::Wanted(index),
            Some(None) => Arrival::Asked,
            None if asked => Arrival::Milestone,
            None => Arrival::Check,
        };
        if matches!(arrival, Arrival::Check | Arrival::Milestone) {
            // HORNET: > not requested, not almost synced, no milestone: ignored; it will be asked for when it is needed
            if milestone.is_none() && !self.progress.almost_synced {
                return Arrival::Ignore;
            }
            // No offence until it is too much for any network: it passes on what others made.
            if let Err(beyond) = peer.may_send(now_ms) {
                if beyond.floods {
                    self.drop_peer(slot, Reason::Flood, now_ms);
                }
                return Arrival::Ignore;
            }
        }
        if let Some(passed) = self.seen.get(&id) {
            passed.holders.insert(slot);
            if now_ms < passed.checking_until_ms || arrival == Arrival::Check {
                peer.counters.known_blocks = peer.counters.known_blocks.saturating_add(1);
                return Arrival::Ignore;
            }
        }
        peer.counters.new_blocks = peer.counters.new_blocks.saturating_add(1);
        self.seen
            .insert(id, Passed { holders: Slots::of(slot), checking_until_ms: now_ms + CHECK_WITHIN_MS });
        if matches!(arrival, Arrival::Wanted(_) | Arrival::Asked) {
            self.requests.arrived(&want, Some(slot), &mut self.peers);
            self.ask(now_ms);
        }
        arrival
    }

    /// A block was looked at that `slot` had sent: whether it is to be kept.
    pub fn checked(&mut self, slot: Slot, id: BlockId, finding: Finding, now_ms: u64) -> bool {
        let peer = self.peers[slot.place()].as_mut();
        // Anybody could fill the disk with them for nothing: what milestones need of them is asked for all the same.
        let finding = match finding {
            Finding::Forged if peer.is_some_and(|peer| peer.forged.take(now_ms)) => Finding::Good(None),
            Finding::Forged => Finding::Useless,
            other @ (Finding::Good(_) | Finding::Useless | Finding::Invalid) => other,
        };
        match finding {
            Finding::Good(milestone) => {
                if let Some(index) = milestone {
                    self.requests.arrived(&Want::Milestone(index), Some(slot), &mut self.peers);
                    if index > self.progress.confirmed {
                        self.ahead.insert(index);
                    }
                    self.ask(now_ms);
                }
            }
            Finding::Useless | Finding::Forged => {
                self.seen.remove(&id);
            }
            Finding::Invalid => {
                let holders = self.seen.remove(&id).map(|passed| passed.holders).unwrap_or_default();
                for slot in holders.iter() {
                    self.drop_peer(slot, Reason::InvalidBlock, now_ms);
                }
            }
        }
        matches!(finding, Finding::Good(_))
    }

    /// The engine has this block now, or does not want it.
    pub fn taken(&mut self, id: &BlockId) {
        if let Some(passed) = self.seen.get(id) {
            passed.checking_until_ms = 0;
        }
    }

    /// Those of these parents of a block in a milestone's past cone that did not pass by of late and are not asked for:
    /// whoever finds that they are not here either needs them.
    pub fn strange(&mut self, ids: Vec<BlockId>, cone: MilestoneIndex, now_ms: u64) -> Vec<BlockId> {
        let mut strange = Vec::new();
        for id in ids {
            let want = Want::Block(id);
            if self.requests.wanted(&want).is_some() {
                self.requests.want(want, cone, true, Slots::default(), now_ms);
            } else if !self.entry_points.contains(&id) && self.seen.get(&id).is_none() {
                strange.push(id);
            }
        }
        strange
    }

    /// These blocks are needed: for the past cone of a milestone, or for that of some block. `child` was built on them.
    pub fn need(
        &mut self,
        ids: &[BlockId],
        cone: Option<MilestoneIndex>,
        child: Option<BlockId>,
        now_ms: u64,
    ) {
        let index = cone.unwrap_or(self.progress.latest);
        let holders = child.and_then(|child| self.seen.get(&child)).map(|passed| passed.holders);
        for id in ids {
            // It is on its way to the engine.
            if self.seen.get(id).is_some_and(|passed| now_ms < passed.checking_until_ms) {
                continue;
            }
            let holders = holders.unwrap_or_default();
            self.requests.want(Want::Block(*id), index, cone.is_some(), holders, now_ms);
        }
        self.ask(now_ms);
    }

    /// Sends a block to every peer that is not known to have it.
    pub fn forward(&mut self, id: BlockId, bytes: &[u8]) {
        self.send_block(id, bytes, |_| true);
    }

    /// The same for peers in step: others would not look at it, and ask for it when they need it.
    pub fn offer(&mut self, id: BlockId, bytes: &[u8]) {
        let confirmed = self.progress.confirmed;
        self.send_block(id, bytes, |peer| peer.is_synced(confirmed));
    }

    /// Whether there is a peer in step that is not known to have a block.
    pub fn is_lacked(&mut self, id: &BlockId) -> bool {
        let holders = self.seen.get(id).map(|passed| passed.holders).unwrap_or_default();
        let lacks = |(slot, peer): (Slot, &Option<Peer>)| {
            !holders.contains(slot)
                && peer.as_ref().is_some_and(|peer| peer.is_synced(self.progress.confirmed))
        };
        Slot::all().zip(&self.peers).any(lacks)
    }

    fn send_block(&mut self, id: BlockId, bytes: &[u8], fits: impl Fn(&Peer) -> bool) {
        let holders = self.seen.get(&id).map(|passed| passed.holders).unwrap_or_default();
        let mut to = Slots::default();
        for (slot, peer) in Slot::all().zip(&mut self.peers) {
            if let Some(peer) = peer.as_mut().filter(|peer| !holders.contains(slot) && fits(peer)) {
                peer.counters.sent_blocks = peer.counters.sent_blocks.saturating_add(1);
                to.insert(slot);
            }
        }
        self.seen.insert(id, Passed { holders: Slots(holders.0 | to.0), checking_until_ms: 0 });
        if to != Slots::default() {
            self.outputs.push_back(Output::Send { to, frame: Message::Block(bytes).pack().into() });
        }
    }

    /// A block is sent to a peer that asked for it.
    pub fn answered(&mut self, slot: Slot, id: BlockId) {
        if let Some(peer) = &mut self.peers[slot.place()] {
            peer.counters.sent_blocks = peer.counters.sent_blocks.saturating_add(1);
        }
        if let Some(passed) = self.seen.get(&id) {
            passed.holders.insert(slot);
        }
    }

    /// A frame could not be sent: too many wait.
    pub fn overrun(&mut self, slot: Slot) {
        if let Some(peer) = &mut self.peers[slot.place()] {
            peer.counters.dropped_packets = peer.counters.dropped_packets.saturating_add(1);
        }
    }

    /// Where this node is now.
    pub fn progress(&mut self, progress: Progress, now_ms: u64) {
        if progress == self.progress {
            return;
        }
        let told = |of: &Progress| (of.confirmed, of.latest, of.pruned);
        self.untold |= told(&progress) != told(&self.progress);
        self.progress = progress;
        self.ahead = self.ahead.split_off(&progress.confirmed.next());
        self.plan(now_ms);
        self.tell_changes(now_ms);
    }

    /// Which milestones above the confirmed one are here: whatever was thought before.
    pub fn set_ahead(&mut self, indexes: impl IntoIterator<Item = MilestoneIndex>) {
        self.ahead = indexes.into_iter().collect();
        for index in &self.ahead {
            self.requests.arrived(&Want::Milestone(*index), None, &mut self.peers);
        }
    }

    /// Time passed; to be called each second, or more often.
    pub fn tick(&mut self, now_ms: u64) {
        for slot in Slot::all() {
            let Some(peer) = &self.peers[slot.place()] else { continue };
            if let Some(reason) = overdue(peer, self.progress, now_ms) {
                self.drop_peer(slot, reason, now_ms);
            }
        }
        self.requests.expire(&mut self.peers, self.progress.confirmed, now_ms);
        self.plan(now_ms);
        self.tell_changes(now_ms);
        for slot in Slot::all() {
            let due = |peer: &Peer| now_ms >= peer.told_ms + HEARTBEAT_EVERY_MS;
            if self.peers[slot.place()].as_ref().is_some_and(due) {
                self.tell(slot, now_ms);
            }
        }
    }

    /// What is known of a peer.
    pub fn peer(&self, slot: Slot) -> Option<PeerState> {
        let peer = self.peers[slot.place()].as_ref()?;
        let heartbeat = peer.heartbeat.map(|(heartbeat, _)| heartbeat);
        Some(PeerState { heartbeat, counters: peer.counters })
    }

    /// The newest milestone that a peer says it has, or that this node knows.
    pub fn target(&self) -> MilestoneIndex {
        let said = |peer: &Peer| peer.heartbeat.map(|(heartbeat, _)| heartbeat.solid);
        let most = self.peers.iter().flatten().filter_map(said).max().unwrap_or_default();
        most.max(self.progress.latest)
    }

    /// Things asked for, or to be asked for.
    pub fn wanted(&self) -> usize {
        self.requests.len()
    }

    fn drop_peer(&mut self, slot: Slot, reason: Reason, now_ms: u64) {
        if self.peers[slot.place()].is_some() {
            self.outputs.push_back(Output::Drop { slot, reason });
            self.gone(slot, now_ms);
        }
    }

    /// HORNET's warp sync: the milestones after the confirmed one that some peer has.
    fn plan(&mut self, now_ms: u64) {
        let first = self.progress.confirmed.next();
        let last = self.target().min(MilestoneIndex(self.progress.confirmed.0.saturating_add(WINDOW)));
        for index in (first.0..=last.0).map(MilestoneIndex) {
            if !self.ahead.contains(&index) {
                self.requests.want(Want::Milestone(index), index, true, Slots::default(), now_ms);
            }
        }
        self.ask(now_ms);
    }

    fn ask(&mut self, now_ms: u64) {
        // What is needed next is always asked for.
        let last =
            self.progress.reach.max(self.progress.confirmed.next()).max(self.progress.latest_if_synced());
        for (slot, want) in self.requests.dispatch(&mut self.peers, last, now_ms) {
            let frame = match want {
                Want::Milestone(index) => Message::MilestoneRequest(index).pack(),
                Want::Block(id) => Message::BlockRequest(id).pack(),
            };
            self.outputs.push_back(Output::Send { to: Slots::of(slot), frame: frame.into() });
        }
    }

    fn tell_changes(&mut self, now_ms: u64) {
        if !self.untold {
            return;
        }
        let mut later = false;
        for slot in Slot::all() {
            let Some(peer) = &self.peers[slot.place()] else { continue };
            match now_ms >= peer.told_ms + HEARTBEAT_GAP_MS {
                true => self.tell(slot, now_ms),
                false => later = true,
            }
        }
        self.untold = later;
    }

    fn tell(&mut self, slot: Slot, now_ms: u64) {
        let confirmed = self.progress.confirmed;
        let count = |count: usize| u8::try_from(count).unwrap_or(u8::MAX);
        let peers = || self.peers.iter().flatten();
        let heartbeat = Heartbeat {
            solid: confirmed,
            pruned: self.progress.pruned,
            latest: self.progress.latest,
            connected: count(peers().count()),
            synced: count(peers().filter(|peer| peer.is_synced(confirmed)).count()),
        };
        let frame = Message::Heartbeat(heartbeat).pack().into();
        self.outputs.push_back(Output::Send { to: Slots::of(slot), frame });
        if let Some(peer) = &mut self.peers[slot.place()] {
            peer.told_ms = now_ms;
            peer.counters.sent_heartbeats = peer.counters.sent_heartbeats.saturating_add(1);
        }
    }
}

/// Why a peer has to go, if it has.
fn overdue(peer: &Peer, progress: Progress, now_ms: u64) -> Option<Reason> {
    match peer.heartbeat {
        None => (now_ms >= peer.since_ms + FIRST_HEARTBEAT_WITHIN_MS).then_some(Reason::NoHeartbeat),
        Some((_, at_ms)) if now_ms >= at_ms + HEARTBEAT_WITHIN_MS => Some(Reason::Silent),
        Some((heartbeat, _)) => {
            let behind = peer.relation != Relation::Known && heartbeat.solid < progress.pruned;
            behind.then_some(Reason::Behind)
        }
    }
}

#[cfg(test)]
mod tests;
