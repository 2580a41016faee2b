//! One node of the simulation: the real engine and the real gossip machine on a store in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use osmia::engine::checked::{self, CheckedBlock, Work};
use osmia::engine::effect::Effect;
use osmia::engine::{Engine, Network, Origin, Start, Verdict, arrival};
use osmia::gossip::peer::Relation;
use osmia::gossip::wire::{self, Message};
use osmia::gossip::{Arrival, Gossip, Output, Progress, Slot};
use osmia::ledger::Referenced;
use osmia::ledger::authority::{Authority, KeyRange};
use osmia::ledger::whiteflag::Question;
use osmia::protocol::block::{self, Block, Parents};
use osmia::protocol::id::{BlockId, MilestoneIndex};
use osmia::protocol::milestone::{Essence, Milestone, Signature};
use osmia::protocol::params::{ProtocolParameters, RentStructure};
use osmia::snapshot::genesis;
use osmia::tangle::tips::Choice;

use crate::random::Random;
use crate::reference;
use crate::store::MemStore;
use crate::wallet::{self, Wallet};

pub(crate) const SUPPLY: u64 = 1_000_000_000;

/// Who signs milestones: the first node.
fn key() -> SigningKey {
    SigningKey::from([7; 32])
}

pub(crate) fn network() -> Network {
    let public_key = VerificationKeyBytes::from(&key()).into();
    let range = KeyRange { public_key, start: MilestoneIndex(0), end: MilestoneIndex(0) };
    let params = ProtocolParameters {
        version: 2,
        network_name: "simulated".into(),
        bech32_hrp: "tst".into(),
        min_pow_score: 0,
        below_max_depth: 15,
        rent: RentStructure { v_byte_cost: 1, v_byte_factor_data: 1, v_byte_factor_key: 10 },
        token_supply: SUPPLY,
    };
    Network { params, authority: Authority { keys: vec![range], threshold: 1 } }
}

/// A connection as one side sees it.
#[derive(Debug)]
struct Peer {
    slot: Slot,
    received: Vec<u8>,
}

/// What a node wants of the world.
#[derive(Debug)]
pub(crate) enum Wish {
    Send { to: usize, bytes: Arc<[u8]> },
    Close { peer: usize },
}

/// A milestone that a node has confirmed.
#[derive(Debug)]
pub(crate) struct Confirmed {
    pub(crate) milestone: Milestone,
    pub(crate) referenced: Vec<Referenced>,
    /// See [`reference::digest`].
    pub(crate) ledger: [u8; 32],
}

/// What survives a crash.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    store: MemStore,
    /// Blocks acknowledged to clients since the last commit.
    journal: Vec<Arc<[u8]>>,
    /// The coordinator's: the newest signed milestone.
    signed: Option<(MilestoneIndex, Arc<[u8]>)>,
}

impl Disk {
    pub(crate) fn founded() -> Self {
        Self { store: MemStore::founded(wallet::genesis(SUPPLY)), journal: Vec::new(), signed: None }
    }
}

pub(crate) struct Node {
    engine: Engine,
    gossip: Gossip,
    store: MemStore,
    disk: Disk,
    network: Network,
    confirmed_block: BlockId,
    peers: BTreeMap<usize, Peer>,
    wishes: Vec<Wish>,
    wallet: Wallet,
    /// Confirmed since the world looked.
    pub(crate) confirmed: Vec<Confirmed>,
    /// Power fails when so many milestones more were committed, before anything else is done.
    commits_left: Option<u32>,
}

impl Node {
    pub(crate) fn start(disk: Disk, now_ms: u64) -> Self {
        let network = network();
        let base = genesis::base(network.params.clone());
        let mut start = Start::at(&base);
        let mut confirmed_block = BlockId::ZERO;
        if let Some((id, stamp)) = disk.store.confirmed() {
            (confirmed_block, start.confirmed) = (id, stamp);
        }
        let mut node = Self {
            engine: Engine::new(start),
            gossip: Gossip::new(Progress::default(), [BlockId::ZERO]),
            store: disk.store.clone(),
            disk,
            network,
            confirmed_block,
            peers: BTreeMap::new(),
            wishes: Vec::new(),
            wallet: Wallet::default(),
            confirmed: Vec::new(),
            commits_left: None,
        };
        for bytes in node.store.unreferenced().into_iter().chain(node.disk.journal.clone()) {
            let block = checked::check(&node.network, bytes).expect("it was checked before");
            node.engine.submit(&node.store, block, Origin::Replayed, now_ms).expect("memory can be read");
            node.perform(now_ms);
        }
        node
    }

