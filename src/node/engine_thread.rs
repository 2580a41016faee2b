//! Drives the engine: takes what is queued, performs the effects on the store, answers when they are
//! durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::{mpsc, oneshot, watch};

use super::own::{AT_ONCE, Own};
use super::recheck;
use super::usage::Usage;
use crate::engine::checked::CheckedBlock;
use crate::engine::effect::{Confirmation, Effect};
use crate::engine::{Engine, Network, Origin, Start, Verdict};
use crate::gossip::Progress;
use crate::handle::{Arrived, Rates, Request, Status, Wear};
use crate::ledger::authority::Authority;
use crate::net::Hub;
use crate::protocol::id::{BlockId, MilestoneIndex};
use crate::store::{PruneError, Reader, Recovered, Store};

/// Requests answered with one fsync of the journal.
const BATCH: usize = 64;

/// How often an idle engine shows that it is alive.
const IDLE: Duration = Duration::from_secs(1);

/// Blocks may take about as much while they wait for their past cone: some 15,000 small ones.
const HELD_BYTES: usize = 12 << 20;

/// Milestones whose past cones are asked for ahead, at first and at most (HORNET `warpsync.advancementRange`).
const AHEAD: (u32, u32) = (8, 150);

/// Turns of the engine's loop: it stands still only when the engine does.
pub(super) type Turns = Arc<AtomicU64>;

/// The engine with everything it drives.
pub(super) struct EngineThread {
    engine: Engine,
    store: Store,
    reader: Reader,
    started: Instant,
    confirmed_block: BlockId,
    pruning_index: MilestoneIndex,
    /// Since the last milestone.
    new_blocks: u32,
    last_milestone: Option<Instant>,
    rates: Rates,
    own: Own,
    usage: Usage,
    /// As of the last milestone.
    wear: Wear,
    /// Of blocks stored since the start.
    block_bytes: u64,
    /// Under the parameters in force.
    network: Arc<Network>,
    /// The way to peers, once there is one.
    peers: Option<Hub>,
    ticked: Instant,
    /// Milestones whose past cones are asked for ahead: fewer when much waits, more when little does.
    ahead: u32,
    /// The last of them. What was begun is not given up: one past cone holds those of the milestones before.
    reach: MilestoneIndex,
}

impl EngineThread {
    /// An engine at the store's newest milestone, with its unreferenced blocks replayed.
    pub(super) fn new(
        authority: Authority,
        mut store: Store,
        recovered: Recovered,
        usage: Usage,
    ) -> anyhow::Result<Self> {
        // What the network agreed on may differ from the configuration.
        store.keep_living(&recovered.schedule);
        let base = &recovered.base;
        let confirmed = recovered.confirmed.as_ref().map_or(base.target, |milestone| milestone.stamp());
        let (treasury, schedule) = (recovered.treasury, recovered.schedule);
        let network = Arc::new(Network { params: schedule.active.clone(), authority });
        let start = Start { confirmed, treasury, schedule, ..Start::at(base) };
        // A snapshot's milestone may not be known as a block; its solid entry points are. A new network's is the zero block.
        let entry_point = base.entry_points.first().copied().unwrap_or(BlockId::ZERO);
        let confirmed_block = recovered.confirmed.as_ref().map_or(entry_point, |found| found.block_id);
        let mut this = Self {
            engine: Engine::new(start),
            reader: store.reader(),
            pruning_index: store.pruning_index()?,
            store,
            started: Instant::now(),
            confirmed_block,
            new_blocks: 0,
            last_milestone: None,
            rates: Rates::default(),
            own: Own::new(),
            usage,
            wear: Wear::default(),
            block_bytes: 0,
            network,
            peers: None,
            ticked: Instant::now(),
            ahead: AHEAD.0,
            reach: MilestoneIndex(0),
        };
        let (unreferenced, journal) = (recovered.unreferenced.len(), recovered.journal.len());
        for bytes in recovered.unreferenced.into_iter().chain(recovered.journal) {
            if let Some(block) = recheck(&this.network, bytes) {
                if block.milestone.as_ref().is_some_and(|found| found.essence.stamp() == confirmed) {
                    this.confirmed_block = block.id;
                }
                this.own.add(block.id, true);
                this.engine.submit(&this.reader, block, Origin::Replayed, 0)?;
                // The journal holds these blocks already, and keeps them until the next commit.
                this.perform(false)?;
            }
        }
        tracing::info!(confirmed = confirmed.index.0, unreferenced, journal, "store opened");
        Ok(this)
    }

