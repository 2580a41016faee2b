//! One epoch: a sled database in a folder of its own, opened when needed, deleted as a whole.
//!
//! The rules for this release of sled, each found by test or in its source: only one thread uses a handle
//! at a time; nothing is deleted inside an epoch; a closed epoch is reopened for reading at most once; a
//! snapshot without a log must not be opened as it is (see [`guard`]); flushing is ours alone.

use std::fs::{self, File};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Error;
use super::keys::{self, BlockKey, Reference, milestone_value, split_milestone_value};
use crate::engine::effect::Confirmation;
use crate::files;
use crate::ledger::treasury::Treasury;
use crate::ledger::{Booked, Delta, Spent};
use crate::protocol::id::{BlockId, MilestoneId, MilestoneIndex, OutputId};
use crate::protocol::pack::{Reader as Bytes, Writer};

/// Entries per leaf: small leaves keep the last, half-full one cheap to rewrite.
const LEAF: usize = 16;

type Db = sled::Db<LEAF>;
type Tree = sled::Tree<LEAF>;

/// A database and its trees, for one thread at a time.
#[derive(Clone)]
pub(super) struct Handles {
    db: Db,
    block: Tree,
    index: Tree,
    reference: Tree,
    milestone: Tree,
    milestone_id: Tree,
    created: Tree,
    consumed: Tree,
    spent: Tree,
    treasury: Tree,
    path: PathBuf,
}

impl std::fmt::Debug for Handles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handles").field("path", &self.path).finish_non_exhaustive()
    }
}

/// An epoch's folder and, once something was read, its reading handles.
#[derive(Debug)]
pub(super) struct Epoch {
    path: PathBuf,
    number: u32,
    cache_bytes: usize,
    reading: Mutex<Reading>,
}

/// The reading side of an epoch.
#[derive(Debug)]
enum Reading {
    /// Opened at the next read.
    Closed,
    // sled keeps 59 KB in a database handle itself.
    Open(Box<Handles>),
    /// Replaced by a copy of what stays.
    Moved(Arc<Epoch>),
    /// Pruned. Whoever still holds the epoch finds nothing in it; opening would make the folder anew.
    Gone,
}

impl Epoch {
    pub(super) fn new(folder: &Path, number: u32, cache_bytes: usize) -> Self {
        Self::at(folder.join(format!("e{number:08}")), number, cache_bytes)
    }

    /// In a folder of another name, until it takes its place.
    pub(super) fn at(path: PathBuf, number: u32, cache_bytes: usize) -> Self {
        Self { path, number, cache_bytes, reading: Mutex::new(Reading::Closed) }
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Opens the folder for writing and keeps a handle for reading.
    pub(super) fn create(&self) -> Result<Handles, Error> {
        let handles = self.open()?;
        *lock(&self.reading) = Reading::Open(Box::new(handles.clone()));
        Ok(handles)
    }

    fn open(&self) -> Result<Handles, Error> {
        let io = |source| Error::Io { doing: "opening epoch", path: self.path.clone(), source };
        guard(&self.path)?;
        let db: Db = sled::Config::new()
            .path(&self.path)
            .cache_capacity_bytes(self.cache_bytes)
            // Never by itself (in ten years), and not at each dropped handle either: the commit alone flushes.
            .flush_every_ms(Some(315_360_000_000))
            .open()
            .map_err(io)?;
        let tree = |name: &str| db.open_tree(name).map_err(io);
        let handles = Handles {
            block: tree(keys::BLOCK)?,
            index: tree(keys::INDEX)?,
            reference: tree(keys::REFERENCE)?,
            milestone: tree(keys::MILESTONE)?,
            milestone_id: tree(keys::MILESTONE_ID)?,
            created: tree(keys::CREATED)?,
            consumed: tree(keys::CONSUMED)?,
            spent: tree(keys::SPENT)?,
            treasury: tree(keys::TREASURY)?,
            path: self.path.clone(),
            db,
        };
        handles.fill_empty_trees()?;
        sync_folders(&self.path)?;
        Ok(handles)
    }

    /// Reads under the epoch's lock; opens the folder first when it is closed.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Handles) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let mut reading = lock(&self.reading);
        if matches!(*reading, Reading::Closed) {
            *reading = Reading::Open(Box::new(self.open()?));
        }
        let moved = match &*reading {
            Reading::Open(handles) => return read(handles),
            Reading::Closed | Reading::Gone => return Ok(None),
            Reading::Moved(epoch) => epoch.clone(),
        };
        drop(reading);
        moved.read(read)
    }