    /// What is left of it on its disk.
    pub(crate) fn crash(self) -> Disk {
        self.disk
    }

    /// Power is to fail right after a commit.
    pub(crate) fn crash_after(&mut self, commits: u32) {
        self.commits_left = Some(commits);
    }

    /// Power failed.
    pub(crate) fn is_dead(&self) -> bool {
        self.commits_left == Some(0)
    }

    pub(crate) fn bytes(&self, id: &BlockId) -> Option<Arc<[u8]>> {
        self.store.bytes(id)
    }

    pub(crate) fn index(&self) -> MilestoneIndex {
        self.engine.confirmed().index
    }

    pub(crate) fn halted(&self) -> Option<String> {
        self.engine.halted().map(ToString::to_string)
    }

    pub(crate) fn referenced(&self, id: &BlockId) -> Option<MilestoneIndex> {
        self.store.referenced(id)
    }

    /// What the node makes of a block.
    pub(crate) fn outlook(&self, id: &BlockId) -> String {
        match (self.store.referenced(id), self.engine.outlook(id)) {
            (Some(index), _) => format!("referenced by {index}"),
            (None, Some(outlook)) => format!("{outlook:?}"),
            (None, None) => "not in memory".into(),
        }
    }

    /// Where it is, for whoever looks for a fault.
    pub(crate) fn state(&self) -> String {
        let pending = self.engine.pending().map(|index| index.0).collect::<Vec<_>>();
        format!(
            "at {}, latest {}, pending {pending:?}, {} bytes held, {} wanted, target {}, peers {:?}",
            self.index(),
            self.engine.latest().index,
            self.engine.held_bytes(),
            self.gossip.wanted(),
            self.gossip.target(),
            self.peers.keys().collect::<Vec<_>>(),
        )
    }

    /// Bytes of blocks that wait for their past cone, and things that are asked for.
    pub(crate) fn load(&self) -> (usize, usize) {
        (self.engine.held_bytes(), self.gossip.wanted())
    }

    pub(crate) fn wishes(&mut self) -> Vec<Wish> {
        std::mem::take(&mut self.wishes)
    }

    pub(crate) fn connected(&mut self, peer: usize, relation: Relation, now_ms: u64) {
        if let Some(slot) = self.gossip.connected(relation, now_ms) {
            self.peers.insert(peer, Peer { slot, received: Vec::new() });
        } else {
            self.wishes.push(Wish::Close { peer });
        }
        self.send();
    }

    pub(crate) fn gone(&mut self, peer: usize, now_ms: u64) {
        if let Some(Peer { slot, .. }) = self.peers.remove(&peer) {
            self.gossip.gone(slot, now_ms);
            self.send();
        }
    }