    /// A block that was read from a damaged part of the store; it is judged like any other.
    pub(super) fn take_back(&mut self, bytes: Vec<u8>) -> anyhow::Result<()> {
        if let Some(block) = recheck(&self.network, bytes) {
            self.engine.submit(&self.reader, block, Origin::Local, 0)?;
            self.perform(true)?;
        }
        Ok(())
    }

    /// What was taken back lasts.
    pub(super) fn sync(&mut self) -> anyhow::Result<()> {
        Ok(self.store.sync_journal()?)
    }

    /// From now on, peers are told and asked.
    pub(super) fn meet(&mut self) -> Hub {
        let peers = Hub::new(self.progress(), self.engine.entry_points());
        peers.with(|gossip, _| gossip.set_ahead(self.engine.pending()));
        self.peers = Some(peers.clone());
        peers
    }

    /// Where this node is, as peers are told.
    pub(super) fn progress(&self) -> Progress {
        Progress {
            confirmed: self.engine.confirmed().index,
            latest: self.engine.latest().index,
            pruned: self.pruning_index,
            almost_synced: self.engine.is_almost_synced(),
            reach: self.reach,
        }
    }

    pub(super) fn confirmed(&self) -> MilestoneIndex {
        self.engine.confirmed().index
    }

    /// Runs on a thread of its own until the queue is closed and empty.
    pub(super) fn spawn(
        mut self,
        status: watch::Sender<Arc<Status>>,
        mut queue: mpsc::Receiver<Request>,
    ) -> anyhow::Result<(oneshot::Receiver<anyhow::Result<()>>, Turns)> {
        let turns = Turns::default();
        let counted = turns.clone();
        let (done, ended) = oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        let run = move || {
            let result = self.run(&runtime, &status, &mut queue, &counted);
            let result = result.and_then(|()| Ok(self.store.close()?));
            // Nobody may wait for it any more.
            let _ = done.send(result);
        };
        std::thread::Builder::new().name("engine".into()).spawn(run).context("starting the engine")?;
        Ok((ended, turns))
    }

    fn run(
        &mut self,
        runtime: &tokio::runtime::Handle,
        status: &watch::Sender<Arc<Status>>,
        queue: &mut mpsc::Receiver<Request>,
        turns: &AtomicU64,
    ) -> anyhow::Result<()> {
        loop {
            turns.fetch_add(1, Ordering::Relaxed);
            let mut batch = Vec::with_capacity(BATCH);
            let received = runtime
                .block_on(async { tokio::time::timeout(IDLE, queue.recv_many(&mut batch, BATCH)).await });
            match received {
                Ok(0) => return Ok(()),
                Ok(_) => self.turn(batch, status)?,
                Err(_) => {}
            }
            if self.ticked.elapsed() >= IDLE {
                self.tick()?;
            }
        }
    }

    /// What is due each second.
    fn tick(&mut self) -> anyhow::Result<()> {
        self.ticked = Instant::now();
        self.store.make_room()?;
        let now_ms = self.now_ms();
        self.engine.tick(&self.reader, now_ms)?;
        self.perform(false)?;
        self.adapt();
        if let Some(peers) = &self.peers {
            peers.with(|gossip, _| gossip.set_ahead(self.engine.pending()));
        }
        self.tell_peers();
        self.offer_own()
    }

