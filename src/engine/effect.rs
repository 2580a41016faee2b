//! What the engine asks its executor to do, in the order given.

use std::sync::Arc;

use crate::ledger::{Delta, Referenced};
use crate::protocol::id::{BlockId, MilestoneIndex};
use crate::protocol::milestone::Milestone;
use crate::protocol::milestone::MilestoneStamp;
use crate::protocol::params::Schedule;

/// One thing to do.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Keep a new block, whose past cone is here. Durable with the next commit, or by the journal when a client waits for
    /// it.
    Store {
        /// Its id.
        id: BlockId,
        /// Its binary form.
        bytes: Arc<[u8]>,
        /// Peers should have it, too.
        forward: bool,
    },
    /// Ask peers for blocks.
    Request {
        /// Their ids.
        ids: Vec<BlockId>,
        /// The milestone whose past cone they belong to, if that is known.
        cone: Option<MilestoneIndex>,
        /// The block that was built on them.
        child: Option<BlockId>,
    },
    /// Make a confirmed milestone and all blocks stored before it durable, at once or not at all.
    Commit(Box<Confirmation>),
}

/// A milestone whose cone was walked and whose roots agree.
#[derive(Debug, Clone)]
pub struct Confirmation {
    /// The block that carried it here.
    pub block_id: BlockId,
    /// Its payload.
    pub milestone: Milestone,
    /// Id, index and time.
    pub stamp: MilestoneStamp,
    /// Newly referenced blocks in white-flag order.
    pub referenced: Vec<Referenced>,
    /// What it does to the ledger.
    pub delta: Delta,
    /// Protocol parameters from now on, when it changed those in force or to come.
    pub schedule: Option<Schedule>,
}
