//! Everything that survives a restart: blocks, milestones and what milestones made of blocks.
//!
//! Layout of the folder (see [`keys`] for what is inside an epoch):
//!
//! | name | what |
//! | --- | --- |
//! | `format` | version of this layout and the network the data belong to |
//! | `e00000001/` … | epochs: one sled database for a run of milestones; pruning drops whole epochs |
//! | `ledger/` | the unspent outputs, sled 0.34 (`ledger.rs`) |
//! | `ballast` | takes room until the disk is full, see `ballast.rs` |
//! | `head` | the newest milestone once more, see `head.rs` |
//! | `stopped` | the last run ended in order |
//! | `suspect`, `crashed` | what the last run found damaged, or that it ended by a fault |
//! | `aside-…`, `damaged-…` | what was damaged, see [`mend`] |
//! | `journal` | blocks acknowledged to local clients since the last commit |
//! | `c…`, `n…` | a copy of an epoch, without what is pruned: being made, and about to take its place |
//! | `x…` | an epoch that is being deleted; removed at start |
//!
//! Order of writing: a block goes into the newest epoch's memory; a client's block also into the journal,
//! fsynced before the client hears of it; a confirmed milestone puts its records and the marker into the
//! epoch, with its diff of the ledger, and flushes it, which *is* the commit (one atomic flush); only then the ledger
//! follows, and the journal is emptied. So a power cut loses nothing that was acknowledged, the newest marker tells the
//! confirmed milestone, and a ledger that is behind catches up from the diffs.
//!
//! [`Store`] has one owner, the engine's thread; [`Reader`] is for everybody.

mod ahead;
mod anchor;
mod ballast;
mod epoch;
mod export;
mod handles;
mod head;
mod ids;
mod journal;
pub mod keys;
mod ledger;
pub mod mend;
mod metadata;
mod open;
mod prune;
mod reader;
mod seal;
mod space;
mod survey;
mod suspects;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::engine::effect::Confirmation;
use crate::ledger::treasury::Treasury;
use crate::protocol::id::{BlockId, MilestoneIndex};
use crate::protocol::params::Schedule;
use ahead::Ahead;
use epoch::{Epoch, Manner};
use handles::Held;
use head::Head;
use journal::Journal;
use keys::{BlockKey, Reference};
use ledger::Ledger;
use space::Space;

pub use anchor::Anchor;
pub use export::ExportError;
pub use open::{Recovered, StoredMilestone};
pub use prune::{PruneError, Pruning};
pub use reader::{Changes, OutputRecord, Reader};
pub use survey::{EpochSurvey, Survey, Tally};
pub use suspects::{Suspects, note_crash};

/// How much to keep, and in which portions.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Milestones whose blocks are kept; at least.
    pub keep_milestones: u32,
    /// Milestones that the living part of the Tangle reaches back: what they brought is never pruned, not even when the
    /// disk is full.
    pub live_milestones: u32,
    /// Memory for each epoch's page cache, in bytes.
    pub cache_bytes: usize,
}

impl Limits {
    /// Of tools, which only look.
    fn keeps_everything(self) -> bool {
        self.keep_milestones == u32::MAX
    }

    /// A tenth of what is kept: dropping one epoch then gives back a tenth of the disk space.
    fn epoch_milestones(self) -> u32 {
        (self.keep_milestones / 10).max(1)
    }
}

/// An epoch ends early when it holds this many bytes of blocks: sled keeps what was written since the
/// epoch was opened in memory, so this bounds it (64 MiB, less on a small disk).
const EPOCH_BYTES: u64 = 64 << 20;

/// Epochs on disk; beyond, the oldest are dropped although they hold milestones to be kept. An open epoch
/// takes 81 file descriptors, so about 2,000 in all.
const MAX_EPOCHS: usize = 24;

/// No snapshot is waited for when there are as many.
const FAR_TOO_MANY_EPOCHS: usize = 32;

/// Blocks that may wait for a commit, in bytes: sled holds them in memory, the journal on disk.
const MAX_UNCOMMITTED_BYTES: u64 = 64 << 20;