    /// Tells peers in step of blocks that they are not known to have.
    fn offer_own(&mut self) -> anyhow::Result<()> {
        let Some(peers) = &self.peers else { return Ok(()) };
        let ids = self.own.look(|id| self.engine.outlook(id).is_some());
        let lacking =
            peers.with(|gossip, _| ids.into_iter().filter(|id| gossip.is_lacked(id)).collect::<Vec<_>>());
        for id in lacking.into_iter().take(AT_ONCE) {
            if let Some(bytes) = self.reader.block(&id)? {
                peers.with(|gossip, _| gossip.offer(id, &bytes));
            }
        }
        Ok(())
    }

    fn adapt(&mut self) {
        let held = self.engine.held_bytes();
        if held > HELD_BYTES {
            self.ahead = (self.ahead / 2).max(1);
        } else if held < HELD_BYTES / 2 {
            self.ahead = (self.ahead + self.ahead / 4 + 1).min(AHEAD.1);
        }
        let reach = self.engine.confirmed().index.0.saturating_add(self.ahead);
        self.reach = self.reach.max(MilestoneIndex(reach));
    }

    fn tell_peers(&self) {
        if let Some(peers) = &self.peers {
            let progress = self.progress();
            peers.with(|gossip, now_ms| gossip.progress(progress, now_ms));
        }
    }

    /// One batch: every block in, one fsync, the status, then the answers.
    fn turn(&mut self, batch: Vec<Request>, status: &watch::Sender<Arc<Status>>) -> anyhow::Result<()> {
        let (mut verdicts, mut arrived) = (Vec::new(), false);
        for request in batch {
            match request {
                Request::Arrived(blocks) => {
                    for Arrived { block, wanted } in blocks {
                        self.take(block, wanted)?;
                    }
                    arrived = true;
                }
                Request::Held { id, reply } => {
                    let _ = reply.send(self.engine.held(&id));
                }
                Request::Submit { block, reply } => verdicts.push((self.submit(*block)?, reply)),
                // A client that went away needs no answer.
                Request::Tips { count, choice, reply } => {
                    let mut random = |bound| rand::random_range(0..bound);
                    let _ = reply.send(self.engine.select_tips(count, choice, self.now_ms(), &mut random));
                }
                Request::Outlook { id, reply } => {
                    let _ = reply.send(self.engine.outlook(&id));
                }
                Request::Parents { parents, reply } => {
                    let _ = reply.send(self.engine.unfit_parent(&self.reader, &parents)?);
                }
                Request::BeginPrune { target, reply } => {
                    let begun = match self.store.begin_prune(target, self.engine.unreferenced()) {
                        // There is no way on with a store that failed.
                        Err(PruneError::Store(error)) => return Err(error.into()),
                        other => other,
                    };
                    let _ = reply.send(begun);
                }
                Request::FinishPrune { pruning, reply } => {
                    let finished = match self.store.finish_prune(*pruning) {
                        // Half done: the next start finishes it.
                        Err(PruneError::Store(error)) => return Err(error.into()),
                        other => other,
                    };
                    self.pruning_index = self.store.pruning_index()?;
                    status.send_replace(self.status());
                    let _ = reply.send(finished);
                }
                Request::WhiteFlag { question, reply } => {
                    let _ = reply.send(self.engine.white_flag(&self.reader, &question));
                }
            }
        }
        if !verdicts.is_empty() {
            self.store.sync_journal()?;
        }
        if arrived || !verdicts.is_empty() {
            status.send_replace(self.status());
            self.tell_peers();
            for (verdict, reply) in verdicts {
                let _ = reply.send(verdict);
            }
        }
        Ok(())
    }

    fn submit(&mut self, block: CheckedBlock) -> anyhow::Result<Verdict> {
        // Milestones are small, and the way out of a full store.
        if block.milestone.is_none() && (self.engine.halted().is_some() || self.store.is_full()?) {
            return Ok(Verdict::NoRoom);
        }
        let (id, now_ms) = (block.id, self.now_ms());
        let verdict = self.engine.submit(&self.reader, block, Origin::Local, now_ms)?;
        if let Verdict::Accepted { known } = verdict {
            self.own.add(id, known);
        }
        self.perform(true)?;
        Ok(verdict)
    }

