//! The unspent outputs: a database of its own, which takes scattered changes.
//!
//! It follows the epochs: a milestone's diff is durable there before it is applied here, outputs first, the marker last.
//! This release of sled writes one log in order, so that what a crash leaves is the state of some moment; what is missing
//! is applied again from the epochs. Applying twice changes nothing.
//!
//! | tree | key | value |
//! | --- | --- | --- |
//! | `unspent` | output id, 34 bytes | output (TIP-35, with its id) |
//! | `state` | `marker` | newest milestone applied, u32 BE |
//! | | `treasury` | milestone id, 32 bytes; amount u64 BE |
//! | | `schedule` | protocol parameters, see [`Schedule`] |
//! | | `digest` | how many outputs there are, u64 BE, and the XOR of their hashes, see [`Digest`] |
//! | `base` | `base` | the snapshot that it began with, see [`Base`] |

use std::fs::{self, File};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sled_ledger as sled;

use super::Error;
use super::suspects::Suspects;
use crate::files;
use crate::ledger::treasury::Treasury;
use crate::ledger::{Booked, Delta};
use crate::protocol::blake2b_256;
use crate::protocol::id::{BlockId, MilestoneId, MilestoneIndex, OutputId};
use crate::protocol::milestone::MilestoneStamp;
use crate::protocol::pack::{Reader as Bytes, Writer};
use crate::protocol::params::Schedule;
use crate::snapshot::Base;

const MARKER: &str = "marker";
const TREASURY: &str = "treasury";
const SCHEDULE: &str = "schedule";
const BASE: &str = "base";
const DIGEST: &str = "digest";

/// What the outputs must add up to: this release of sled skips what it cannot read in the middle of its log, without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Digest {
    count: u64,
    /// XOR of BLAKE2b-256 of each: in any order, and back.
    hash: [u8; 32],
}

impl Digest {
    fn add(&mut self, output: &[u8]) {
        self.count += 1;
        self.toggle(output);
    }

    fn take(&mut self, output: &[u8]) {
        self.count = self.count.saturating_sub(1);
        self.toggle(output);
    }

    fn toggle(&mut self, output: &[u8]) {
        for (mine, other) in self.hash.iter_mut().zip(blake2b_256(output)) {
            *mine ^= other;
        }
    }

    fn to_bytes(self) -> Vec<u8> {
        [self.count.to_be_bytes().as_slice(), &self.hash].concat()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (count, hash) = bytes.split_at_checked(8)?;
        Some(Self { count: u64::from_be_bytes(count.try_into().ok()?), hash: hash.try_into().ok()? })
    }
}

/// Outputs that are looked at after every start.
const SMALL: u64 = 100_000;

/// Milestones that are applied between two flushes; the epochs have them all.
const FLUSH_EVERY: u32 = 6;

/// What is longer than a quarter of it would become a file of its own, which this release never makes durable. No page is
/// that long: a leaf holds 16 outputs or so, of 32 KiB at most.
const SEGMENT_BYTES: usize = 4 << 20;

/// Memory for the page cache; twice to four times as much is used in all.
const CACHE_BYTES: u64 = 16 << 20;

fn pack_base(base: &Base) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.u32(base.genesis.0).u32(base.target.index.0).u32(base.target.timestamp);
    writer.bytes(&base.target.id.0).bytes(&base.treasury.milestone.0).u64(base.treasury.amount);
    let schedule = base.schedule.to_bytes();
    writer.count_u32(schedule.len()).bytes(&schedule);
    writer.count_u32(base.entry_points.len());
    for point in &base.entry_points {
        writer.bytes(&point.0);
    }
    writer.into_bytes()
}

fn parse_base(bytes: &[u8]) -> Result<Base, crate::protocol::Error> {
    let mut reader = Bytes::new(bytes);
    let genesis = MilestoneIndex(reader.u32("genesis")?);
    let index = MilestoneIndex(reader.u32("target")?);
    let timestamp = reader.u32("timestamp")?;
    let id = MilestoneId(reader.array("id")?);
    let treasury =
        Treasury { milestone: MilestoneId(reader.array("treasury")?), amount: reader.u64("amount")? };
    let length = reader.u32("schedule length")? as usize;
    let schedule = Schedule::parse(reader.bytes("schedule", length)?)?;
    let count = reader.u32("entry points count")?;
    let points = (0..count).map(|_| reader.array("entry point").map(BlockId)).collect::<Result<_, _>>()?;
    reader.finish("base")?;
    let target = MilestoneStamp { id, index, timestamp };
    Ok(Base { genesis, target, treasury, schedule, entry_points: points })
}

