//! Snapshot files on disk, in a folder of the node: downloaded, written on demand and by
//! themselves, whole after a power cut.
//!
//! | name | what |
//! | --- | --- |
//! | `full_snapshot.bin`, `delta_snapshot.bin` | what the node writes by itself, and what an empty store begins with |
//! | `full_snapshot_N.bin` | written on demand |
//! | `joined_snapshot.bin` | came with a network that is being joined, until the node begins with it |
//! | `full_snapshot_join.bin` | for nodes that join; deleted at start |
//! | `delta_snapshot.undo` | only while the delta is extended in place: header and end as they were before |
//! | `*.sums` | checksums of the first two, see `sums.rs` |
//! | `damaged-…` | one of them that does not fit its checksums; deleted with the next full snapshot |
//! | `*.part`, `*.from` | being downloaded, and from where; gone on with after a start |
//! | `*.tmp` | being written; deleted at start |

pub mod automatic;
pub mod fetch;
pub mod progress;
mod sums;
pub mod web;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Semaphore;

use crate::files::{self, Room};
use crate::protocol::id::MilestoneIndex;
use crate::snapshot::delta::{self, DeltaReader};
use crate::snapshot::full::{self, FullReader};
use crate::store::{Anchor, ExportError, Reader};
use sums::Sums;

const FULL: &str = "full_snapshot.bin";
const DELTA: &str = "delta_snapshot.bin";
const JOIN: &str = "full_snapshot_join.bin";
const UNDO: &str = "delta_snapshot.undo";

/// Milestones between two snapshots for nodes that join.
const JOIN_EVERY: u32 = 100;

/// Why no snapshot was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger at that milestone cannot be told, or not be written.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A snapshot must not take the room that milestones need.
    #[error("less than a tenth of the disk is free, or less than 1 GiB of a large one")]
    NoRoom,
    /// A node that has just begun with a snapshot.
    #[error("no milestone since the snapshot that this node began with")]
    TooSoon,
    /// One at a time.
    #[error("another snapshot is being written")]
    Busy,
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        ExportError::from(error).into()
    }
}

/// The folder; one snapshot is written at a time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keeper {
    folder: PathBuf,
    turn: Arc<Semaphore>,
    anchor: Anchor,
    /// Which mebibyte of the full snapshot is looked at next.
    looked: Arc<AtomicU64>,
}

/// What the files of the node's own say of themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Headers {
    full: full::Header,
    /// One that goes on from there.
    delta: Option<delta::Header>,
}

impl Headers {
    /// The milestone that the files lead to.
    fn reached(&self) -> MilestoneIndex {
        self.delta.map_or(self.full.target.index, |delta| delta.target)
    }
}

impl Keeper {
    /// In this folder, which is made when it is needed. What a power cut left half written is undone; what cannot be is told
    /// and left alone.
    pub fn open(folder: PathBuf) -> Self {
        let anchor = Anchor::at(MilestoneIndex(0));
        let keeper = Self { folder, turn: Arc::new(Semaphore::new(1)), anchor, looked: Arc::default() };
        if let Err(error) = keeper.tidy() {
            tracing::warn!(folder = %keeper.folder.display(), %error, "snapshots not tidied up");
        }
        keeper
    }

