//! The milestone issuer of a private network, on [`NodeHandle`].
//!
//! At each tick: parents from the tips, roots from the engine's white-flag walk, signature, state on disk,
//! and only then the block enters the Tangle. A milestone that was signed but not confirmed when power
//! failed is submitted again as it is: there are never two essences for one index.

mod key;
mod state;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::MissedTickBehavior;

use crate::engine::checked::{self, CheckedBlock};
use crate::engine::{Unfit, Verdict};
use crate::handle::{Arrived, NodeHandle, Status, Unavailable};
use crate::ledger::whiteflag::{self, Mutations, Question};
use crate::protocol::block::{Block, Parents};
use crate::protocol::id::MilestoneIndex;
use crate::protocol::milestone::{Essence, Milestone};
use crate::tangle::tips::Choice;
use key::Key;
use state::State;

pub use key::{genesis_key, has_genesis_key, has_key, public_key};

/// Why no milestone was issued, or none ever will be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the coordinator cannot be used.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The ledger is behind what this coordinator has signed.
    #[error(
        "milestone {signed} was signed, but the ledger ends at {confirmed}: signing again could fork the network. Wait for \
         peers that have what is missing, or bring back the data folder; when no other node has it, set \
         coordinator.resume_from = {confirmed}"
    )]
    LedgerBehind {
        /// Newest signed index.
        signed: u32,
        /// Newest confirmed index.
        confirmed: u32,
    },
    /// What this coordinator has signed last is not known.
    #[error(
        "{path}: missing or damaged; the ledger ends at {confirmed}, but a later milestone may have been signed, and \
         signing it again could fork the network: bring the file back, or when no other node has a later one, set \
         coordinator.resume_from = {confirmed}"
    )]
    Forgotten {
        /// The file.
        path: String,
        /// Newest confirmed index.
        confirmed: u32,
    },
    /// The engine did not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The walk gave no roots.
    #[error(transparent)]
    WhiteFlag(#[from] whiteflag::Error),
    /// The node refused what this coordinator made.
    #[error("own milestone refused: {0}")]
    Refused(String),
}

/// Issues milestones with one key.
#[derive(Debug)]
pub struct Coordinator {
    node: NodeHandle,
    key: Key,
    state: State,
    /// The milestone that its owner wants it to go on from, whatever was signed later.
    resume_from: Option<u32>,
    /// The ledger was behind at the last tick, or what was signed is not known: told once.
    stuck: bool,
}