    /// Forgets the handles: what sled held in memory for this epoch is free again.
    pub(super) fn close(&self) {
        let mut reading = lock(&self.reading);
        if matches!(*reading, Reading::Open(_)) {
            *reading = Reading::Closed;
        }
    }

    /// The first milestone committed to this epoch.
    pub(super) fn first_milestone(&self) -> Result<Option<MilestoneIndex>, Error> {
        self.read(Handles::first_milestone)
    }

    /// Takes the place of `old`, which is deleted, with what is `ready` in a folder of another name. `announce` tells others
    /// of this one; who reads either meanwhile waits.
    ///
    /// # Errors
    /// [`Error::Io`]; the store must not be used any more, and the next start finishes it.
    pub(super) fn replace(
        self: &Arc<Self>,
        old: &Self,
        ready: &Path,
        announce: impl FnOnce(),
    ) -> Result<(), Error> {
        let mut held = lock(&self.reading);
        announce();
        let rename = || {
            let trash = old.give_up_folder(Reading::Moved(self.clone()))?;
            fs::rename(ready, &self.path).map_err(Error::io("renaming epoch", ready))?;
            self.path.parent().map_or(Ok(()), sync_folder)?;
            Ok(trash)
        };
        let renamed: Result<PathBuf, Error> = rename();
        if renamed.is_err() {
            // Opening would make an empty folder.
            *held = Reading::Gone;
        }
        drop(held);
        Self::unlink(renamed?)
    }

    /// Deletes the epoch.
    pub(super) fn remove(&self) -> Result<(), Error> {
        let trash = self.give_up_folder(Reading::Gone)?;
        self.path.parent().map_or(Ok(()), sync_folder)?;
        Self::unlink(trash)
    }

    /// Renames the folder, so that no half of it can be taken for a whole.
    fn give_up_folder(&self, after: Reading) -> Result<PathBuf, Error> {
        *lock(&self.reading) = after;
        // An earlier one of that number may be on its way out still.
        let names = (0..10).map(|time| self.path.with_file_name(format!("x{time}{:07}", self.number)));
        let trash = names.into_iter().find(|name| !name.exists());
        let trash = trash.ok_or_else(|| Error::Io {
            doing: "deleting what was pruned before of epoch",
            path: self.path.clone(),
            source: std::io::ErrorKind::AlreadyExists.into(),
        })?;
        fs::rename(&self.path, &trash).map_err(Error::io("renaming epoch", &self.path))?;
        Ok(trash)
    }

    fn unlink(trash: PathBuf) -> Result<(), Error> {
        let path = trash.clone();
        // Unlinking may take long on a card; the next start finishes it when power fails meanwhile.
        let spawned = std::thread::Builder::new().name("prune".into()).spawn(move || {
            if let Err(error) = fs::remove_dir_all(&trash) {
                tracing::warn!(path = %trash.display(), %error, "pruned epoch not deleted yet");
            }
        });
        spawned.map(drop).map_err(Error::io("pruning epoch", &path))
    }
}

/// Kinds of records that are copied as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Records {
    Block,
    Milestone,
    MilestoneId,
    Created,
    Consumed,
    Treasury,
    Reference,
}

/// Key and value.
pub(super) type Record = (Vec<u8>, Vec<u8>);

