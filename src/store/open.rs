//! Opening: what a power cut left is tidied up, and the newest committed milestone is found.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::ahead::Ahead;
use super::ballast;
use super::epoch::{Epoch, Manner};
use super::head::Head;
use super::journal::Journal;
use super::keys::BlockKey;
use super::ledger::Ledger;
use super::reader::Reader;
use super::seal::Seal;
use super::space::Space;
use super::suspects::Suspects;
use super::{Anchor, Confirmed, Epochs, Error, Limits, Store, mend, prune, seal_beside};
use crate::files;
use crate::ledger::Booked;
use crate::ledger::treasury::Treasury;
use crate::protocol::id::{BlockId, MilestoneIndex, OutputId};
use crate::protocol::milestone::Milestone;
use crate::protocol::milestone::MilestoneStamp;
use crate::protocol::pack::Reader as Bytes;
use crate::protocol::params::Schedule;
use crate::protocol::{blake2b_256, block, hex};
use crate::snapshot::{Base, load};

/// Version of the layout described in [`super`] and [`super::keys`].
const FORMAT: u32 = 3;

/// Made by an orderly stop.
const STOPPED: &str = "stopped";

/// Unreferenced blocks that are taken back into memory at a start, in bytes.
const MAX_REPLAY_BYTES: usize = 16 << 20;

/// A milestone as the store has it.
#[derive(Debug, Clone)]
pub struct StoredMilestone {
    /// The block that carried it.
    pub block_id: BlockId,
    /// Its payload with the type number (TIP-29).
    pub payload: Vec<u8>,
    /// Parsed.
    pub milestone: Milestone,
}

impl StoredMilestone {
    pub(super) fn parse(block_id: BlockId, payload: Vec<u8>) -> Option<Self> {
        let mut bytes = Bytes::new(&payload);
        bytes.u32("payload.type").ok()?;
        let milestone = Milestone::parse(&mut bytes).ok()?;
        Some(Self { block_id, milestone, payload })
    }

    /// Id, index and time.
    pub fn stamp(&self) -> MilestoneStamp {
        self.milestone.essence.stamp()
    }
}

/// What the store held when it was opened.
#[derive(Debug)]
pub struct Recovered {
    /// The newest committed milestone; none when that is the snapshot's.
    pub confirmed: Option<StoredMilestone>,
    /// The snapshot that the ledger began with.
    pub base: Base,
    /// What the treasury holds.
    pub treasury: Treasury,
    /// Protocol parameters in force, and to come.
    pub schedule: Schedule,
    /// Blocks of the last intervals that no milestone references, in order of arrival.
    pub unreferenced: Vec<Vec<u8>>,
    /// Blocks acknowledged after the last commit, in order; some may be among the former.
    pub journal: Vec<Vec<u8>>,
}

/// An import into an empty store, before [`Store::found`].
impl load::Target for Store {
    type Error = Error;

    fn insert(&mut self, output: Booked) -> Result<bool, Error> {
        self.ledger.insert(&output)
    }

    fn remove(&mut self, id: &OutputId) -> Result<bool, Error> {
        self.ledger.remove(id)
    }
}

impl Store {
    /// Opens or creates the store in `folder`. Until [`Store::recover`] it must not be used for anything but
    /// an import.
    ///
    /// # Errors
    /// [`Error::Foreign`] when the folder belongs to another network; [`Error::Io`]; [`Error::Damaged`].
    pub fn open(folder: &Path, network: &str, limits: Limits) -> Result<Self, Error> {
        Self::open_watched(folder, network, limits, &Suspects::of(folder))
    }