/// The database. Cheap to clone; one thread writes.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    db: sled::Db,
    unspent: sled::Tree,
    state: sled::Tree,
    base: sled::Tree,
    path: PathBuf,
    suspects: Suspects,
    /// Odd while a milestone is applied.
    changes: Arc<AtomicU64>,
    /// Of what an import put in.
    imported: Arc<Mutex<Digest>>,
}

/// A change of the ledger, until it is dropped: meanwhile no [`Ledger::stable`] read ends.
#[derive(Debug)]
pub(super) struct Changing(Arc<AtomicU64>);

impl Drop for Changing {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// How long to wait for the end of a change.
const CHANGES_TAKE: Duration = Duration::from_millis(5);

impl Ledger {
    /// Opens or creates the database. One whose import was not finished is begun anew, unless milestones were `committed`
    /// on top of it: then it is damaged.
    pub(super) fn open(path: &Path, committed: bool, suspects: &Suspects) -> Result<Self, Error> {
        let open = || {
            suspects.opening(Some(path));
            let opened = Self::open_as_is(path, suspects);
            suspects.opening(None);
            opened.inspect_err(|error| suspects.judge(path, error))
        };
        let ledger = open()?;
        let untouched = ledger.unspent.is_empty() && ledger.state.is_empty() && ledger.base.is_empty();
        if ledger.marker()?.is_some() || untouched {
            return Ok(ledger);
        }
        if committed {
            return Err(ledger.damaged("ledger marker"));
        }
        drop(ledger);
        // Renamed first: half a database is none. The name is one that each start clears away.
        let trash = path.with_file_name("x99999999");
        fs::rename(path, &trash).map_err(Error::io("renaming a half imported ledger", path))?;
        path.parent().map_or(Ok(()), files::sync_folder).map_err(Error::io("syncing", path))?;
        fs::remove_dir_all(&trash).map_err(Error::io("deleting a half imported ledger", &trash))?;
        open()
    }

    fn open_as_is(path: &Path, suspects: &Suspects) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(Error::io("creating", path))?;
        remove_unfinished(path)?;
        let db = sled::Config::new()
            .path(path)
            .cache_capacity(CACHE_BYTES)
            .use_compression(false)
            .segment_size(SEGMENT_BYTES)
            // Its own thread collects what is dead; without that the file only grows.
            .flush_every_ms(Some(5_000))
            .open()
            .map_err(|error| failed(path, "opening the ledger", error))?;
        let tree = |name| db.open_tree(name).map_err(|error| failed(path, "opening the ledger", error));
        let ledger = Self {
            unspent: tree("unspent")?,
            state: tree("state")?,
            base: tree("base")?,
            path: path.to_path_buf(),
            suspects: suspects.clone(),
            changes: Arc::default(),
            imported: Arc::default(),
            db,
        };
        files::sync_folder(path).map_err(Error::io("syncing", path))?;
        path.parent().map_or(Ok(()), files::sync_folder).map_err(Error::io("syncing", path))?;
        Ok(ledger)
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(sled::Error) -> Error {
        move |error| {
            let error = failed(&self.path, doing, error);
            self.suspects.judge(&self.path, &error);
            error
        }
    }

    pub(super) fn damaged(&self, record: &'static str) -> Error {
        let error = Error::Damaged { path: self.path.clone(), record };
        self.suspects.judge(&self.path, &error);
        error
    }

    /// Ends an import: what was put in before is the ledger at this base.
    pub(super) fn found(&self, base: &Base) -> Result<(), Error> {
        self.set_treasury(base.treasury)?;
        self.put(SCHEDULE, base.schedule.to_bytes())?;
        let digest = *self.imported.lock().unwrap_or_else(PoisonError::into_inner);
        self.put(DIGEST, digest.to_bytes())?;
        self.base.insert(BASE, pack_base(base)).map_err(self.failed("writing the ledger"))?;
        // What is durable with the marker is whole.
        self.flush()?;
        self.set_marker(base.target.index)?;
        self.flush()
    }

