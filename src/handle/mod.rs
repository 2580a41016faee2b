//! What ports (REST and others) hold of the node: reads, the watched status, and a bounded way in.
//!
//! A request never waits in a queue that is full: the port is told and answers 503.

pub mod peers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot, watch};

use crate::config::BaseToken;
use crate::engine::checked::CheckedBlock;
use crate::engine::{Network, Unfit, Verdict};
use crate::ledger::whiteflag::{self, Mutations, Question};
use crate::protocol::block::Parents;
use crate::protocol::id::{BlockId, MilestoneIndex};
use crate::protocol::milestone::MilestoneStamp;
use crate::protocol::params::Upcoming;
use crate::store::{PruneError, Pruning, Reader};
use crate::tangle::Outlook;
use crate::tangle::tips::Choice;

/// Requests that may wait for the engine; each holds one block of a client (32 KiB) or 160 KiB of those of peers, so 5 MiB.
pub const REQUESTS: usize = 32;

/// Seconds after which the newest milestone is too old for a healthy node (HORNET).
const HEALTHY_MILESTONE_AGE_S: u64 = 300;

/// Something only the engine can do. Each carries where the answer goes.
#[derive(Debug)]
pub enum Request {
    /// Take a client's block; answered when it is durable.
    Submit {
        /// The block.
        block: Box<CheckedBlock>,
        /// Verdict.
        reply: oneshot::Sender<Verdict>,
    },
    /// Take blocks of peers. Nobody waits for an answer.
    Arrived(Vec<Arrived>),
    /// Choose parents; answered with none when the node is not synced.
    Tips {
        /// How many at most.
        count: usize,
        /// Which.
        choice: Choice,
        /// Ids, ascending.
        reply: oneshot::Sender<Vec<BlockId>>,
    },
    /// Look at a block that no milestone references.
    Outlook {
        /// The block.
        id: BlockId,
        /// `None` when it is not in memory.
        reply: oneshot::Sender<Option<Outlook>>,
    },
    /// Look at the parents of a block that is not mined yet.
    Parents {
        /// The parents.
        parents: Parents,
        /// The first that is unfit.
        reply: oneshot::Sender<Option<Unfit>>,
    },
    /// Begin to prune.
    BeginPrune {
        /// Up to there.
        target: MilestoneIndex,
        /// What is to be done beside the engine.
        reply: oneshot::Sender<Result<Pruning, PruneError>>,
    },
    /// End what was begun.
    FinishPrune {
        /// What was done.
        pruning: Box<Pruning>,
        /// The milestone that is pruned last.
        reply: oneshot::Sender<Result<MilestoneIndex, PruneError>>,
    },
    /// Give the bytes of a block that waits for its past cone.
    Held {
        /// The block.
        id: BlockId,
        /// `None` when it does not.
        reply: oneshot::Sender<Option<Arc<[u8]>>>,
    },
    /// Walk the cone of the next milestone.
    WhiteFlag {
        /// The milestone to be.
        question: Question,
        /// Its roots.
        reply: oneshot::Sender<Result<Mutations, whiteflag::Error>>,
    },
}

/// A block of a peer.
#[derive(Debug)]
pub struct Arrived {
    /// It passed the stateless rules.
    pub block: CheckedBlock,
    /// The milestone whose past cone it was asked for.
    pub wanted: Option<MilestoneIndex>,
}

/// The node as it is now; a new value at each change.
#[derive(Debug, Clone)]
pub struct Status {
    /// Protocol parameters in force, and milestone keys.
    pub network: Arc<Network>,
    /// Protocol parameters to come.
    pub upcoming: Vec<Upcoming>,
    /// Whether the next of them are known here.
    pub supported: bool,
    /// Newest milestone known; index 0 before the first.
    pub latest: MilestoneStamp,
    /// Newest milestone confirmed.
    pub confirmed: MilestoneStamp,
    /// Block that carried it; a solid entry point before the first.
    pub confirmed_block: BlockId,
    /// Newest index whose data are gone.
    pub pruning_index: MilestoneIndex,
    /// CMI is at most 2 behind LMI.
    pub almost_synced: bool,
    /// Why confirmation stopped for good.
    pub halted: Option<String>,
    /// Block of the newest milestone known, unless that is confirmed.
    pub latest_block: Option<Arc<[u8]>>,
    /// Rates between the last two milestones.
    pub rates: Rates,
    /// What the node costs its disk.
    pub wear: Wear,
}

/// What is written, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wear {
    /// Bytes for disks, in whole pages; `None` where the kernel does not tell.
    pub written_bytes: Option<u64>,
    /// Bytes of the blocks that were stored.
    pub block_bytes: u64,
}

/// TIP-25 `metrics` of the info route.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// New blocks a second.
    pub blocks_per_second: f64,
    /// Newly referenced blocks a second.
    pub referenced_blocks_per_second: f64,
    /// Referenced per new block, in percent.
    pub referenced_rate: f64,
}

/// The engine is busy or gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Its queue is full.
    #[error("the node is busy")]
    Busy,
    /// It stopped.
    #[error("the node is stopping")]
    Stopping,
}

/// What does not change with the Tangle.
#[derive(Debug, Clone)]
pub struct Facts {
    /// How amounts are shown.
    pub base_token: BaseToken,
    /// A node without peers is unhealthy.
    pub require_peers: bool,
    /// Whether something confirms the clock, told by the board's PID 1. Always true on a host, and where the owner does not
    /// want it to count.
    pub clock_trusted: Arc<AtomicBool>,
    /// Connected peers, told by the owner of the connections.
    pub peers: Arc<AtomicUsize>,
}