    /// The same; damage is told to `suspects`, then and later.
    ///
    /// # Errors
    /// As above.
    pub fn open_watched(
        folder: &Path,
        network: &str,
        limits: Limits,
        suspects: &Suspects,
    ) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::io("creating", folder))?;
        folder.parent().map_or(Ok(()), files::sync_folder).map_err(Error::io("syncing", folder))?;
        if !limits.keeps_everything() {
            mend::put_wrong_kinds_aside(folder)?;
        }
        let format = Format::check(folder, network)?;
        let space = Space::of(folder)?;
        let mut numbers = tidy(folder, &space, limits)?;
        if numbers.is_empty() {
            numbers.push(mend::next_number(folder)?);
        }
        let manner = Manner { cache_bytes: limits.cache_bytes, suspects: suspects.clone() };
        let epochs = numbers
            .iter()
            .map(|number| Arc::new(Epoch::new(folder, *number, manner.clone())))
            .collect::<Vec<_>>();
        let (newest, closed) = epochs
            .split_last()
            .ok_or_else(|| Error::Damaged { path: folder.to_path_buf(), record: "list of epochs" })?;
        let unsealed = closed.iter().filter(|epoch| !epoch.recall_seal()).cloned().collect::<Vec<_>>();
        // It was closed once, when what came after it is gone since.
        let closed_at = Seal::load(newest.path()).map(|seal| seal.marker);
        let active = newest.create()?;
        let newest_is_whole = match closed_at {
            Some(closed_at) if closed_at != active.marker()? => return Err(active.damaged("end")),
            closed_at => closed_at.is_some(),
        };
        let active_number = newest.number();
        check_chain(&epochs, suspects)?;
        seal_beside(unsealed)?;
        let (journal, acknowledged) = Journal::open(folder)?;
        let committed = newest_marker(&epochs)?.is_some();
        let ledger = Ledger::open(&folder.join("ledger"), committed, suspects)?;
        format.settle(folder, network, &ledger)?;
        Ok(Self {
            folder: folder.to_path_buf(),
            limits,
            suspects: suspects.clone(),
            epochs: Epochs::new(epochs),
            active,
            active_number,
            active_bytes: 0,
            active_milestones: 0,
            ahead: Ahead::default(),
            journal,
            head: Head::open(folder)?,
            stopped_in_order: take_stopped_in_order(folder, limits)?,
            newest_is_whole,
            acknowledged,
            treasury: ledger.treasury()?.unwrap_or(Treasury::EMPTY),
            ledger,
            space,
            carries_ballast: false,
            anchor: Anchor::none(),
            confirmed: Confirmed::default(),
            uncommitted_bytes: 0,
            room_until_bytes: 0,
            sequence: 0,
        })
    }

    /// Whether there is no ledger yet, so that a snapshot has to be imported.
    ///
    /// # Errors
    /// [`Error`] when the store cannot be read.
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.ledger.marker()?.is_none())
    }

    /// Ends an import: what was put in is the ledger at this base. All of it lasts or, when power fails before the end,
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn found(&mut self, base: &Base) -> Result<(), Error> {
        self.treasury = base.treasury;
        self.ledger.found(base)
    }

    /// Brings ledger and epochs together and says where the node goes on. `replay_depth` is how many intervals of
    /// unreferenced blocks are wanted back. Costs a scan of those intervals, and the diffs that the ledger is behind.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Damaged`], also when nothing was imported.
    pub fn recover(&mut self, replay_depth: u32) -> Result<Recovered, Error> {
        let reader = self.reader();
        let base = self.ledger.base()?.ok_or_else(|| self.active.damaged("ledger beside its blocks"))?;
        let newest = reader.newest_marker()?;
        self.confirmed.set(newest.unwrap_or(base.target.index));
        self.check_head()?;
        self.catch_up(&reader)?;
        self.check_living(&reader, &base)?;
        self.ledger.verify(self.stopped_in_order)?;
        let confirmed = match newest {
            Some(index) => {
                let found = reader.milestone(index)?;
                Some(found.ok_or_else(|| self.active.damaged("milestone of the marker"))?)
            }
            None => None,
        };
        // The epoch goes on where the last run left it.
        self.active_bytes = self.active.disk_bytes()?;
        let begun = self.active.first_milestone()?.map(|first| first.0);
        self.active_milestones = begun.map_or(0, |first| self.confirmed.get().0.saturating_sub(first) + 1);
        let first = MilestoneIndex(self.confirmed.get().0.saturating_sub(replay_depth));
        let keys = reader.block_keys_from(first)?;
        let next = self.confirmed.get().next();
        let newest = keys.last().filter(|key| key.interval == next);
        self.sequence = newest.map_or(0, |key| key.sequence + 1);
        let unreferenced = unreferenced(&reader, &keys)?;
        let journal = std::mem::take(&mut self.acknowledged);
        // In the store before anything is replayed: a commit while that goes on empties the journal.
        for bytes in &journal {
            let id = block::id_of(bytes);
            if reader.block_key(&id)?.is_none() {
                self.put_block(&id, bytes, false)?;
            }
        }
        let schedule = self.schedule()?;
        Ok(Recovered { confirmed, base, treasury: self.treasury, schedule, unreferenced, journal })
    }

    /// Protocol parameters in force, and to come.
    ///
    /// # Errors
    /// [`Error`] when the store cannot be read, or is empty.
    pub fn schedule(&self) -> Result<Schedule, Error> {
        self.ledger.schedule()?.ok_or_else(|| self.active.damaged("protocol parameters of the ledger"))
    }

    /// Of what the file `head` knows, the epochs must not lack anything.
    fn check_head(&self) -> Result<(), Error> {
        let (head, confirmed) = (self.head.read(), self.confirmed.get());
        if head <= confirmed {
            return Ok(());
        }
        // An orderly stop leaves both flushed: it is the file that is wrong.
        let agreed = self.stopped_in_order && self.ledger.marker()? == Some(confirmed);
        if !agreed && !self.newest_is_whole {
            // Any that was not closed may have lost its end.
            let epochs = self.epochs.all();
            let open = epochs.iter().filter(|epoch| epoch.sealed().is_none());
            let parts = open.map(|epoch| epoch.path().to_path_buf()).collect();
            return Err(Error::Behind { path: self.folder.clone(), confirmed, told: head, parts });
        }
        tracing::warn!(told = head.0, confirmed = confirmed.0, "the store ends before what was told of it");
        if self.limits.keeps_everything() { Ok(()) } else { self.head.write(confirmed) }
    }

    /// Applies to the ledger what only the epochs have.
    fn catch_up(&mut self, reader: &Reader) -> Result<(), Error> {
        let confirmed = self.confirmed.get();
        let mut applied = self.ledger.marker()?.unwrap_or(confirmed);
        if applied > confirmed {
            return Err(self.gap(applied, "the blocks end before"));
        }
        while applied < confirmed {
            applied = applied.next();
            let delta = reader.delta(applied)?;
            let both = delta.zip(reader.milestone(applied)?);
            let before = MilestoneIndex(applied.0 - 1);
            let (delta, milestone) =
                both.ok_or_else(|| self.gap(before, "what the next milestone did is not there"))?;
            let announced = milestone.milestone.essence.options.parameters();
            let mut schedule = self.schedule()?;
            let changed = schedule.confirm(applied, announced);
            let changed = changed.map_err(|_| self.active.damaged("protocol parameters"))?;
            self.ledger.apply(applied, &delta, changed.then_some(&schedule))?;
            self.ledger.flush_at_times(applied)?;
            self.treasury = delta.treasury.unwrap_or(self.treasury);
        }
        Ok(())
    }

    /// Makes everything durable that waits, so that the next start need not look for what is missing.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn close(mut self) -> Result<(), Error> {
        self.ahead.give_up()?;
        self.ledger.flush()?;
        let path = self.folder.join(STOPPED);
        files::write_atomic(&path, b"", 0o644).map_err(Error::io("writing", &path))
    }

    /// New blocks may stand on those of the last milestones: they are there, or the ledger began after them.
    fn check_living(&self, reader: &Reader, base: &Base) -> Result<(), Error> {
        let confirmed = self.confirmed.get();
        let Some(first) = reader.first_milestone()? else { return Ok(()) };
        let kept = confirmed.0.saturating_sub(first.0) + 1;
        if base.target.index.next() >= first || kept >= self.limits.live_milestones {
            return Ok(());
        }
        Err(self.gap(confirmed, "the blocks that new ones may stand on are not there"))
    }

    fn gap(&self, ledger: MilestoneIndex, lacks: &'static str) -> Error {
        Error::Gap { path: self.folder.clone(), ledger, lacks }
    }
}