    /// A block of a peer: nobody waits for it to be durable before its milestone is.
    fn take(&mut self, block: CheckedBlock, wanted: Option<MilestoneIndex>) -> anyhow::Result<()> {
        // What a milestone needs makes room: pruning follows confirmation.
        if block.milestone.is_none()
            && wanted.is_none()
            && (self.engine.halted().is_some() || self.store.is_full()?)
        {
            return Ok(());
        }
        let (id, now_ms) = (block.id, self.now_ms());
        self.engine.submit(&self.reader, block, Origin::Peer { wanted }, now_ms)?;
        if let Some(peers) = &self.peers {
            peers.with(|gossip, _| gossip.taken(&id));
        }
        self.perform(false)
    }

    /// Performs what the engine asked for, and confirms what became confirmable. `journal` is false for blocks that the
    /// journal holds already.
    fn perform(&mut self, journal: bool) -> anyhow::Result<()> {
        loop {
            while let Some(effect) = self.engine.poll() {
                match effect {
                    Effect::Store { id, bytes, forward } => {
                        self.store.put_block(&id, &bytes, journal)?;
                        self.new_blocks += 1;
                        self.block_bytes += bytes.len() as u64;
                        if let Some(peers) = self.peers.as_ref().filter(|_| forward) {
                            peers.with(|gossip, _| gossip.forward(id, &bytes));
                        }
                    }
                    Effect::Request { ids, cone, child } => {
                        if let Some(peers) = &self.peers {
                            peers.with(|gossip, now_ms| gossip.need(&ids, cone, child, now_ms));
                        }
                    }
                    Effect::Commit(confirmation) => self.commit(&confirmation)?,
                }
            }
            if !self.engine.advance(&self.reader)? {
                break;
            }
        }
        if let Some(halt) = self.engine.halted() {
            tracing::error!(%halt, "confirmation stopped");
        }
        Ok(())
    }

    fn commit(&mut self, confirmation: &Confirmation) -> anyhow::Result<()> {
        self.store.commit(confirmation)?;
        self.confirmed_block = confirmation.block_id;
        if let Some(schedule) = &confirmation.schedule {
            let authority = self.network.authority.clone();
            self.network = Arc::new(Network { params: schedule.active.clone(), authority });
        }
        self.pruning_index = self.store.pruning_index()?;
        self.adapt();
        self.tell_peers();
        let now = Instant::now();
        if let Some(before) = self.last_milestone.replace(now) {
            let seconds = now.duration_since(before).as_secs_f64().max(0.001);
            let (new, referenced) = (f64::from(self.new_blocks), confirmation.referenced.len() as f64);
            self.rates = Rates {
                blocks_per_second: new / seconds,
                referenced_blocks_per_second: referenced / seconds,
                referenced_rate: if new > 0.0 { 100.0 * referenced / new } else { 0.0 },
            };
        }
        self.new_blocks = 0;
        let wear = Wear { written_bytes: self.usage.written_bytes(), block_bytes: self.block_bytes };
        self.wear = wear;
        tracing::info!(
            index = confirmation.stamp.index.0,
            blocks = confirmation.referenced.len(),
            in_memory = self.engine.blocks_in_memory(),
            memory_mib = self.usage.memory_mib(),
            // Since the start; what the disks took, and of it what blocks are.
            written_kib = wear.written_bytes.map(|bytes| bytes >> 10),
            block_kib = wear.block_bytes >> 10,
            "milestone confirmed"
        );
        Ok(())
    }

    pub(super) fn status(&self) -> Arc<Status> {
        let schedule = self.engine.schedule();
        Arc::new(Status {
            network: self.network.clone(),
            upcoming: schedule.pending.clone(),
            supported: schedule.is_supported(),
            latest: self.engine.latest(),
            confirmed: self.engine.confirmed(),
            confirmed_block: self.confirmed_block,
            pruning_index: self.pruning_index,
            almost_synced: self.engine.is_almost_synced(),
            halted: self.engine.halted().map(ToString::to_string),
            latest_block: self.engine.latest_block().map(|block| block.pack().into()),
            rates: self.rates,
            wear: self.wear,
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