/// The disk is looked at again after so many bytes of blocks: much less than its reserve.
const LOOK_EVERY_BYTES: u64 = 256 << 10;

/// The store failed. There is no way on but to stop: the next start recovers from what is on disk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operation of the file system or of sled failed.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// What is to be imported is no snapshot.
    #[error(transparent)]
    Snapshot(#[from] crate::snapshot::Error),
    /// A record does not have the form it must have.
    #[error("{path}: damaged {record}")]
    Damaged {
        /// Which file or folder.
        path: PathBuf,
        /// Which record.
        record: &'static str,
    },
    /// Ledger and epochs do not meet, or do not hold what new blocks may stand on.
    #[error("{path}: the ledger is at milestone {ledger}, and {lacks}")]
    Gap {
        /// Folder of the store.
        path: PathBuf,
        /// Where the ledger is.
        ledger: MilestoneIndex,
        /// What is missing.
        lacks: &'static str,
    },
    /// The epochs lack milestones that were told: these have lost their ends.
    #[error("{path}: ends at milestone {confirmed}, but {told} was told")]
    Behind {
        /// Folder of the store.
        path: PathBuf,
        /// The last milestone that is found.
        confirmed: MilestoneIndex,
        /// The last that was there.
        told: MilestoneIndex,
        /// Any of them may be the one.
        parts: Vec<PathBuf>,
    },
    /// The folder belongs to another network or another version of this program.
    #[error("{path}: holds {found}, but the configuration asks for {wanted}; use another data folder")]
    Foreign {
        /// The format file.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What it should say.
        wanted: String,
    },
}

impl Error {
    fn io(doing: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { doing, path, source }
    }
}

/// All epochs, oldest first; the last one is written to. Shared by the store and its readers.
#[derive(Debug, Clone)]
struct Epochs(Arc<RwLock<Vec<Arc<Epoch>>>>);

impl Epochs {
    fn new(epochs: Vec<Arc<Epoch>>) -> Self {
        Self(Arc::new(RwLock::new(epochs)))
    }

    /// The list as it is now; epochs that are dropped meanwhile stay readable until they are closed.
    fn all(&self) -> Vec<Arc<Epoch>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the list; whoever panics while holding it has not changed it yet.
    fn change<T>(&self, change: impl FnOnce(&mut Vec<Arc<Epoch>>) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Index of the newest milestone that is durable: nothing of a later one is ever shown, be it half written by a
/// commit that failed or not flushed yet.
#[derive(Debug, Clone, Default)]
struct Confirmed(Arc<AtomicU32>);

impl Confirmed {
    fn get(&self) -> MilestoneIndex {
        MilestoneIndex(self.0.load(Ordering::Acquire))
    }

    fn set(&self, index: MilestoneIndex) {
        self.0.store(index.0, Ordering::Release);
    }
}

/// The writing side.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    limits: Limits,
    suspects: Suspects,
    epochs: Epochs,
    /// Writing handles of the newest epoch.
    active: Held,
    active_number: u32,
    active_bytes: u64,
    /// Milestones committed to the newest epoch.
    active_milestones: u32,
    ahead: Ahead,
    journal: Journal,
    head: Head,
    stopped_in_order: bool,
    /// The newest epoch was closed once, and is as it was then.
    newest_is_whole: bool,
    /// What the journal held at the start.
    acknowledged: Vec<Vec<u8>>,
    ledger: Ledger,
    treasury: Treasury,
    space: Space,
    carries_ballast: bool,
    anchor: Anchor,
    confirmed: Confirmed,
    /// Since the last commit.
    uncommitted_bytes: u64,
    /// The disk has room at least until so many of them.
    room_until_bytes: u64,
    /// Next sequence number in the current milestone interval.
    sequence: u32,
}

impl Store {
    /// A handle for reading.
    pub fn reader(&self) -> Reader {
        Reader::new(self.epochs.clone(), self.ledger.clone(), self.confirmed.clone())
    }