impl Handles {
    fn io(&self, doing: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        Error::io(doing, &self.path)
    }

    pub(super) fn damaged(&self, record: &'static str) -> Error {
        Error::Damaged { path: self.path.clone(), record }
    }

    /// The leaf of an empty tree is nowhere on disk: when sled drops it from its cache, the next read of the
    /// tree never ends. So no tree is left empty. The record sorts last and has no value.
    fn fill_empty_trees(&self) -> Result<(), Error> {
        let trees = [
            &self.block,
            &self.index,
            &self.reference,
            &self.milestone,
            &self.milestone_id,
            &self.created,
            &self.consumed,
            &self.spent,
            &self.treasury,
        ];
        let mut filled = false;
        for tree in trees {
            if tree.is_empty().map_err(self.io("reading"))? {
                tree.insert(keys::FILLER, b"".as_slice()).map_err(self.io("filling"))?;
                filled = true;
            }
        }
        if filled {
            self.db.insert(keys::FILLER, b"".as_slice()).map_err(self.io("filling"))?;
            self.db.flush().map_err(self.io("filling"))?;
        }
        Ok(())
    }

    /// Bytes of its files.
    pub(super) fn disk_bytes(&self) -> Result<u64, Error> {
        self.db.size_on_disk().map_err(self.io("measuring"))
    }

    pub(super) fn put_block(&self, key: BlockKey, id: &BlockId, bytes: &[u8]) -> Result<(), Error> {
        self.block.insert(key.to_bytes(), bytes).map_err(self.io("writing a block to"))?;
        self.index.insert(id.0, key.to_bytes()).map_err(self.io("writing a block to"))?;
        Ok(())
    }

    pub(super) fn put_reference(&self, key: BlockKey, reference: Reference) -> Result<(), Error> {
        let value = reference.to_bytes();
        self.reference.insert(key.to_bytes(), value).map_err(self.io("writing a reference to"))?;
        Ok(())
    }

    pub(super) fn put_milestone(&self, confirmation: &Confirmation) -> Result<(), Error> {
        let index = confirmation.stamp.index.0.to_be_bytes();
        let mut payload = Writer::default();
        confirmation.milestone.pack(&mut payload);
        let value = milestone_value(&confirmation.block_id, &payload.into_bytes());
        self.milestone.insert(index, value).map_err(self.io("writing a milestone to"))?;
        let id = confirmation.stamp.id.0;
        self.milestone_id.insert(id, index).map_err(self.io("writing a milestone to"))?;
        Ok(())
    }

    /// Everything that is needed to apply the milestone to the ledger once more.
    pub(super) fn put_delta(
        &self,
        index: MilestoneIndex,
        delta: &Delta,
        treasury_before: Treasury,
    ) -> Result<(), Error> {
        let doing = "writing a diff to";
        for (number, output) in (0..).zip(&delta.created) {
            let key = keys::numbered(index, number);
            self.created.insert(key, output.to_bytes()).map_err(self.io(doing))?;
        }
        for (number, spent) in (0..).zip(&delta.consumed) {
            let key = keys::numbered(index, number);
            let mut value = Writer::default();
            spent.pack(&mut value);
            self.consumed.insert(key, value.into_bytes()).map_err(self.io(doing))?;
            self.spent.insert(spent.booked.id.pack(), key.as_slice()).map_err(self.io(doing))?;
        }
        if let Some(after) = delta.treasury {
            let mut value = Writer::default();
            for treasury in [treasury_before, after] {
                value.bytes(&treasury.milestone.0).u64(treasury.amount);
            }
            self.treasury.insert(index.0.to_be_bytes(), value.into_bytes()).map_err(self.io(doing))?;
        }
        Ok(())
    }

