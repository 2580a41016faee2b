//! One epoch: a sled database in a folder of its own, opened when needed, deleted as a whole.
//!
//! The rules for this release of sled, each found by test or in its source: only one thread uses a handle
//! at a time; nothing is deleted inside an epoch; a closed epoch is reopened for reading at most once; a
//! snapshot without a log must not be opened as it is (see [`guard`]); flushing is ours alone.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::Error;
use super::handles::{Db, Handles, Held, Record, Records, readable_blocks};
use super::ids::Lookup;
use super::metadata::guard;
use super::seal::{Filter, Seal};
use super::suspects::Suspects;
use crate::files;
use crate::protocol::id::MilestoneIndex;

/// Of zstd. Sled makes a new compressor for each leaf that it writes; from level 3 on, clearing its tables costs more time than
/// all else that a block does in the store.
const COMPRESSION: i32 = 1;

/// Records that are read at once.
const PORTION: usize = 256;

/// What all epochs of a store share.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    /// Of sled's page cache of each.
    pub(super) cache_bytes: usize,
    pub(super) suspects: Suspects,
}

/// An epoch's folder and, once something was read, its reading handles.
#[derive(Debug)]
pub(super) struct Epoch {
    path: PathBuf,
    number: u32,
    manner: Manner,
    reading: Mutex<Reading>,
    /// Once it is closed for good, and looked at.
    seal: OnceLock<Seal>,
}

/// The reading side of an epoch.
#[derive(Debug)]
enum Reading {
    /// Opened at the next read.
    Closed,
    Open(Held),
    /// Replaced by a copy of what stays.
    Moved(Arc<Epoch>),
    /// Pruned. Whoever still holds the epoch finds nothing in it; opening would make the folder anew.
    Gone,
}

impl Epoch {
    pub(super) fn new(folder: &Path, number: u32, manner: Manner) -> Self {
        Self::at(folder.join(format!("e{number:08}")), number, manner)
    }

    /// In a folder of another name, until it takes its place.
    pub(super) fn at(path: PathBuf, number: u32, manner: Manner) -> Self {
        Self { path, number, manner, reading: Mutex::new(Reading::Closed), seal: OnceLock::new() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Opens the folder for writing and keeps a handle for reading.
    pub(super) fn create(&self) -> Result<Held, Error> {
        // It was closed once, when what came after it was put aside since.
        Seal::forget(&self.path)?;
        let handles = self.open()?;
        *lock(&self.reading) = Reading::Open(handles.clone());
        Ok(handles)
    }

    fn open(&self) -> Result<Held, Error> {
        let suspects = &self.manner.suspects;
        suspects.opening(Some(&self.path));
        let opened = self.open_checked();
        suspects.opening(None);
        opened.inspect_err(|error| suspects.judge(&self.path, error))
    }

    fn open_checked(&self) -> Result<Held, Error> {
        let io = |source| Error::Io { doing: "opening epoch", path: self.path.clone(), source };
        guard(&self.path)?;
        let config = self.config();
        let db: Db = unlocked(|| config.open()).map_err(io)?;
        let ids = Lookup::of(&self.path, self.seal.get().is_some());
        let handles = Handles::new(db, ids, self.path.clone(), self.manner.suspects.clone());
        let handles = handles.map(Held::new).map_err(io)?;
        handles.fill_empty_trees()?;
        handles.learn_ids()?;
        sync_folders(&self.path)?;
        // A damaged log of sled's ends early, without an error.
        if let Some(seal) = self.seal.get()
            && handles.marker()? != seal.marker
        {
            return Err(Error::Damaged { path: self.path.clone(), record: "end" });
        }
        Ok(handles)
    }

    /// The blocks of a damaged epoch that can be read, see [`readable_blocks`].
    pub(super) fn salvage(&self, from: MilestoneIndex, most_bytes: usize) -> Result<Vec<Vec<u8>>, Error> {
        let io = |source| Error::Io { doing: "opening epoch", path: self.path.clone(), source };
        guard(&self.path)?;
        let config = self.config();
        let db: Db = unlocked(|| config.open()).map_err(io)?;
        let found = readable_blocks(&db, from, most_bytes).map_err(io);
        if !found.as_ref().is_ok_and(|(_, whole)| *whole) {
            // After a read that failed, sled waits for ever for its last flush.
            std::mem::forget(db);
        }
        Ok(found?.0)
    }

    fn config(&self) -> sled::Config {
        sled::Config::new()
            .path(&self.path)
            .cache_capacity_bytes(self.manner.cache_bytes)
            .zstd_compression_level(COMPRESSION)
            // Never by itself (in ten years), and not at each dropped handle either: the commit alone flushes.
            .flush_every_ms(Some(315_360_000_000))
    }

    /// Reads under the epoch's lock; opens the folder first when it is closed.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Handles) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let mut reading = lock(&self.reading);
        if matches!(*reading, Reading::Closed) {
            *reading = Reading::Open(self.open()?);
        }
        let moved = match &*reading {
            Reading::Open(handles) => {
                let _blame = Blame(self);
                return read(handles);
            }
            Reading::Closed | Reading::Gone => return Ok(None),
            Reading::Moved(epoch) => epoch.clone(),
        };
        drop(reading);
        moved.read(read)
    }

    /// Every record of a tree from a key on, in portions: whoever else reads the epoch waits for one of them at most.
    pub(super) fn each(
        &self,
        kind: Records,
        first: &[u8],
        mut take: impl FnMut(&Record) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let portion =
                self.read(|epoch| epoch.records(kind, first, after.as_deref(), PORTION).map(Some))?;
            let portion = portion.unwrap_or_default();
            portion.iter().try_for_each(&mut take)?;
            let Some((key, _)) = portion.into_iter().next_back() else { return Ok(()) };
            after = Some(key);
        }
    }