impl Coordinator {
    /// Reads key and state from `folder`; [`public_key`] must have made them.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn open(folder: &Path, node: NodeHandle, resume_from: Option<u32>) -> Result<Self, Error> {
        // Clients that keep the engine's queue full must not keep milestones out.
        let (node, key, state) = (node.patient(), Key::load(folder)?, State::load(folder));
        Ok(Self { node, key, state, resume_from, stuck: false })
    }

    /// Issues a milestone every `interval` until it is dropped. A ledger that is behind what was signed is waited for: peers
    /// may have what is missing.
    ///
    /// # Errors
    /// [`Error::File`] is final; all others are logged and tried again.
    pub async fn run(mut self, interval: Duration) -> Result<(), Error> {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.issue().await {
                Ok(()) => self.stuck = false,
                Err(error @ Error::File { .. }) => return Err(error),
                Err(error @ (Error::LedgerBehind { .. } | Error::Forgotten { .. })) => {
                    if !self.stuck {
                        tracing::error!("no milestone issued: {error}");
                    }
                    self.stuck = true;
                }
                Err(error @ (Error::Unavailable(_) | Error::WhiteFlag(_) | Error::Refused(_))) => {
                    tracing::warn!(%error, "no milestone issued");
                }
            }
        }
    }

    /// Brings state and ledger together after a restart.
    async fn resume(&mut self) -> Result<(), Error> {
        let confirmed = self.node.status_now().confirmed.index.0;
        if self.resume_from == Some(confirmed) {
            tracing::warn!(confirmed, "coordinator.resume_from: what was signed later is given up");
            self.state.go_back(confirmed);
            return Ok(());
        }
        let Some(signed) = self.state.index else {
            return Err(Error::Forgotten { path: self.state.path(), confirmed });
        };
        if signed > confirmed + 1 {
            return Err(Error::LedgerBehind { signed, confirmed });
        }
        if signed == confirmed + 1 {
            tracing::info!(index = signed, "submitting the signed milestone again");
            let bytes = Arc::<[u8]>::from(self.state.block()?);
            self.check_state(&bytes)?;
            return self.resubmit(bytes, MilestoneIndex(signed)).await;
        }
        Ok(())
    }

    /// Blocks of peers may be lost that the milestone references: peers have them still, and are asked.
    async fn resubmit(&self, bytes: Arc<[u8]>, index: MilestoneIndex) -> Result<(), Error> {
        let block = self.check(bytes)?;
        let wanted = Some(index);
        match self.node.submit(block.clone()).await? {
            Verdict::Accepted { .. } => Ok(()),
            Verdict::NoRoom => Err(Error::Refused("no room".into())),
            Verdict::Rejected(unfit) => {
                tracing::warn!(parent = %unfit.parent, "peers are asked for what the signed milestone references");
                Ok(self.node.arrived(vec![Arrived { block, wanted }]).await?)
            }
        }
    }

    /// The block in the state must carry the milestone that the state names.
    fn check_state(&self, bytes: &[u8]) -> Result<(), Error> {
        let block = Block::parse(bytes).map_err(|error| self.state.damaged(&error.to_string()))?;
        match block.milestone().map(|milestone| milestone.essence.index.0) {
            index @ Some(_) if index == self.state.index => Ok(()),
            Some(_) | None => Err(self.state.damaged("index and block do not belong together")),
        }
    }

    async fn issue(&mut self) -> Result<(), Error> {
        // A milestone's time cannot be taken back.
        if !self.node.facts.clock_trusted.load(Ordering::Relaxed) {
            tracing::debug!("no milestone issued: the clock is not confirmed");
            return Ok(());
        }
        let status = self.node.status_now();
        if self.state.index.is_none_or(|signed| signed > status.confirmed.index.0) {
            // Signed before a restart, or when the engine was not available.
            return self.resume().await;
        }
        let question = self.question(&status).await?;
        let roots = self.node.white_flag(question.clone()).await??;
        let block = self.sign(&question, &roots)?;
        let bytes = Arc::<[u8]>::from(block.pack());
        self.state.save(question.index, &bytes)?;
        self.submit(bytes).await
    }

    /// The next milestone before it is signed: last milestone block and tips as parents.
    async fn question(&self, status: &Status) -> Result<Question, Error> {
        let mut parents = vec![status.confirmed_block];
        parents.extend(self.node.tips(Parents::MOST - 1, Choice::NonLazy).await?);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let now = u32::try_from(now).unwrap_or(u32::MAX);
        Ok(Question {
            index: status.confirmed.index.next(),
            // TIP-29: > the timestamp MUST be larger than that of the previous milestone
            timestamp: now.max(status.confirmed.timestamp.saturating_add(1)),
            parents: Parents::from_unsorted(parents).map_err(|error| Error::Refused(error.to_string()))?,
            previous: status.confirmed.id,
        })
    }

    fn sign(&self, question: &Question, roots: &Mutations) -> Result<Block, Error> {
        let protocol_version = self.node.status_now().network.params.version;
        let essence = Essence {
            index: question.index,
            timestamp: question.timestamp,
            protocol_version,
            previous: question.previous,
            parents: question.parents.clone(),
            inclusion_merkle_root: roots.inclusion_merkle_root,
            applied_merkle_root: roots.applied_merkle_root,
            metadata: Vec::new(),
            options: Default::default(),
        };
        let signature = self.key.sign(essence.id());
        let milestone =
            Milestone::new(essence, vec![signature]).map_err(|error| Error::Refused(error.to_string()))?;
        Ok(Block::of_milestone(milestone))
    }

    /// Hands a milestone block to the node; it is confirmed and durable when this returns.
    async fn submit(&self, bytes: Arc<[u8]>) -> Result<(), Error> {
        match self.node.submit(self.check(bytes)?).await? {
            Verdict::Accepted { .. } => Ok(()),
            Verdict::NoRoom => Err(Error::Refused("no room".into())),
            Verdict::Rejected(Unfit { parent, state }) => {
                Err(Error::Refused(format!("parent {parent}: {state:?}")))
            }
        }
    }

    fn check(&self, bytes: Arc<[u8]>) -> Result<CheckedBlock, Error> {
        let checked = checked::check(&self.node.status_now().network, bytes)
            .map_err(|error| Error::Refused(error.to_string()))?;
        if checked.milestone.is_none() {
            return Err(Error::Refused(
                "the network's milestone keys do not include this coordinator's".into(),
            ));
        }
        Ok(checked)
    }
}