/// What closed epochs say of themselves must fit together: one that lost its end is noticed here.
fn check_chain(epochs: &[Arc<Epoch>], suspects: &Suspects) -> Result<(), Error> {
    let newest = epochs.last().map(|epoch| epoch.number());
    for pair in epochs.windows(2) {
        let [epoch, next] = pair else { continue };
        // Those without a seal are looked at when they are opened.
        let Some(last) = epoch.sealed().and_then(|seal| seal.marker) else { continue };
        let is_newest = Some(next.number()) == newest;
        let first = if is_newest || next.sealed().is_some() { next.first_milestone()? } else { None };
        if first.is_some_and(|first| first != last.next()) {
            let error = Error::Damaged { path: epoch.path().to_path_buf(), record: "end" };
            suspects.judge(epoch.path(), &error);
            return Err(error);
        }
    }
    Ok(())
}

/// The newest epoch may be empty still.
fn newest_marker(epochs: &[Arc<Epoch>]) -> Result<Option<MilestoneIndex>, Error> {
    epochs.iter().rev().find_map(|epoch| epoch.marker().transpose()).transpose()
}

/// The newest blocks that no milestone references, in order of arrival, up to [`MAX_REPLAY_BYTES`].
fn unreferenced(reader: &Reader, keys: &[BlockKey]) -> Result<Vec<Vec<u8>>, Error> {
    let (mut blocks, mut bytes) = (Vec::new(), 0);
    for key in keys.iter().rev() {
        if reader.reference_of(*key)?.is_some() {
            continue;
        }
        let Some(block) = reader.block_at(*key)? else { continue };
        bytes += block.len();
        if bytes > MAX_REPLAY_BYTES {
            tracing::warn!(
                "more unreferenced blocks than are worth taking back; the older ones stay as they are"
            );
            break;
        }
        blocks.push(block);
    }
    blocks.reverse();
    Ok(blocks)
}