    /// What a milestone of this epoch did to the ledger.
    pub(super) fn delta(&self, index: MilestoneIndex) -> Result<Delta, Error> {
        let range = keys::numbered(index, 0)..keys::numbered(index.next(), 0);
        let created = self.created.range(range.clone()).map(|entry| {
            let (_, value) = entry.map_err(self.io("reading"))?;
            Booked::parse(&mut Bytes::new(&value)).map_err(|_| self.damaged("created output"))
        });
        let created = created.collect::<Result<_, _>>()?;
        let consumed = self.consumed.range(range).map(|entry| {
            let (_, value) = entry.map_err(self.io("reading"))?;
            self.parse_spent(&value)
        });
        let consumed = consumed.collect::<Result<_, _>>()?;
        Ok(Delta { created, consumed, treasury: self.treasury(index)?.map(|(_, after)| after) })
    }

    /// Ids of what a milestone of this epoch made and spent: both kinds of records begin with one.
    pub(super) fn changes(&self, index: MilestoneIndex) -> Result<(Vec<OutputId>, Vec<OutputId>), Error> {
        let range = keys::numbered(index, 0)..keys::numbered(index.next(), 0);
        let ids = |tree: &Tree| {
            let ids = tree.range(range.clone()).map(|entry| {
                let (_, value) = entry.map_err(self.io("reading"))?;
                let id = value.first_chunk().ok_or_else(|| self.damaged("output"))?;
                Ok(OutputId::from_bytes(id))
            });
            ids.collect::<Result<Vec<_>, Error>>()
        };
        Ok((ids(&self.created)?, ids(&self.consumed)?))
    }