    /// Whether there is no room for another block of a client: the disk is full, or too much waits for the
    /// next milestone.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn is_full(&mut self) -> Result<bool, Error> {
        if self.uncommitted_bytes < self.room_until_bytes {
            return Ok(false);
        }
        let full = self.uncommitted_bytes >= MAX_UNCOMMITTED_BYTES || self.space.is_low()?;
        self.room_until_bytes = if full { 0 } else { self.uncommitted_bytes + LOOK_EVERY_BYTES };
        Ok(full)
    }

    /// Keeps a block: readable at once, durable with the next commit or [`Store::sync_journal`].
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn put_block(&mut self, id: &BlockId, bytes: &[u8], acknowledged: bool) -> Result<(), Error> {
        let key = BlockKey { interval: self.confirmed.get().next(), sequence: self.sequence };
        self.active.put_block(key, id, bytes)?;
        self.sequence += 1;
        self.active_bytes += bytes.len() as u64;
        self.uncommitted_bytes += bytes.len() as u64;
        if acknowledged {
            self.journal.append(bytes)?;
        }
        Ok(())
    }

    /// Acknowledges a block of before [`Store::recover`], which gives it back: the milestone of an imported snapshot.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn bring(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        self.journal.append(&bytes)?;
        self.journal.sync()?;
        self.acknowledged.push(bytes);
        Ok(())
    }

    /// Makes every acknowledged block durable: one fsync for all that were put since the last.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync_journal(&mut self) -> Result<(), Error> {
        self.journal.sync()
    }

    /// Makes a confirmed milestone and everything before it durable. Then, and only then, may it be told.
    ///
    /// # Errors
    /// [`Error::Io`]; the store must not be used any more.
    pub fn commit(&mut self, confirmation: &Confirmation) -> Result<(), Error> {
        let index = confirmation.stamp.index;
        self.make_room()?;
        // All are looked up before the first is written: nothing is left half done when that fails.
        let mut references = Vec::with_capacity(confirmation.referenced.len());
        for (white_flag_index, referenced) in (0..).zip(&confirmation.referenced) {
            let reference = Reference { milestone: index, white_flag_index, inclusion: referenced.inclusion };
            references.extend(self.block_key(&referenced.id)?.map(|key| (key, reference)));
        }
        for (key, reference) in references {
            self.active.put_reference(key, reference)?;
        }
        self.active.put_milestone(confirmation)?;
        let delta = &confirmation.delta;
        self.active.put_delta(index, delta, self.treasury)?;
        self.active.commit(index)?;
        // Ledger and index change together for whoever reads both.
        let change = self.ledger.change();
        self.ledger.apply(index, delta, confirmation.schedule.as_ref())?;
        self.treasury = delta.treasury.unwrap_or(self.treasury);
        if let Some(schedule) = &confirmation.schedule {
            self.keep_living(schedule);
        }
        self.confirmed.set(index);
        drop(change);
        self.head.write(index)?;
        self.ledger.flush_at_times(index)?;
        self.journal.clear()?;
        (self.uncommitted_bytes, self.room_until_bytes) = (0, 0);
        self.sequence = 0;
        self.active_milestones += 1;
        let (most, milestones) = (self.space.epoch_bytes(EPOCH_BYTES), self.limits.epoch_milestones());
        if self.active_bytes >= most || self.active_milestones >= milestones {
            self.rotate()?;
        } else if self.active_bytes >= most / 8 * 7
            || self.active_milestones >= milestones - milestones.div_ceil(8)
        {
            let (number, manner) = (self.active_number + 1, self.manner());
            self.ahead.prepare(|| Epoch::new(&self.folder, number, manner))?;
        }
        self.prune()
    }

    fn block_key(&self, id: &BlockId) -> Result<Option<BlockKey>, Error> {
        match self.active.block_key(id)? {
            Some(key) => Ok(Some(key)),
            None => self.reader().block_key(id),
        }
    }

    /// From now on, room is held back for a disk that somebody fills to the last byte: a sixteenth of it, 16 MiB at most.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn carry_ballast(&mut self) -> Result<(), Error> {
        self.carries_ballast = true;
        ballast::lay(&self.folder, &self.space)
    }

    /// Gives the ballast back, if somebody filled the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn make_room(&self) -> Result<(), Error> {
        if self.carries_ballast { ballast::give_back(&self.folder, &self.space) } else { Ok(()) }
    }

    /// From now on, nothing is pruned that a damaged ledger would be made again from, as long as there is room.
    pub fn hold_to(&mut self, anchor: Anchor) {
        self.anchor = anchor;
    }

    /// Nothing is pruned that new blocks may stand on under these parameters.
    pub fn keep_living(&mut self, schedule: &Schedule) {
        let living = u32::from(schedule.active.below_max_depth) + 5;
        self.limits.live_milestones = self.limits.live_milestones.max(living);
    }

    /// Starts the next epoch, then closes the one that was written to.
    fn rotate(&mut self) -> Result<(), Error> {
        // What the ledger may have to catch up stands in the newest epoch then, which is never pruned.
        self.ledger.flush()?;
        let (number, manner) = (self.active_number + 1, self.manner());
        self.ahead.prepare(|| Epoch::new(&self.folder, number, manner))?;
        let Some(made) = self.ahead.take() else { return Ok(()) };
        let (epoch, handles) = made?;
        let sealed = self.epochs.change(|epochs| {
            let sealed = epochs.last().cloned();
            epochs.push(epoch);
            sealed
        });
        self.active = handles;
        self.active_number = number;
        self.active_bytes = 0;
        self.active_milestones = 0;
        if self.carries_ballast {
            ballast::lay(&self.folder, &self.space)?;
        }
        if let Some(sealed) = sealed {
            seal_beside(vec![sealed])?;
        }
        Ok(())
    }

    fn manner(&self) -> Manner {
        Manner { cache_bytes: self.limits.cache_bytes, suspects: self.suspects.clone() }
    }

    /// Drops the oldest epochs as long as the others hold enough milestones; with less when there are too many of them
    /// or the disk is full, but never what the living part of the Tangle needs. The newest two stay. What is after the anchor
    /// waits for a snapshot, until most of the reserve is gone, too.
    fn prune(&mut self) -> Result<(), Error> {
        loop {
            let epochs = self.epochs.all();
            let [oldest, second, _, ..] = epochs.as_slice() else { return Ok(()) };
            let Some(first_kept) = second.first_milestone()? else { return Ok(()) };
            let kept = self.confirmed.get().0.saturating_sub(first_kept.0) + 1;
            let enough = kept >= self.limits.keep_milestones;
            let too_many = epochs.len() > MAX_EPOCHS;
            let spare = kept > self.limits.live_milestones && (enough || too_many || self.space.is_low()?);
            if !spare {
                return Ok(());
            }
            if !self.anchor.lets_go(MilestoneIndex(first_kept.0.saturating_sub(1)))
                && epochs.len() < FAR_TOO_MANY_EPOCHS
                && !self.space.is_nearly_full()?
            {
                return Ok(());
            }
            self.epochs.change(|epochs| epochs.remove(0));
            oldest.remove()?;
        }
    }

    /// Newest milestone index whose data are gone; that of the snapshot that the ledger began with, or 0, when nothing
    /// was pruned.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn pruning_index(&self) -> Result<MilestoneIndex, Error> {
        match self.reader().first_milestone()? {
            Some(first) => Ok(MilestoneIndex(first.0.saturating_sub(1))),
            None => Ok(self.ledger.base()?.map_or(MilestoneIndex(0), |base| base.target.index)),
        }
    }
}

/// Seals epochs from a thread of its own; until that is done, they are looked at themselves.
fn seal_beside(epochs: Vec<Arc<Epoch>>) -> Result<(), Error> {
    let Some(folder) = epochs.first().map(|epoch| epoch.path().to_path_buf()) else { return Ok(()) };
    let run = move || {
        for epoch in epochs {
            match epoch.seal() {
                // Whoever needs more of it opens it again.
                Ok(()) => epoch.close(),
                Err(error) => tracing::warn!(%error, "epoch not sealed"),
            }
        }
    };
    let spawned = std::thread::Builder::new().name("seal".into()).spawn(run);
    spawned.map(drop).map_err(Error::io("sealing epoch", &folder))
}