impl Facts {
    /// Whether clients should use a node in this state: almost synced, not halted, with peers unless it may
    /// be alone, the protocol parameters to come known, and the newest milestone not older than five minutes (HORNET);
    /// and the clock is trusted.
    pub fn is_healthy(&self, status: &Status, unix_seconds: u64) -> bool {
        let age = unix_seconds.saturating_sub(u64::from(status.latest.timestamp));
        status.almost_synced
            && status.halted.is_none()
            && status.supported
            && (self.peers.load(Ordering::Relaxed) > 0 || !self.require_peers)
            && age < HEALTHY_MILESTONE_AGE_S
            && self.clock_trusted.load(Ordering::Relaxed)
    }
}

/// See the module. Cheap to clone; the engine ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct NodeHandle {
    /// Reads.
    pub reader: Reader,
    /// Newest status.
    pub status: watch::Receiver<Arc<Status>>,
    /// Constants.
    pub facts: Arc<Facts>,
    requests: mpsc::Sender<Request>,
    patient: bool,
}

impl NodeHandle {
    /// Joins the parts; the other end of `requests` is the engine's.
    pub fn new(
        reader: Reader,
        status: watch::Receiver<Arc<Status>>,
        facts: Arc<Facts>,
        requests: mpsc::Sender<Request>,
    ) -> Self {
        Self { reader, status, facts, requests, patient: false }
    }

    /// A handle whose requests wait for a place in the queue instead of being refused: for the node's own
    /// work, never for clients.
    #[must_use]
    pub fn patient(&self) -> Self {
        Self { patient: true, ..self.clone() }
    }

    /// The status of this moment.
    pub fn status_now(&self) -> Arc<Status> {
        self.status.borrow().clone()
    }

    /// Whether clients should use this node at this time.
    pub fn is_healthy(&self, unix_seconds: u64) -> bool {
        self.facts.is_healthy(&self.status_now(), unix_seconds)
    }

    /// Hands a client's block to the engine.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn submit(&self, block: CheckedBlock) -> Result<Verdict, Unavailable> {
        self.ask(|reply| Request::Submit { block: Box::new(block), reply }).await
    }

    /// Hands blocks of peers to the engine; waits for a place in its queue.
    ///
    /// # Errors
    /// [`Unavailable::Stopping`].
    pub fn arrived_blocking(&self, blocks: Vec<Arrived>) -> Result<(), Unavailable> {
        self.requests.blocking_send(Request::Arrived(blocks)).map_err(|_| Unavailable::Stopping)
    }

    /// The same for the node's own work.
    ///
    /// # Errors
    /// [`Unavailable::Stopping`].
    pub async fn arrived(&self, blocks: Vec<Arrived>) -> Result<(), Unavailable> {
        self.requests.send(Request::Arrived(blocks)).await.map_err(|_| Unavailable::Stopping)
    }

    /// The bytes of a block that waits for its past cone.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn held(&self, id: BlockId) -> Result<Option<Arc<[u8]>>, Unavailable> {
        self.ask(|reply| Request::Held { id, reply }).await
    }

    /// Up to `count` parents for a new block.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn tips(&self, count: usize, choice: Choice) -> Result<Vec<BlockId>, Unavailable> {
        self.ask(|reply| Request::Tips { count, choice, reply }).await
    }

    /// What memory knows of a block.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn outlook(&self, id: BlockId) -> Result<Option<Outlook>, Unavailable> {
        self.ask(|reply| Request::Outlook { id, reply }).await
    }

    /// The first of these that no block of this node may approve.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn unfit_parent(&self, parents: Parents) -> Result<Option<Unfit>, Unavailable> {
        self.ask(|reply| Request::Parents { parents, reply }).await
    }

    /// Roots of the next milestone.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn white_flag(
        &self,
        question: Question,
    ) -> Result<Result<Mutations, whiteflag::Error>, Unavailable> {
        self.ask(|reply| Request::WhiteFlag { question, reply }).await
    }

    /// Begins to prune everything up to `target`.
    ///
    /// # Errors
    /// [`Unavailable`]; within it, why nothing is pruned.
    pub async fn begin_prune(
        &self,
        target: MilestoneIndex,
    ) -> Result<Result<Pruning, PruneError>, Unavailable> {
        self.ask(|reply| Request::BeginPrune { target, reply }).await
    }

    /// Ends what was begun; gives the milestone that is pruned last.
    ///
    /// # Errors
    /// [`Unavailable`]; within it, why nothing is pruned.
    pub async fn finish_prune(
        &self,
        pruning: Pruning,
    ) -> Result<Result<MilestoneIndex, PruneError>, Unavailable> {
        self.ask(|reply| Request::FinishPrune { pruning: Box::new(pruning), reply }).await
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Unavailable> {
        let (reply, answer) = oneshot::channel();
        if self.patient {
            self.requests.send(request(reply)).await.map_err(|_| Unavailable::Stopping)?;
        } else {
            self.requests.try_send(request(reply)).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => Unavailable::Busy,
                mpsc::error::TrySendError::Closed(_) => Unavailable::Stopping,
            })?;
        }
        answer.await.map_err(|_| Unavailable::Stopping)
    }
}