    /// Up to `count` records of a tree whose keys come after that one, or all from `first` on.
    pub(super) fn records(
        &self,
        kind: Records,
        first: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<Record>, Error> {
        let start = after.map_or(Bound::Included(first.to_vec()), |key| Bound::Excluded(key.to_vec()));
        let range = self.tree(kind).range::<Vec<u8>, _>((start, Bound::Excluded(keys::FILLER.to_vec())));
        let portion = range.take(count).map(|entry| {
            let (key, value) = entry.map_err(self.io("reading"))?;
            Ok((key.to_vec(), value.to_vec()))
        });
        portion.collect()
    }

    /// Puts a record of another epoch in as it is.
    pub(super) fn put_record(&self, kind: Records, (key, value): &Record) -> Result<(), Error> {
        let doing = "copying to";
        self.tree(kind).insert(key.as_slice(), value.as_slice()).map_err(self.io(doing))?;
        if kind == Records::Consumed {
            let id =
                value.first_chunk::<{ OutputId::BYTES }>().ok_or_else(|| self.damaged("spent output"))?;
            self.spent.insert(id, key.as_slice()).map_err(self.io(doing))?;
        }
        Ok(())
    }

    fn tree(&self, kind: Records) -> &Tree {
        match kind {
            Records::Block => &self.block,
            Records::Milestone => &self.milestone,
            Records::MilestoneId => &self.milestone_id,
            Records::Created => &self.created,
            Records::Consumed => &self.consumed,
            Records::Treasury => &self.treasury,
            Records::Reference => &self.reference,
        }
    }

    fn parse_spent(&self, value: &[u8]) -> Result<Spent, Error> {
        Spent::parse(&mut Bytes::new(value)).map_err(|_| self.damaged("spent output"))
    }

    /// What the treasury held before and after a milestone that changed it.
    pub(super) fn treasury(&self, index: MilestoneIndex) -> Result<Option<(Treasury, Treasury)>, Error> {
        let Some(value) = self.treasury.get(index.0.to_be_bytes()).map_err(self.io("reading"))? else {
            return Ok(None);
        };
        let mut reader = Bytes::new(&value);
        let mut next = || {
            let milestone = MilestoneId(reader.array("treasury").ok()?);
            Some(Treasury { milestone, amount: reader.u64("treasury").ok()? })
        };
        let both = next().zip(next());
        both.map(Some).ok_or_else(|| self.damaged("treasury"))
    }

    /// Milestones of this epoch that changed the treasury, ascending.
    pub(super) fn treasury_milestones(&self) -> Result<Vec<MilestoneIndex>, Error> {
        let keys = self.treasury.iter().map(|entry| {
            let (key, _) = entry.map_err(self.io("reading"))?;
            Ok(key.as_ref().try_into().map(u32::from_be_bytes).map(MilestoneIndex).ok())
        });
        // The filler is the only key that is no index.
        Ok(keys.collect::<Result<Vec<_>, Error>>()?.into_iter().flatten().collect())
    }

    /// An output that a milestone of this epoch spent, and that milestone.
    pub(super) fn spent(&self, id: &OutputId) -> Result<Option<(Spent, MilestoneIndex)>, Error> {
        let Some(key) = self.spent.get(id.pack()).map_err(self.io("reading"))? else { return Ok(None) };
        let value = self.consumed.get(&key).map_err(self.io("reading"))?;
        let spent = value.ok_or_else(|| self.damaged("spent output"))?;
        let milestone = keys::milestone_of(&key).ok_or_else(|| self.damaged("spent output"))?;
        Ok(Some((self.parse_spent(&spent)?, milestone)))
    }

    /// Writes the marker and flushes: sled makes all trees durable in one atomic step.
    pub(super) fn commit(&self, index: MilestoneIndex) -> Result<(), Error> {
        self.db.insert(keys::MARKER, index.0.to_be_bytes().as_slice()).map_err(self.io("committing to"))?;
        self.db.flush().map_err(self.io("committing to"))?;
        Ok(())
    }

    pub(super) fn marker(&self) -> Result<Option<MilestoneIndex>, Error> {
        let value = self.db.get(keys::MARKER).map_err(self.io("reading"))?;
        value
            .map(|bytes| bytes.as_ref().try_into().map(u32::from_be_bytes).map(MilestoneIndex))
            .transpose()
            .map_err(|_| self.damaged("marker"))
    }

    pub(super) fn block_key(&self, id: &BlockId) -> Result<Option<BlockKey>, Error> {
        let value = self.index.get(id.0).map_err(self.io("reading"))?;
        value.map(|bytes| BlockKey::from_bytes(&bytes).ok_or_else(|| self.damaged("block key"))).transpose()
    }

    pub(super) fn block(&self, key: BlockKey) -> Result<Option<Vec<u8>>, Error> {
        let value = self.block.get(key.to_bytes()).map_err(self.io("reading"))?;
        Ok(value.map(|bytes| bytes.to_vec()))
    }

    /// Keys of all blocks of one interval and later, in order of arrival.
    pub(super) fn block_keys_from(&self, interval: MilestoneIndex) -> Result<Vec<BlockKey>, Error> {
        let start = BlockKey { interval, sequence: 0 }.to_bytes();
        self.block
            .range(start.as_slice()..keys::FILLER)
            .map(|entry| {
                let (key, _) = entry.map_err(self.io("reading"))?;
                BlockKey::from_bytes(&key).ok_or_else(|| self.damaged("block key"))
            })
            .collect()
    }

    pub(super) fn reference(&self, key: BlockKey) -> Result<Option<Reference>, Error> {
        let value = self.reference.get(key.to_bytes()).map_err(self.io("reading"))?;
        value.map(|bytes| Reference::from_bytes(&bytes).ok_or_else(|| self.damaged("reference"))).transpose()
    }

    /// Up to `count` blocks that come after that one in order of arrival and that a milestone references, with that.
    pub(super) fn references_after(
        &self,
        after: Option<BlockKey>,
        count: usize,
    ) -> Result<Vec<(BlockKey, MilestoneIndex)>, Error> {
        let start = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.to_bytes().to_vec()));
        let range = self.reference.range::<Vec<u8>, _>((start, Bound::Excluded(keys::FILLER.to_vec())));
        let portion = range.take(count).map(|entry| {
            let (key, value) = entry.map_err(self.io("reading"))?;
            let key = BlockKey::from_bytes(&key).ok_or_else(|| self.damaged("block key"))?;
            let reference = Reference::from_bytes(&value).ok_or_else(|| self.damaged("reference"))?;
            Ok((key, reference.milestone))
        });
        portion.collect()
    }

    pub(super) fn milestone(&self, index: MilestoneIndex) -> Result<Option<(BlockId, Vec<u8>)>, Error> {
        let value = self.milestone.get(index.0.to_be_bytes()).map_err(self.io("reading"))?;
        value
            .map(|bytes| {
                let (id, payload) = split_milestone_value(&bytes).ok_or_else(|| self.damaged("milestone"))?;
                Ok((id, payload.to_vec()))
            })
            .transpose()
    }

    pub(super) fn milestone_index(&self, id: &MilestoneId) -> Result<Option<MilestoneIndex>, Error> {
        let value = self.milestone_id.get(id.0).map_err(self.io("reading"))?;
        value
            .map(|bytes| bytes.as_ref().try_into().map(u32::from_be_bytes).map(MilestoneIndex))
            .transpose()
            .map_err(|_| self.damaged("milestone index"))
    }

    pub(super) fn first_milestone(&self) -> Result<Option<MilestoneIndex>, Error> {
        let first = self.milestone.first().map_err(self.io("reading"))?;
        first
            .filter(|(key, _)| key.as_ref() != keys::FILLER)
            .map(|(key, _)| key.as_ref().try_into().map(u32::from_be_bytes).map(MilestoneIndex))
            .transpose()
            .map_err(|_| self.damaged("milestone index"))
    }
}