    fn tidy(&self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let own = name.starts_with("full_snapshot") || name.starts_with("delta_snapshot");
            if own && (name.ends_with(".tmp") || name == JOIN) && entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
            }
        }
        self.undo()
    }

    /// The files that an empty store begins with, if there are any: the full snapshot, and a delta that goes on from it. Of
    /// another delta, which a power cut may leave when the full snapshot is replaced, nothing is taken.
    pub fn files(&self) -> Option<(PathBuf, Option<PathBuf>)> {
        let (full, delta) = (self.folder.join(FULL), self.folder.join(DELTA));
        let foreign = || Some(read_delta(&delta)?.full_target != read_full(&full)?.target.id);
        let goes_on = delta.exists() && foreign() != Some(true);
        full.exists().then(|| (full.clone(), goes_on.then(|| delta.clone())))
    }

    /// The same, without what does not fit its checksums: that is put aside. A file of another length is another file, which its
    /// owner put there: of that, nothing is known; nor, if he `may` have put `another` there, of one that begins otherwise. O(bytes).
    pub fn whole_files(&self, may_be_another: bool) -> Option<(PathBuf, Option<PathBuf>)> {
        let is_damaged = |name: &str| {
            let path = self.folder.join(name);
            let (kept, length) = (Sums::kept_of(&path), self.bytes(name));
            let begins = |sums: &Sums| File::open(&path).and_then(|file| sums.begins(&file)).unwrap_or(true);
            let speaks = |sums: &Sums| sums.speaks_of(length) && (!may_be_another || begins(sums));
            let damaged = kept.iter().any(speaks) && !self.is_known(name);
            if damaged {
                self.put_aside(name);
            }
            damaged
        };
        let (full, delta) = (is_damaged(FULL), is_damaged(DELTA));
        self.files().filter(|_| !full).map(|(path, led_on)| (path, led_on.filter(|_| !delta)))
    }

    /// Others were taken from elsewhere, and checked: what is known of those before does not hold for them.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn forget_sums(&self) -> io::Result<()> {
        [FULL, DELTA].into_iter().try_for_each(|name| Sums::forget(&self.folder.join(name)))
    }

    /// Whether the node wrote a full snapshot, or began with one, whatever became of it.
    pub fn had_full(&self) -> bool {
        !Sums::kept_of(&self.full_path()).is_empty()
    }

    /// Whether these are the files that the node wrote, or began with. O(bytes).
    pub fn vouches_for_files(&self) -> bool {
        self.files()
            .is_some_and(|(_, delta)| self.is_known(FULL) && (delta.is_none() || self.is_known(DELTA)))
    }

    /// Puts the full snapshot aside: it is damaged.
    pub fn put_full_aside(&self) {
        self.put_aside(FULL);
    }

    /// What cannot be put aside is left out for now, and overwritten by the next snapshot.
    fn put_aside(&self, name: &str) {
        let (path, aside) = (self.folder.join(name), self.folder.join(damaged_name(name)));
        tracing::warn!("{}: damaged, and put aside", path.display());
        let moved = self
            .remove(&damaged_name(name))
            .and_then(|()| fs::rename(&path, &aside))
            .and_then(|()| files::sync_folder(&self.folder));
        if let Err(error) = moved {
            tracing::warn!("{}: cannot be put aside: {error}", path.display());
        }
    }

    /// The node began with what is there: it is known from now on.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn vouch(&self) -> io::Result<()> {
        for name in [FULL, DELTA] {
            let path = self.folder.join(name);
            if path.exists() && !self.is_known(name) {
                Sums::keep(&path, &[&Sums::of(&File::open(&path)?)?])?;
            }
        }
        Ok(())
    }

    fn is_known(&self, name: &str) -> bool {
        self.fitting(name, Sums::fit).is_some()
    }

    /// What is kept of a file that it fits; none, too, when there is no such file, or it cannot be read: that is damage.
    fn fitting(&self, name: &str, fits: impl Fn(&Sums, &File) -> io::Result<bool>) -> Option<Sums> {
        let path = self.folder.join(name);
        let file = File::open(&path).ok()?;
        Sums::kept_of(&path).into_iter().find(|sums| {
            let fit = fits(sums, &file);
            fit.inspect_err(|error| tracing::warn!("{}: {error}", path.display())).unwrap_or(false)
        })
    }

    /// Where the node's own files lead to.
    pub fn anchor(&self) -> Anchor {
        self.anchor.clone()
    }

    /// Finds out where they lead to. What is damaged is put aside; the next snapshot is a full one then. O(their bytes).
    pub fn look(&self, reader: &Reader) {
        if self.whole_files(false).is_some()
            && self.vouches_for_files()
            && let Some(headers) = self.headers(reader)
        {
            self.anchor.reach(headers.reached());
        }
    }

    /// Where a full snapshot has to lie for an empty store to begin with it.
    pub fn full_path(&self) -> PathBuf {
        self.folder.join(FULL)
    }

    /// Writes a full snapshot of that milestone beside the node's own; gives its path when it is on disk.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn create(&self, reader: &Reader, index: MilestoneIndex) -> Result<PathBuf, Error> {
        let _turn = self.turn.try_acquire().map_err(|_| Error::Busy)?;
        self.check_room(Room::spare)?;
        let path = self.folder.join(format!("full_snapshot_{index}.bin"));
        self.write(&path, Room::spare, |file| reader.write_full(index, file).map(drop))?;
        Ok(path)
    }

    /// A full snapshot for nodes that join, `depth` milestones behind the newest, with its milestone: the last one taken for
    /// that, when it is not much older, so that nobody can make this node write all the time, and not soon pruned.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn for_joiners(&self, reader: &Reader, depth: u32) -> Result<File, Error> {
        let _turn = self.turn.try_acquire().map_err(|_| Error::Busy)?;
        let (oldest, newest) = reader.snapshot_targets()?;
        // The milestone that the node itself began at is known by its stamp alone, but for genesis, which has none.
        let first = if oldest.0 == 0 { oldest } else { oldest.next() };
        if first > newest {
            return Err(Error::TooSoon);
        }
        // Who begins there must find the milestones after it, though this node goes on pruning, which it does when it has many.
        let kept = newest.0.saturating_sub(oldest.0);
        let (deepest, usable) = match kept < JOIN_EVERY {
            true => (kept, first),
            false => (kept / 4 * 3, MilestoneIndex(oldest.0 + kept / 8).max(first)),
        };
        let target = MilestoneIndex(newest.0.saturating_sub(depth.min(deepest))).max(first);
        let path = self.folder.join(JOIN);
        let recent = |full: full::Header| {
            let taken = full.target.index;
            taken >= usable && taken.0.saturating_add(JOIN_EVERY) >= target.0
        };
        if !read_full(&path).is_some_and(recent) {
            self.check_room(Room::spare)?;
            self.write(&path, Room::spare, |file| reader.write_full(target, file).map(drop))?;
        }
        Ok(File::open(path)?)
    }

    /// Leads the node's own snapshot on to `target`, by a delta where `sizes` allow it and what is there fits its checksums, of
    /// which each time one more mebibyte of the full snapshot is looked at. Pruning follows: it may use most of the reserve.
    ///
    /// # Errors
    /// Any [`Error`]; the files then lead to where they led before.
    pub fn lead_on(&self, reader: &Reader, target: MilestoneIndex, sizes: Sizes) -> Result<Kind, Error> {
        let _turn = self.turn.try_acquire().map_err(|_| Error::Busy)?;
        self.check_room(Room::spare_of_reserve)?;
        let kind = match self.lead_on_by_delta(reader, target, sizes) {
            Ok(true) => Kind::Delta,
            // History that was pruned before it came into a delta: only a full snapshot can follow.
            Ok(false) | Err(Error::Export(ExportError::Pruned(_))) => {
                self.write_own(FULL, |file| reader.write_full(target, file).map(drop))?;
                // It went on from the full snapshot before; one that a power cut leaves here is ignored.
                for name in [DELTA.to_owned(), damaged_name(FULL), damaged_name(DELTA)] {
                    self.remove(&name)?;
                }
                Kind::Full
            }
            Err(error) => return Err(error),
        };
        self.anchor.reach(target);
        Ok(kind)
    }

    /// Gives whether it could.
    fn lead_on_by_delta(&self, reader: &Reader, target: MilestoneIndex, sizes: Sizes) -> Result<bool, Error> {
        let Some(headers) = self.headers(reader) else { return Ok(false) };
        if headers.reached() >= target || !sizes.allow_delta(self.bytes(FULL), self.bytes(DELTA)) {
            return Ok(false);
        }
        let number = self.looked.fetch_add(1, Ordering::Relaxed);
        if self.fitting(FULL, |sums, file| sums.fit_somewhere(file, number)).is_none() {
            return Ok(false);
        }
        let Some(delta) = headers.delta else {
            let new = delta::Header::new(headers.full.target);
            self.write_own(DELTA, |file| reader.extend_delta(&new, target, file).map(drop))?;
            return Ok(true);
        };
        match self.fitting(DELTA, |sums, file| sums.fit_from(file, delta.entry_points_at)) {
            Some(sums) => self.extend(reader, &delta, &sums, target).map(|()| true),
            None => Ok(false),
        }
    }

    /// What the node's own files say of themselves; `None` when they are of no use for going on: there are none, they
    /// cannot be read, or are of another network or beyond the ledger.
    fn headers(&self, reader: &Reader) -> Option<Headers> {
        let full = read_full(&self.folder.join(FULL))?;
        // The milestone is pruned at times: then the names of the networks must do.
        let stored = reader.milestone(full.target.index).ok()?.map(|stored| stored.stamp());
        let base = reader.base().ok()??;
        let own = match stored {
            Some(stamp) => stamp == full.target,
            None => full.params.network_name == base.schedule.active.network_name,
        };
        if !own || full.target.index > reader.ledger_index() {
            return None;
        }
        let belongs = |delta: &delta::Header| {
            let at_full = delta.full_target == full.target.id;
            at_full && delta.bytes() == self.bytes(DELTA) && delta.target <= reader.ledger_index()
        };
        let delta = read_delta(&self.folder.join(DELTA)).filter(belongs);
        Some(Headers { full, delta })
    }

    /// Extends the delta in place: what is written grows with what is new, not with the file.
    fn extend(
        &self,
        reader: &Reader,
        from: &delta::Header,
        sums: &Sums,
        target: MilestoneIndex,
    ) -> Result<(), Error> {
        let path = self.folder.join(DELTA);
        let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
        let mut undo = from.to_bytes();
        file.seek(SeekFrom::Start(from.entry_points_at))?;
        file.read_to_end(&mut undo)?;
        files::write_atomic(&self.folder.join(UNDO), &undo, 0o644)?;
        let mut guarded = BufWriter::new(self.guarded(&file, Room::spare_of_reserve));
        let written = reader.extend_delta(from, target, &mut guarded).map_err(Error::from);
        // What it still holds after a failure is overwritten.
        drop(guarded);
        let written = written.and_then(|(_, length)| {
            file.set_len(length)?;
            file.sync_all()?;
            Ok(Sums::keep(&path, &[&sums.changed_from(&file, from.entry_points_at)?, sums])?)
        });
        match written {
            Ok(()) => Ok(self.remove(UNDO)?),
            Err(error) => {
                self.undo()?;
                Err(error)
            }
        }
    }

    /// Makes the delta what it was before an extension that did not end.
    fn undo(&self) -> io::Result<()> {
        let undo = match fs::read(self.folder.join(UNDO)) {
            Ok(undo) => undo,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let header = DeltaReader::new(undo.as_slice()).map(|delta| *delta.header());
        if let (Ok(before), Some(end)) = (header, undo.get(delta::Header::BYTES..)) {
            let path = self.folder.join(DELTA);
            // The owner may have put another delta there, or taken it away.
            let now = read_delta(&path).filter(|now| {
                now.full_target == before.full_target && before.entry_points_at <= self.bytes(DELTA)
            });
            if now.is_some() {
                let mut file = OpenOptions::new().write(true).open(&path)?;
                file.write_all(&before.to_bytes())?;
                file.seek(SeekFrom::Start(before.entry_points_at))?;
                file.write_all(end)?;
                file.set_len(before.entry_points_at + end.len() as u64)?;
                file.sync_all()?;
            }
        }
        self.remove(UNDO)
    }

    /// Writes one of the two files that the node keeps for itself.
    fn write_own(
        &self,
        name: &str,
        write: impl FnOnce(&mut BufWriter<Guarded<'_>>) -> Result<(), ExportError>,
    ) -> Result<(), Error> {
        let path = self.folder.join(name);
        let sum = |file: &File| {
            // The beginning says which milestone it is of.
            let before = self.fitting(name, |sums, file| sums.fit_from(file, u64::MAX));
            let new = Sums::of(file)?;
            if path.is_dir() {
                self.put_aside(name);
            }
            Sums::keep(&path, &before.iter().fold(vec![&new], |all, one| [all, vec![one]].concat()))
        };
        self.write_then(&path, Room::spare_of_reserve, write, sum)
    }

    /// Writes a file under a name of its own until it is whole.
    fn write(
        &self,
        path: &Path,
        spare: fn(Room) -> u64,
        write: impl FnOnce(&mut BufWriter<Guarded<'_>>) -> Result<(), ExportError>,
    ) -> Result<(), Error> {
        self.write_then(path, spare, write, |_| Ok(()))
    }

    /// The same; `then` looks at it before it takes its place.
    fn write_then(
        &self,
        path: &Path,
        spare: fn(Room) -> u64,
        write: impl FnOnce(&mut BufWriter<Guarded<'_>>) -> Result<(), ExportError>,
        then: impl FnOnce(&File) -> io::Result<()>,
    ) -> Result<(), Error> {
        fs::create_dir_all(&self.folder)?;
        let temporary = path.with_extension("tmp");
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&temporary)?;
        let mut buffered = BufWriter::new(self.guarded(&file, spare));
        let written = write(&mut buffered).map_err(Error::from).and_then(|()| {
            buffered.flush()?;
            file.sync_all()?;
            then(&file)?;
            fs::rename(&temporary, path)?;
            Ok(files::sync_folder(&self.folder)?)
        });
        if written.is_err() {
            // What is left of it only takes room.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.folder.join(name);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => files::sync_folder(&self.folder),
        }
    }

    /// Length of a file; 0 when there is none.
    fn bytes(&self, name: &str) -> u64 {
        fs::metadata(self.folder.join(name)).map_or(0, |about| about.len())
    }

    fn check_room(&self, spare: fn(Room) -> u64) -> Result<(), Error> {
        let near = self.folder.ancestors().find(|folder| folder.exists());
        match near.map(Room::of).transpose()?.map(spare) {
            Some(0) => Err(Error::NoRoom),
            Some(_) | None => Ok(()),
        }
    }

    fn guarded<'a>(&'a self, file: &'a File, spare: fn(Room) -> u64) -> Guarded<'a> {
        Guarded { file, folder: &self.folder, spare, unchecked: 0 }
    }
}

fn damaged_name(name: &str) -> String {
    format!("damaged-{name}")
}

/// A file that is not written on when there is no room to spare: a snapshot must not take what milestones need.
struct Guarded<'a> {
    file: &'a File,
    folder: &'a Path,
    spare: fn(Room) -> u64,
    /// Bytes since the room was looked at.
    unchecked: u64,
}

/// Bytes between two looks at the room that is left.
const CHECK_EVERY: u64 = 1 << 20;

impl Write for Guarded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.unchecked >= CHECK_EVERY {
            self.unchecked = 0;
            if (self.spare)(Room::of(self.folder)?) == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let written = self.file.write(bytes)?;
        self.unchecked += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Guarded<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// `None` when there is no such file, or it is none.
fn read_full(path: &Path) -> Option<full::Header> {
    let reader = FullReader::new(BufReader::new(File::open(path).ok()?)).ok()?;
    Some(reader.header().clone())
}

fn read_delta(path: &Path) -> Option<delta::Header> {
    let reader = DeltaReader::new(BufReader::new(File::open(path).ok()?)).ok()?;
    Some(*reader.header())
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A full snapshot.
    Full,
    /// A delta that goes on from it.
    Delta,
}

/// When a delta has grown so much that a full snapshot is worth its writing.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// A delta up to this long goes on, in bytes.
    pub small_delta: u64,
    /// So does one up to this part of the full snapshot, in percent.
    pub percent: u64,
}

impl Sizes {
    /// HORNET's `deltaSizeThresholdMinSize` and `deltaSizeThresholdPercentage`.
    pub const HORNET: Self = Self { small_delta: 50_000_000, percent: 50 };

    fn allow_delta(self, full: u64, delta: u64) -> bool {
        delta <= self.small_delta || delta.saturating_mul(100) <= full.saturating_mul(self.percent)
    }
}
