//! A look at sled's own books of an epoch before sled opens it.
//!
//! This release ends at the first batch of its log that it cannot read, without an error, and goes on with what it has: an
//! old batch with newer ones behind it leaves a hole, which later reads as other records, or never ends. Only the last batch of
//! the last log may be torn, by a power cut: that one was never acknowledged.
//!
//! A batch is its length in 6 bytes LE, 2 bytes of the CRC-32 of these, the content, and the CRC-32 of all before XOR 0xaf.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use flate2::Crc;

use super::Error;
use crate::files;

/// Mends what a crash can leave open, and finds what only damage can.
///
/// - It loses everything at the *second* open after a crash that left a metadata snapshot without a newer log: the first open
///   renames a new snapshot onto the old one and then deletes it (logs that are not newer than the snapshot do not count: it
///   deletes them first). An empty log of the next number avoids it.
/// - It refuses to open with a `durability_cookie` that a crash cut short. The cookie only holds the size of a leaf, which
///   never changes here: without it, sled writes a new one.
///
/// # Errors
/// [`Error::Damaged`], [`Error::Io`]
pub(super) fn guard(path: &Path) -> Result<(), Error> {
    let cookie = path.join("durability_cookie");
    match fs::remove_file(&cookie) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            return Err(Error::Io { doing: "removing", path: cookie, source });
        }
        Ok(()) | Err(_) => {}
    }
    let metadata = path.join("metadata");
    let damaged = |record| Err(Error::Damaged { path: path.to_path_buf(), record });
    let Numbers { mut snapshots, mut logs } = match numbers(&metadata)? {
        Some(found) => found,
        None if has_slabs(path)? => return damaged("folder of metadata"),
        None => return Ok(()),
    };
    snapshots.sort_unstable();
    logs.sort_unstable();
    let Some(snapshot) = snapshots.last().copied() else {
        return if has_slabs(path)? { damaged("snapshot of metadata") } else { Ok(()) };
    };
    let bytes = read(&metadata.join(format!("snapshot_{snapshot:016x}")))?;
    if batch(&bytes) != Some(bytes.len()) {
        return damaged("snapshot of metadata");
    }
    logs.retain(|log| *log > snapshot);
    if logs.is_empty() {
        let log = metadata.join(format!("log_{:016x}", snapshot + 1));
        File::create(&log).and_then(|file| file.sync_all()).map_err(Error::io("creating", &log))?;
        return files::sync_folder(&metadata).map_err(Error::io("syncing", &metadata));
    }
    for (place, log) in (1..).zip(&logs) {
        if *log != snapshot + place {
            return damaged("row of logs");
        }
        let bytes = read(&metadata.join(format!("log_{log:016x}")))?;
        let whole = batches(&bytes);
        let rest = &bytes[whole..];
        let last = place == logs.len() as u64;
        if !rest.is_empty() && (!last || (1..rest.len()).any(|at| batch(&rest[at..]).is_some())) {
            return damaged("log of metadata");
        }
    }
    Ok(())
}

/// Of the files in the folder of metadata.
#[derive(Default)]
struct Numbers {
    snapshots: Vec<u64>,
    logs: Vec<u64>,
}

/// `None` when there is no such folder.
fn numbers(metadata: &Path) -> Result<Option<Numbers>, Error> {
    let entries = match fs::read_dir(metadata) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("listing", metadata)(error)),
    };
    let mut found = Numbers::default();
    for entry in entries {
        let name = entry.map_err(Error::io("listing", metadata))?.file_name();
        let name = name.to_string_lossy();
        let number =
            |prefix| name.strip_prefix(prefix).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        found.snapshots.extend(number("snapshot_"));
        found.logs.extend(number("log_"));
    }
    Ok(Some(found))
}

/// Whether anything was ever written to the epoch.
fn has_slabs(path: &Path) -> Result<bool, Error> {
    let slabs = path.join("slabs");
    let Ok(entries) = fs::read_dir(&slabs) else { return Ok(false) };
    for entry in entries {
        let about = entry.and_then(|entry| entry.metadata()).map_err(Error::io("listing", &slabs))?;
        if about.len() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(Error::io("reading", path))
}

/// Where the whole batches at the beginning end.
fn batches(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(length) = batch(&bytes[at..]) {
        at += length;
    }
    at
}

/// Length of the whole batch at the beginning.
fn batch(bytes: &[u8]) -> Option<usize> {
    let head = bytes.first_chunk::<8>()?;
    let (length, check) = head.split_at(6);
    if crc(length).to_le_bytes()[..2] != *check {
        return None;
    }
    let length = length.iter().rev().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
    let end = usize::try_from(length).ok()?.checked_add(8)?;
    let sum = bytes.get(end..)?.first_chunk::<4>()?;
    ((crc(&bytes[..end]) ^ 0xaf).to_le_bytes() == *sum).then_some(end + 4)
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}