/// Deletes what a pruning left behind, and the oldest epochs while the disk is full: opening an epoch takes
/// room, too. Lists the epochs, oldest first.
fn tidy(folder: &Path, space: &Space, limits: Limits) -> Result<Vec<u32>, Error> {
    let delete = |path: &Path| fs::remove_dir_all(path).map_err(Error::io("deleting", path));
    ballast::give_back(folder, space)?;
    let (mut numbers, mut ready) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(Error::io("listing", folder))? {
        let entry = entry.map_err(Error::io("listing", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Half of a copy is none.
        if numbered(&name, 'x').is_some() || numbered(&name, 'c').is_some() {
            delete(&entry.path())?;
        }
        numbers.extend(numbered(&name, 'e'));
        ready.extend(numbered(&name, 'n'));
    }
    numbers.sort_unstable();
    for number in ready {
        let (older, own): (Vec<_>, Vec<_>) = numbers.iter().partition(|other| **other < number);
        prune::finish(folder, number, &older)?;
        numbers = own;
        numbers.retain(|other| *other != number);
        numbers.insert(0, number);
    }
    // A gap: what is before it is of no use.
    if let Some(at) = (1..numbers.len()).rev().find(|at| numbers[*at] != numbers[at - 1] + 1) {
        if limits.keeps_everything() {
            return Err(Error::Damaged {
                path: folder.to_path_buf(),
                record: "list of epochs: one is missing",
            });
        }
        let older = numbers.drain(..at).collect::<Vec<_>>();
        tracing::error!(?older, "an epoch after these is missing: put aside");
        mend::put_epochs_aside(folder, &older)?;
    }
    if space.is_low()? && !limits.keeps_everything() {
        mend::give_back(folder)?;
    }
    // Whatever the node's own snapshot needs of them: nothing opens without room.
    while holds_living(folder, numbers.get(1..).unwrap_or_default(), limits) && space.is_nearly_full()? {
        let oldest = numbers.remove(0);
        let trash = folder.join(format!("x{oldest:08}"));
        let path = folder.join(format!("e{oldest:08}"));
        fs::rename(&path, &trash).map_err(Error::io("renaming epoch", &path))?;
        files::sync_folder(folder).map_err(Error::io("syncing", folder))?;
        delete(&trash)?;
        tracing::warn!(epoch = oldest, "the disk is full: oldest epoch deleted");
    }
    Ok(numbers)
}

/// Whether these epochs hold what new blocks may stand on, as far as is known without opening one: those that are not sealed, as
/// the newest, do not count. Whoever keeps everything wants all of them.
fn holds_living(folder: &Path, numbers: &[u32], limits: Limits) -> bool {
    let seal = |number: &u32| Seal::load(&folder.join(format!("e{number:08}")))?.milestones;
    let first = numbers.first().and_then(seal).map(|(first, _)| first.0);
    let last = numbers.iter().rev().find_map(seal).map(|(_, last)| last.0);
    let held = first.zip(last).map_or(0, |(first, last)| last.saturating_sub(first) + 1);
    !limits.keeps_everything() && held >= limits.live_milestones
}

/// The number in `e00000001` or `x00000001`.
pub(super) fn numbered(name: &str, letter: char) -> Option<u32> {
    name.strip_prefix(letter).filter(|number| number.len() == 8)?.parse().ok()
}

/// Whether the last run ended in order; it is not known of this one yet. Who only looks leaves the word to the next one.
fn take_stopped_in_order(folder: &Path, limits: Limits) -> Result<bool, Error> {
    let path = folder.join(STOPPED);
    if limits.keeps_everything() {
        return Ok(path.exists());
    }
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("deleting", &path)(error)),
    }
}

