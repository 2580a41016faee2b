//! Opening: what a power cut left is tidied up, and the newest committed milestone is found.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::epoch::{Epoch, Handles};
use super::journal::Journal;
use super::keys::BlockKey;
use super::ledger::Ledger;
use super::reader::Reader;
use super::space::Space;
use super::{Confirmed, Epochs, Error, Limits, Store, prune};
use crate::files;
use crate::ledger::Booked;
use crate::ledger::treasury::Treasury;
use crate::protocol::block;
use crate::protocol::id::{BlockId, MilestoneIndex, OutputId};
use crate::protocol::milestone::Milestone;
use crate::protocol::milestone::MilestoneStamp;
use crate::protocol::pack::Reader as Bytes;
use crate::protocol::params::Schedule;
use crate::snapshot::{Base, load};

/// Version of the layout described in [`super`] and [`super::keys`].
const FORMAT: u32 = 2;

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
        fs::create_dir_all(folder).map_err(Error::io("creating", folder))?;
        folder.parent().map_or(Ok(()), files::sync_folder).map_err(Error::io("syncing", folder))?;
        check_format(folder, network)?;
        let space = Space::of(folder)?;
        let mut numbers = tidy(folder, &space)?;
        if numbers.is_empty() {
            numbers.push(1);
        }
        let epochs = numbers
            .iter()
            .map(|number| Arc::new(Epoch::new(folder, *number, limits.cache_bytes)))
            .collect::<Vec<_>>();
        let newest = &epochs[epochs.len() - 1];
        let active = newest.create()?;
        let active_number = numbers[numbers.len() - 1];
        let (journal, acknowledged) = Journal::open(folder)?;
        let committed = newest_marker(&epochs)?.is_some();
        let ledger = Ledger::open(&folder.join("ledger"), committed)?;
        Ok(Self {
            folder: folder.to_path_buf(),
            limits,
            epochs: Epochs::new(epochs),
            active,
            active_number,
            active_bytes: 0,
            active_milestones: 0,
            journal,
            acknowledged,
            treasury: ledger.treasury()?.unwrap_or(Treasury::EMPTY),
            ledger,
            space,
            confirmed: Confirmed::default(),
            uncommitted_bytes: 0,
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
        self.catch_up(&reader)?;
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

    /// Applies to the ledger what only the epochs have.
    fn catch_up(&mut self, reader: &Reader) -> Result<(), Error> {
        let confirmed = self.confirmed.get();
        let mut applied = self.ledger.marker()?.unwrap_or(confirmed);
        if applied > confirmed {
            return Err(self.active.damaged("epochs, which end before the ledger does"));
        }
        while applied < confirmed {
            applied = applied.next();
            let delta = reader.delta(applied)?;
            let delta = delta.ok_or_else(|| self.active.damaged("diff that the ledger needs"))?;
            let milestone = reader.milestone(applied)?;
            let milestone =
                milestone.ok_or_else(|| self.active.damaged("milestone that the ledger needs"))?;
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
}

/// The newest epoch may be empty still.
fn newest_marker(epochs: &[Arc<Epoch>]) -> Result<Option<MilestoneIndex>, Error> {
    for epoch in epochs.iter().rev() {
        if let Some(marker) = epoch.read(Handles::marker)? {
            return Ok(Some(marker));
        }
    }
    Ok(None)
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
fn tidy(folder: &Path, space: &Space) -> Result<Vec<u32>, Error> {
    let delete = |path: &Path| fs::remove_dir_all(path).map_err(Error::io("deleting", path));
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
    while numbers.len() > 2 && space.is_low()? {
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

/// The number in `e00000001` or `x00000001`.
fn numbered(name: &str, letter: char) -> Option<u32> {
    name.strip_prefix(letter).filter(|number| number.len() == 8)?.parse().ok()
}

/// Writes the format file of a new folder, compares that of an old one.
fn check_format(folder: &Path, network: &str) -> Result<(), Error> {
    let path = folder.join("format");
    let wanted = format!("osmia store {FORMAT}, network {network:?}");
    match fs::read_to_string(&path) {
        Ok(found) if found.trim_end() == wanted => Ok(()),
        Ok(found) if !found.is_empty() => {
            Err(Error::Foreign { path, found: found.trim_end().to_owned(), wanted })
        }
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Io { doing: "reading", path, source })
        }
        // Only a new folder has none: an epoch is made after it.
        Ok(_) | Err(_) if folder.join("e00000001").exists() => {
            Err(Error::Foreign { path, found: "epochs without a format".to_owned(), wanted })
        }
        Ok(_) | Err(_) => files::write_atomic(&path, format!("{wanted}\n").as_bytes(), 0o644)
            .map_err(Error::io("writing", &path)),
    }
}