    /// Applies a milestone's diff, the marker last.
    pub(super) fn apply(
        &self,
        index: MilestoneIndex,
        delta: &Delta,
        schedule: Option<&Schedule>,
    ) -> Result<(), Error> {
        let doing = "writing the ledger";
        let mut digest = self.digest()?;
        // In this order: an output may be in both.
        for output in &delta.created {
            let bytes = output.to_bytes();
            digest.iter_mut().for_each(|digest| digest.add(&bytes));
            self.unspent.insert(output.id.pack(), bytes).map_err(self.failed(doing))?;
        }
        for spent in &delta.consumed {
            digest.iter_mut().for_each(|digest| digest.take(&spent.booked.to_bytes()));
            self.unspent.remove(spent.booked.id.pack()).map_err(self.failed(doing))?;
        }
        // All at once: parameters must not come into force twice.
        let mut state = sled::Batch::default();
        if let Some(schedule) = schedule {
            state.insert(SCHEDULE, schedule.to_bytes());
        }
        if let Some(treasury) = delta.treasury {
            state.insert(TREASURY, treasury_value(treasury));
        }
        if let Some(digest) = digest {
            state.insert(DIGEST, digest.to_bytes());
        }
        state.insert(MARKER, index.0.to_be_bytes().to_vec());
        self.state.apply_batch(state).map_err(self.failed("writing the ledger"))
    }

    /// Makes what was applied durable at every so many milestones. Not within a change: readers wait for the end of that.
    pub(super) fn flush_at_times(&self, index: MilestoneIndex) -> Result<(), Error> {
        if index.0.is_multiple_of(FLUSH_EVERY) { self.flush() } else { Ok(()) }
    }

    /// Bytes of its files.
    pub(super) fn disk_bytes(&self) -> Result<u64, Error> {
        self.db.size_on_disk().map_err(self.failed("measuring the ledger"))
    }

    /// An output of an import. Gives whether it was not there before.
    pub(super) fn insert(&self, output: &Booked) -> Result<bool, Error> {
        let bytes = output.to_bytes();
        self.imported.lock().unwrap_or_else(PoisonError::into_inner).add(&bytes);
        let before = self.unspent.insert(output.id.pack(), bytes);
        before.map(|before| before.is_none()).map_err(self.failed("writing the ledger"))
    }

    /// Of an import. Gives whether it was there.
    pub(super) fn remove(&self, id: &OutputId) -> Result<bool, Error> {
        let before = self.unspent.remove(id.pack()).map_err(self.failed("writing the ledger"))?;
        if let Some(bytes) = &before {
            self.imported.lock().unwrap_or_else(PoisonError::into_inner).take(bytes);
        }
        Ok(before.is_some())
    }

    fn digest(&self) -> Result<Option<Digest>, Error> {
        self.get(DIGEST, "digest of the ledger", Digest::parse)
    }

    /// Looks at every output: all that were booked must be there, and no other. After an orderly stop, which lost nothing,
    /// only a ledger of up to [`SMALL`] outputs is looked at. O(outputs); a million takes about a second.
    pub(super) fn verify(&self, stopped_in_order: bool) -> Result<(), Error> {
        let wanted = self.digest()?;
        if stopped_in_order && wanted.is_some_and(|digest| digest.count > SMALL) {
            return Ok(());
        }
        let mut found = Digest::default();
        for entry in self.unspent.iter() {
            let (_, bytes) = entry.map_err(self.failed("reading the ledger"))?;
            found.add(&bytes);
        }
        match wanted {
            // One of before there were digests.
            None => self.put(DIGEST, found.to_bytes()),
            Some(wanted) if wanted == found => Ok(()),
            Some(_) => Err(self.damaged("set of outputs")),
        }
    }

    fn put(&self, key: &str, value: Vec<u8>) -> Result<(), Error> {
        self.state.insert(key, value).map(drop).map_err(self.failed("writing the ledger"))
    }

    fn set_marker(&self, index: MilestoneIndex) -> Result<(), Error> {
        self.put(MARKER, index.0.to_be_bytes().to_vec())
    }

    fn set_treasury(&self, treasury: Treasury) -> Result<(), Error> {
        self.put(TREASURY, treasury_value(treasury))
    }

    /// Makes everything durable: this release's own flush only starts the writing.
    pub(super) fn flush(&self) -> Result<(), Error> {
        self.db.flush().map_err(self.failed("flushing the ledger"))?;
        let file = self.path.join("db");
        File::open(&file).and_then(|file| file.sync_all()).map_err(Error::io("syncing", &file))
    }

    fn get<T>(
        &self,
        key: &str,
        record: &'static str,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let value = self.state.get(key).map_err(self.failed("reading the ledger"))?;
        value.map(|bytes| parse(&bytes).ok_or_else(|| self.damaged(record))).transpose()
    }