/// A reader that panicked left nothing half done: reads change nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two faults of this release of sled that a crash can leave a folder open to.
///
/// It loses everything at the *second* open after a crash that left a metadata snapshot without a newer log:
/// the first open renames a new snapshot onto the old one and then deletes it (logs that are not newer than
/// the snapshot do not count: it deletes them first). An empty log of the next number avoids it.
///
/// And it refuses to open with a `durability_cookie` that a crash cut short. The cookie only holds the size
/// of a leaf, which never changes here: without it, sled writes a new one.
fn guard(path: &Path) -> Result<(), Error> {
    let cookie = path.join("durability_cookie");
    match fs::remove_file(&cookie) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::Io { doing: "removing", path: cookie, source });
        }
        Ok(()) | Err(_) => {}
    }
    let metadata = path.join("metadata");
    let Ok(entries) = fs::read_dir(&metadata) else { return Ok(()) };
    let names = entries
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(Error::io("listing", &metadata))?;
    let newest = |prefix: &str| {
        let numbers = names.iter().filter_map(|name| name.strip_prefix(prefix));
        numbers.filter_map(|number| u64::from_str_radix(number, 16).ok()).max()
    };
    let Some(snapshot) = newest("snapshot_") else { return Ok(()) };
    if newest("log_").is_none_or(|log| log <= snapshot) {
        let log = metadata.join(format!("log_{:016x}", snapshot + 1));
        File::create(&log).and_then(|file| file.sync_all()).map_err(Error::io("creating", &log))?;
        sync_folder(&metadata)?;
    }
    Ok(())
}

/// sled leaves the entries of its new files to a `sync` program, which a board does not have.
fn sync_folders(path: &Path) -> Result<(), Error> {
    sync_folder(&path.join("metadata"))?;
    sync_folder(&path.join("slabs"))?;
    let cookie = path.join("durability_cookie");
    File::open(&cookie).and_then(|file| file.sync_all()).map_err(Error::io("syncing", &cookie))?;
    sync_folder(path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

fn sync_folder(path: &Path) -> Result<(), Error> {
    files::sync_folder(path).map_err(Error::io("syncing", path))
}