    /// Takes note of what is known of it, which does not change any more. When that was not kept, it is read: O(its bytes).
    pub(super) fn seal(&self) -> Result<(), Error> {
        if self.recall_seal() {
            return Ok(());
        }
        // Readers go on meanwhile.
        let handles = self.read(|epoch| Ok(Some(Held::new(epoch.clone()))))?;
        handles.map_or(Ok(()), |handles| self.seal_with(&handles))
    }

    /// The same with what its writer knows.
    pub(super) fn seal_with(&self, handles: &Handles) -> Result<(), Error> {
        let marker = handles.marker()?;
        let (milestones, intervals) = (handles.reach(Records::Milestone)?, handles.reach(Records::Block)?);
        let Lookup::Memory(found) = handles.ids() else { return Ok(()) };
        let found = found.read().unwrap_or_else(PoisonError::into_inner);
        let mut ids = Filter::for_ids(found.len());
        found.beginnings().for_each(|beginning| ids.add(beginning));
        // The ids first: a seal says that they are there.
        found.save(&self.path)?;
        let seal = Seal { marker, milestones, intervals, ids };
        seal.save(&self.path)?;
        // Somebody else was faster, with the same.
        let _ = self.seal.set(seal);
        Ok(())
    }

    /// Takes note of that if it was kept: costs a file's reading.
    pub(super) fn recall_seal(&self) -> bool {
        if self.seal.get().is_none()
            && let Some(seal) = Seal::load(&self.path)
        {
            let _ = self.seal.set(seal);
        }
        self.seal.get().is_some()
    }

    pub(super) fn sealed(&self) -> Option<&Seal> {
        self.seal.get()
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
        match self.sealed() {
            Some(seal) => Ok(seal.milestones.map(|(first, _)| first)),
            None => self.read(Handles::first_milestone),
        }
    }

    /// The last milestone committed to this epoch.
    pub(super) fn marker(&self) -> Result<Option<MilestoneIndex>, Error> {
        match self.sealed() {
            Some(seal) => Ok(seal.marker),
            None => self.read(Handles::marker),
        }
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
            source: ErrorKind::AlreadyExists.into(),
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

/// Threads of sled's own may hold the lock of a database a little longer than its last handle.
const LOCKED_FOR: Duration = Duration::from_secs(10);

fn unlocked<T>(mut open: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    let started = Instant::now();
    loop {
        match open() {
            Err(error) if error.kind() == ErrorKind::WouldBlock && started.elapsed() < LOCKED_FOR => {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

/// A reader that panics does so for damage that sled did not expect.
struct Blame<'a>(&'a Epoch);

impl Drop for Blame<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.manner.suspects.add(&self.0.path);
        }
    }
}

/// A reader that panicked left nothing half done: reads change nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