    /// The newest milestone applied; `None` before anything was imported.
    pub(super) fn marker(&self) -> Result<Option<MilestoneIndex>, Error> {
        let parse = |bytes: &[u8]| Some(MilestoneIndex(u32::from_be_bytes(bytes.try_into().ok()?)));
        self.get(MARKER, "ledger marker", parse)
    }

    pub(super) fn base(&self) -> Result<Option<Base>, Error> {
        let value = self.base.get(BASE).map_err(self.failed("reading the ledger"))?;
        value.map(|bytes| parse_base(&bytes).map_err(|_| self.damaged("ledger base"))).transpose()
    }

    pub(super) fn schedule(&self) -> Result<Option<Schedule>, Error> {
        self.get(SCHEDULE, "protocol parameters", |bytes| Schedule::parse(bytes).ok())
    }

    pub(super) fn treasury(&self) -> Result<Option<Treasury>, Error> {
        let parse = |bytes: &[u8]| {
            let (milestone, amount) = bytes.split_at_checked(32)?;
            let milestone = MilestoneId(milestone.try_into().ok()?);
            Some(Treasury { milestone, amount: u64::from_be_bytes(amount.try_into().ok()?) })
        };
        self.get(TREASURY, "treasury", parse)
    }

    pub(super) fn unspent(&self, id: &OutputId) -> Result<Option<Booked>, Error> {
        let value = self.unspent.get(id.pack()).map_err(self.failed("reading the ledger"))?;
        value.map(|bytes| self.parse(&bytes)).transpose()
    }

    /// Begins a change; one at a time.
    pub(super) fn change(&self) -> Changing {
        self.changes.fetch_add(1, Ordering::SeqCst);
        Changing(self.changes.clone())
    }

    /// Reads until nothing changed meanwhile.
    pub(super) fn stable<T>(&self, mut read: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        loop {
            let before = self.changes.load(Ordering::SeqCst);
            if before.is_multiple_of(2) {
                let found = read()?;
                if self.changes.load(Ordering::SeqCst) == before {
                    return Ok(found);
                }
            }
            std::thread::sleep(CHANGES_TAKE);
        }
    }

    /// Up to `count` unspent outputs whose ids come after that one, in order.
    pub(super) fn unspent_after(&self, after: Option<OutputId>, count: usize) -> Result<Vec<Booked>, Error> {
        let start = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.pack().to_vec()));
        let range = self.unspent.range::<Vec<u8>, _>((start, Bound::Unbounded));
        let portion = range.take(count).map(|entry| {
            let (_, value) = entry.map_err(self.failed("reading the ledger"))?;
            self.parse(&value)
        });
        portion.collect()
    }

    /// All unspent outputs in order of their ids.
    pub(super) fn all_unspent(&self) -> impl Iterator<Item = Result<Booked, Error>> + '_ {
        self.unspent.iter().map(|entry| {
            let (_, value) = entry.map_err(self.failed("reading the ledger"))?;
            self.parse(&value)
        })
    }

    fn parse(&self, bytes: &[u8]) -> Result<Booked, Error> {
        Booked::parse(&mut Bytes::new(bytes)).map_err(|_| self.damaged("unspent output"))
    }
}

fn treasury_value(treasury: Treasury) -> Vec<u8> {
    [treasury.milestone.0.as_slice(), &treasury.amount.to_be_bytes()].concat()
}

fn failed(path: &Path, doing: &'static str, error: sled::Error) -> Error {
    let source = match error {
        sled::Error::Io(source) => source,
        // Also what it calls a bug of its own: it did not expect such data.
        error @ (sled::Error::Corruption { .. }
        | sled::Error::ReportableBug(_)
        | sled::Error::CollectionNotFound(_)) => {
            std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string())
        }
        error @ sled::Error::Unsupported(_) => std::io::Error::other(error.to_string()),
    };
    Error::Io { doing, path: path.to_path_buf(), source }
}

/// A crash while this release of sled writes its summary of the log leaves a file that it cannot open any more; so may one
/// after it wrote its settings, which it never makes durable. They are the same at each start, and it writes missing ones anew.
fn remove_unfinished(path: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(path).map_err(Error::io("listing", path))? {
        let entry = entry.map_err(Error::io("listing", path))?;
        let name = entry.file_name();
        if name == "conf" || name.to_string_lossy().ends_with(".generating") {
            fs::remove_file(entry.path()).map_err(Error::io("deleting", path))?;
        }
    }
    Ok(())
}
