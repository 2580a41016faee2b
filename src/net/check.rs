//! Blocks of peers on their way to the engine: parsed once, judged in batches, by one thread.
//!
//! Each stream waits for its turn, so that a peer who sends faster than this node works is slowed down by TCP, and whoever sends
//! much takes nothing from others: places are given in the order of asking, one stream asking for one at a time. What was not
//! asked for has half of the places.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::hub::{Hub, Link};
use crate::engine::arrival;
use crate::engine::checked::{self, Refusal, Work};
use crate::gossip::{Arrival, Finding, Slot};
use crate::handle::{Arrived, NodeHandle};
use crate::pow::tuning::Tuning;
use crate::pow::verify::{Claim, Verifier};
use crate::protocol::block::Block;
use crate::protocol::id::BlockId;

/// Blocks that wait, 8 MiB at most.
const QUEUE: usize = 256;

/// Blocks that are judged together, and given to the engine together.
const BATCH: usize = 64;

/// Blocks that the engine is given at once: one more than fits may be on top.
const PORTION_BYTES: usize = 128 << 10;

/// Blocks that follow each other sooner are judged together, though they are few: each batch wakes three threads. What comes
/// after a pause is judged at once.
const PACE: Duration = Duration::from_millis(5);

/// Between two looks while blocks are gathered.
const NAP: Duration = Duration::from_millis(1);

/// Longest time that a batch of proofs of work takes, in nanoseconds.
const BATCH_NS: u64 = 500_000;

/// A block to look at.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) link: Arc<Link>,
    pub(super) slot: Slot,
    pub(super) id: BlockId,
    pub(super) bytes: Arc<[u8]>,
    pub(super) arrival: Arrival,
}

/// A block in the queue, and its place among those that were not asked for.
type Queued = (Item, Option<OwnedSemaphorePermit>);

/// The way to the thread, which ends with the last of these.
#[derive(Debug, Clone)]
pub(super) struct Checker {
    queue: mpsc::Sender<Queued>,
    unasked: Arc<Semaphore>,
}

impl Checker {
    /// Starts the thread.
    pub(super) fn start(hub: Hub, node: NodeHandle, tuning: &Tuning) -> anyhow::Result<Self> {
        let (sender, queue) = mpsc::channel(QUEUE);
        let verifier = Verifier::new(tuning.single_ns, &tuning.batches);
        let most = tuning.batch_within(BATCH_NS).clamp(1, BATCH);
        let run = move || Inspector { hub, node, verifier }.run(queue, most);
        std::thread::Builder::new()
            .name("check".into())
            .spawn(run)
            .context("starting the check of blocks")?;
        Ok(Self { queue: sender, unasked: Arc::new(Semaphore::new(QUEUE / 2)) })
    }

    /// Waits for a place. False when the node stops.
    pub(super) async fn submit(&self, item: Item) -> bool {
        let place = match item.arrival {
            Arrival::Ignore => return true,
            Arrival::Check => self.unasked.clone().acquire_owned().await.ok(),
            Arrival::Milestone | Arrival::Asked | Arrival::Wanted(_) => None,
        };
        self.queue.send((item, place)).await.is_ok()
    }
}

struct Inspector {
    hub: Hub,
    node: NodeHandle,
    verifier: Verifier,
}

impl Inspector {
    fn run(mut self, mut queue: mpsc::Receiver<Queued>, most: usize) {
        let (mut batch, mut last) = (Vec::with_capacity(most), None::<Instant>);
        while queue.blocking_recv_many(&mut batch, most) > 0 {
            let left = last.map_or(Duration::ZERO, |last| PACE.saturating_sub(last.elapsed()));
            // Looked at again meanwhile: a burst must not fill the queue.
            let until = Instant::now() + left;
            while batch.len() + queue.len() < most && Instant::now() < until {
                std::thread::sleep(NAP);
            }
            if batch.len() < most {
                let more = std::iter::from_fn(|| queue.try_recv().ok());
                batch.extend(more.take(most - batch.len()));
            }
            last = Some(Instant::now());
            let (items, places): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
            let mut good = self.check(items).into_iter().peekable();
            while good.peek().is_some() {
                if self.node.arrived_blocking(portion(&mut good)).is_err() {
                    return;
                }
            }
            // Only now, or the engine's pace would slow down nobody.
            drop(places);
        }
    }

    /// The blocks that the engine is to have.
    fn check(&mut self, batch: Vec<Item>) -> Vec<Arrived> {
        let network = self.node.status_now().network.clone();
        let for_cones = arrival::rules_of_cones(&network);
        let parsed = batch.iter().map(|item| Block::parse(&item.bytes)).collect::<Vec<_>>();
        // HORNET: > requested blocks skip the proof of work
        let claims = batch.iter().zip(&parsed).map(|(item, block)| match (item.arrival, block) {
            (Arrival::Check | Arrival::Milestone | Arrival::Asked, Ok(block)) => {
                checked::claim(&network, &item.bytes, block)
            }
            (Arrival::Wanted(_) | Arrival::Ignore, _) | (_, Err(_)) => None,
        });
        let claims = claims.collect::<Vec<Option<Claim>>>();
        let mut verdicts =
            self.verifier.verify(&claims.iter().flatten().copied().collect::<Vec<_>>()).into_iter();
        let mut good = Vec::with_capacity(batch.len());
        for ((item, block), claim) in batch.into_iter().zip(parsed).zip(claims) {
            let work = match claim {
                Some(_) => Work::Judged(verdicts.next().unwrap_or(false)),
                None => Work::Unknown,
            };
            let rules = if matches!(item.arrival, Arrival::Wanted(_)) { &for_cones } else { &*network };
            let result = block.map_err(Refusal::from);
            let result = result.and_then(|block| checked::check_parsed(rules, item.bytes, block, work));
            if let Err(refusal) = &result {
                tracing::debug!(block = %item.id, %refusal, "block of a peer refused");
            }
            let finding = arrival::finding(item.arrival, &result);
            // Whoever sends it and is gone at once is remembered, too.
            if finding == Finding::Invalid {
                self.hub.offended(&item.link);
            }
            let keep = self.hub.with(|gossip, now_ms| gossip.checked(item.slot, item.id, finding, now_ms));
            if let Some(block) = result.ok().filter(|_| keep) {
                let wanted = arrival::wanted(item.arrival, &block);
                good.push(Arrived { block, wanted });
            }
        }
        good
    }
}

/// What the engine gets at once: at least one block.
fn portion(blocks: &mut impl Iterator<Item = Arrived>) -> Vec<Arrived> {
    let (mut portion, mut bytes) = (Vec::new(), 0);
    while bytes < PORTION_BYTES
        && let Some(arrived) = blocks.next()
    {
        bytes += arrived.block.bytes.len();
        portion.push(arrived);
    }
    portion
}