    /// Bytes from a peer, as `net` takes them.
    pub(crate) fn receive(&mut self, from: usize, bytes: &[u8], now_ms: u64) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.received.extend(bytes);
        let received = std::mem::take(&mut peer.received);
        let (slot, mut at) = (peer.slot, 0);
        loop {
            match wire::parse(&received[at..]) {
                Ok(Some((message, length))) => {
                    self.take(slot, from, message, now_ms);
                    at += length;
                }
                Ok(None) => break,
                Err(_) => {
                    self.wishes.push(Wish::Close { peer: from });
                    break;
                }
            }
        }
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.received = received[at..].to_vec();
        }
        self.settle(now_ms);
    }

    fn take(&mut self, slot: Slot, from: usize, message: Message<'_>, now_ms: u64) {
        match message {
            Message::Heartbeat(heartbeat) => self.gossip.heartbeat(slot, heartbeat, now_ms),
            Message::MilestoneRequest(index) => {
                if self.gossip.may_ask(slot, true, now_ms)
                    && let Some(bytes) = self.milestone(index)
                {
                    self.answer(slot, from, &bytes);
                }
            }
            Message::BlockRequest(id) => {
                if self.gossip.may_ask(slot, false, now_ms)
                    && let Some(bytes) = self.store.bytes(&id)
                {
                    self.answer(slot, from, &bytes);
                }
            }
            Message::Block([]) => {}
            Message::Block(bytes) => {
                let id = block::id_of(bytes);
                let arrival = self.gossip.block(slot, id, bytes, now_ms);
                if let Arrival::Wanted(index) = arrival {
                    let strange = self.gossip.strange(block::peek_parents(bytes), index, now_ms);
                    let missing = strange.into_iter().filter(|id| self.store.bytes(id).is_none());
                    self.gossip.need(&missing.collect::<Vec<_>>(), Some(index), Some(id), now_ms);
                }
                if arrival != Arrival::Ignore {
                    self.check(slot, id, bytes, arrival, now_ms);
                }
            }
        }
    }

    fn milestone(&self, index: MilestoneIndex) -> Option<Vec<u8>> {
        if (index.0 == 0 || index == self.engine.latest().index)
            && let Some(block) = self.engine.latest_block()
        {
            return Some(block.pack());
        }
        let index = if index.0 == 0 { self.index() } else { index };
        let (_, milestone) = self.store.milestone(index)?;
        Some(Block::of_milestone(milestone.clone()).pack())
    }

    fn answer(&mut self, slot: Slot, to: usize, bytes: &[u8]) {
        self.gossip.answered(slot, block::id_of(bytes));
        self.wishes.push(Wish::Send { to, bytes: Message::Block(bytes).pack().into() });
    }

    fn check(&mut self, slot: Slot, id: BlockId, bytes: &[u8], arrival: Arrival, now_ms: u64) {
        let for_cones = arrival::rules_of_cones(&self.network);
        let rules = if matches!(arrival, Arrival::Wanted(_)) { &for_cones } else { &self.network };
        let result = Block::parse(bytes).map_err(Into::into);
        let result =
            result.and_then(|block| checked::check_parsed(rules, bytes.into(), block, Work::Unknown));
        let finding = arrival::finding(arrival, &result);
        let keep = self.gossip.checked(slot, id, finding, now_ms);
        if let Some(block) = result.ok().filter(|_| keep) {
            let wanted = arrival::wanted(arrival, &block);
            self.submit(block, Origin::Peer { wanted }, now_ms);
            self.gossip.taken(&id);
        }
    }

    fn submit(&mut self, block: CheckedBlock, origin: Origin, now_ms: u64) -> Verdict {
        let verdict = self.engine.submit(&self.store, block, origin, now_ms).expect("memory can be read");
        self.perform(now_ms);
        verdict
    }

    /// A client's block: it is durable when this returns.
    fn submit_local(&mut self, bytes: Arc<[u8]>, now_ms: u64) -> Verdict {
        let block = checked::check(&self.network, bytes.clone()).expect("it was made here");
        let before = self.index();
        let verdict = self.submit(block, Origin::Local, now_ms);
        if self.index() == before && matches!(verdict, Verdict::Accepted { .. }) && !self.is_dead() {
            self.disk.journal.push(bytes);
        }
        verdict
    }

    fn perform(&mut self, now_ms: u64) {
        loop {
            while let Some(effect) = self.engine.poll() {
                if self.is_dead() {
                    return;
                }
                match effect {
                    Effect::Store { id, bytes, forward } => {
                        self.store.put(id, bytes.clone());
                        if forward {
                            self.gossip.forward(id, &bytes);
                        }
                    }
                    Effect::Request { ids, cone, child } => self.gossip.need(&ids, cone, child, now_ms),
                    Effect::Commit(confirmation) => {
                        self.store.commit(&confirmation);
                        self.confirmed_block = confirmation.block_id;
                        self.disk.store = self.store.clone();
                        self.disk.journal.clear();
                        let outputs =
                            self.store.unspent().values().map(|booked| (&booked.id, &booked.output));
                        self.confirmed.push(Confirmed {
                            ledger: reference::digest(outputs),
                            milestone: confirmation.milestone,
                            referenced: confirmation.referenced,
                        });
                        self.commits_left = self.commits_left.map(|left| left - 1);
                    }
                }
            }
            if !self.engine.advance(&self.store).expect("memory can be read") {
                break;
            }
        }
    }

    fn settle(&mut self, now_ms: u64) {
        let progress = Progress {
            confirmed: self.index(),
            latest: self.engine.latest().index,
            pruned: MilestoneIndex(0),
            almost_synced: self.engine.is_almost_synced(),
            reach: MilestoneIndex(self.index().0 + 20),
        };
        self.gossip.progress(progress, now_ms);
        self.send();
    }

    fn send(&mut self) {
        while let Some(output) = self.gossip.poll() {
            match output {
                Output::Send { to, frame } => {
                    for (peer, _) in self.peers.iter().filter(|(_, peer)| to.contains(peer.slot)) {
                        self.wishes.push(Wish::Send { to: *peer, bytes: frame.clone() });
                    }
                }
                Output::Drop { slot, .. } => {
                    let dropped = self.peers.iter().find(|(_, peer)| peer.slot == slot);
                    if let Some(peer) = dropped.map(|(peer, _)| *peer) {
                        self.peers.remove(&peer);
                        self.wishes.push(Wish::Close { peer });
                    }
                }
            }
        }
    }

    /// Four times a second.
    pub(crate) fn tick(&mut self, now_ms: u64) {
        self.gossip.tick(now_ms);
        if now_ms % 1_000 < 250 {
            self.engine.tick(&self.store, now_ms).expect("memory can be read");
            self.perform(now_ms);
            self.gossip.set_ahead(self.engine.pending());
        }
        self.settle(now_ms);
    }

    /// A client attaches a block; `None` while the node is not synced.
    pub(crate) fn issue(&mut self, random: &mut Random, now_ms: u64) -> Option<BlockId> {
        let tips = self.engine.select_tips(4, Choice::NonLazy, now_ms, &mut |bound| random.below(bound));
        let parents = Parents::from_unsorted(tips).ok()?;
        let payload = Some(self.wallet.payload(&self.store, &self.network.params, random));
        let bytes: Arc<[u8]> = Block { protocol_version: 2, parents, payload, nonce: 0 }.pack().into();
        let id = block::id_of(&bytes);
        let verdict = self.submit_local(bytes, now_ms);
        self.settle(now_ms);
        (matches!(verdict, Verdict::Accepted { .. }) && !self.is_dead()).then_some(id)
    }

    /// The coordinator's turn, as `coordinator` takes it.
    pub(crate) fn issue_milestone(&mut self, random: &mut Random, now_ms: u64) {
        if let Some((index, bytes)) = self.disk.signed.clone().filter(|(index, _)| *index > self.index()) {
            let block = checked::check(&self.network, bytes).expect("it was made here");
            if matches!(self.submit(block.clone(), Origin::Local, now_ms), Verdict::Rejected(_)) {
                self.submit(block, Origin::Peer { wanted: Some(index) }, now_ms);
            }
        } else {
            let mut parents = vec![self.confirmed_block];
            parents.extend(
                self.engine.select_tips(7, Choice::NonLazy, now_ms, &mut |bound| random.below(bound)),
            );
            let before = self.engine.confirmed();
            let question = Question {
                index: before.index.next(),
                timestamp: before.timestamp + 1,
                parents: Parents::from_unsorted(parents).expect("8 at most"),
                previous: before.id,
            };
            let roots = self.engine.white_flag(&self.store, &question).expect("tips are solid");
            let essence = Essence {
                index: question.index,
                timestamp: question.timestamp,
                protocol_version: 2,
                previous: question.previous,
                parents: question.parents,
                inclusion_merkle_root: roots.inclusion_merkle_root,
                applied_merkle_root: roots.applied_merkle_root,
                metadata: Vec::new(),
                options: Default::default(),
            };
            let public_key = VerificationKeyBytes::from(&key()).into();
            let signature = Signature { public_key, signature: key().sign(&essence.id().0).into() };
            let milestone = Milestone::new(essence, vec![signature]).expect("one signature");
            let index = milestone.essence.index;
            let bytes: Arc<[u8]> = Block::of_milestone(milestone).pack().into();
            self.disk.signed = Some((index, bytes.clone()));
            self.submit_local(bytes, now_ms);
        }
        self.settle(now_ms);
    }
}