/// What the format file says.
#[derive(Debug, PartialEq, Eq)]
enum Format {
    Fits,
    /// There is none, or none whose sum is right.
    Missing,
}

impl Format {
    fn line(network: &str) -> String {
        format!("osmia store {FORMAT}, network {network:?}")
    }

    fn check(folder: &Path, network: &str) -> Result<Self, Error> {
        let path = folder.join("format");
        let wanted = Self::line(network);
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::Missing),
            Err(source) => return Err(Error::Io { doing: "reading", path, source }),
        };
        let mut lines = text.lines();
        let (found, sum) = (lines.next().unwrap_or_default().to_owned(), lines.next());
        let is_old = ["osmia store 1, network \"", "osmia store 2, network \""]
            .iter()
            .any(|old| found.starts_with(old));
        let whole = sum.is_some_and(|sum| sum == Self::sum(&found)) || (sum.is_none() && is_old);
        match whole {
            true if found == wanted => Ok(Self::Fits),
            true => Err(Error::Foreign { path, found, wanted }),
            false => Ok(Self::Missing),
        }
    }

    fn sum(line: &str) -> String {
        hex::encode(&blake2b_256(line.as_bytes()))
    }

    /// Writes a missing one, if the ledger is of this network, too.
    fn settle(self, folder: &Path, network: &str, ledger: &Ledger) -> Result<(), Error> {
        if self == Self::Fits {
            return Ok(());
        }
        let path = folder.join("format");
        let own = ledger.schedule()?.map(|schedule| schedule.active.network_name);
        if let Some(own) = own.filter(|own| own != network) {
            return Err(Error::Foreign { path, found: Self::line(&own), wanted: Self::line(network) });
        }
        let line = Self::line(network);
        let line = format!("{line}\n{}\n", Self::sum(&line));
        files::write_atomic(&path, line.as_bytes(), 0o644).map_err(Error::io("writing", &path))
    }
}
