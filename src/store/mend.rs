//! What becomes of damage: the part is put aside, by a rename, and what it held is made again from what is left.
//!
//! | name | what |
//! | --- | --- |
//! | `aside-e…` | a damaged epoch whose readable blocks are to be taken back |
//! | `damaged-…` | what was put aside; deleted when the room is needed |
//!
//! The ledger is made again from the node's own snapshot and the diffs in the epochs. Of an old epoch nothing that is needed
//! is lost: it vanishes with those before it, as by pruning. When the newest is damaged, the ledger goes back to where the
//! others end, or to the snapshot; then the engine gets the blocks that can still be read, and judges and confirms them anew:
//! nothing of a damaged file is believed that is not signed or proven.

use std::fs;
use std::path::Path;

use super::epoch::{Epoch, Manner};
use super::handles::ALL_RECORDS;
use super::head;
use super::ledger::Ledger;
use super::open::numbered;
use super::suspects::{self, Suspects};
use super::{Error, Limits};
use crate::files;
use crate::protocol::id::MilestoneIndex;

const LEDGER: &str = "ledger";

/// Those in the store's folder.
const FILES: [&str; 7] = ["format", "head", "journal", "stopped", "suspect", "crashed", "ballast"];

/// Most bytes of blocks that are taken back from one damaged epoch: as much as one holds.
const MAX_SALVAGE_BYTES: usize = 96 << 20;

/// Whether the last run ended by a fault, so that any part may be damaged.
pub fn has_crashed(folder: &Path) -> bool {
    suspects::crashed(folder)
}

/// Puts the parts aside that are known to be damaged. Says what was done.
///
/// # Errors
/// [`Error::Io`]
pub fn put_aside(folder: &Path, suspects: &Suspects) -> Result<Vec<String>, Error> {
    let parts = suspects.all();
    let is_damaged = |number: &u32| parts.contains(&name(*number));
    let mut done = Vec::new();
    let mut epochs = epochs(folder)?;
    // Newest first: what is left is always without a gap.
    while let Some(newest) = epochs.pop_if(|newest| is_damaged(newest)) {
        put_epochs_aside(folder, &[newest])?;
        done.push(format!("the newest blocks were damaged ({})", name(newest)));
    }
    if let Some(at) = epochs.iter().rposition(is_damaged) {
        put_epochs_aside(folder, &epochs[..=at])?;
        let part = name(epochs[at]);
        done.push(format!("old blocks were damaged ({part}): they are pruned, with what came before"));
    }
    if parts.contains(LEDGER) {
        done.extend(put_ledger_aside(folder, "the ledger was damaged")?);
    }
    suspects.clear()?;
    Ok(done)
}

/// Ledger and epochs do not meet: what can be made again gives way. `fresh`: the ledger was made from the snapshot just now.
///
/// # Errors
/// [`Error::Io`]
pub fn bridge(folder: &Path, fresh: bool) -> Result<Vec<String>, Error> {
    if !fresh {
        let why = "the blocks that are left do not lead up to the ledger";
        return Ok(put_ledger_aside(folder, why)?.into_iter().collect());
    }
    put_epochs_aside(folder, &epochs(folder)?)?;
    Ok(vec!["the blocks do not lead on from the snapshot: all that can be read is judged again".to_owned()])
}

fn put_ledger_aside(folder: &Path, why: &str) -> Result<Option<String>, Error> {
    let ledger = folder.join(LEDGER);
    if !ledger.exists() {
        return Ok(None);
    }
    put(folder, &ledger, "damaged-ledger")?;
    Ok(Some(format!("{why}: it is made again from the newest snapshot and what milestones did since")))
}

pub(super) fn put_epochs_aside(folder: &Path, numbers: &[u32]) -> Result<(), Error> {
    head::forget(folder)?;
    // Oldest first: what is left is always without a gap.
    numbers
        .iter()
        .filter(|number| path(folder, **number).exists())
        .try_for_each(|number| put(folder, &path(folder, *number), &format!("aside-e{number:08}")))
}

fn put(folder: &Path, part: &Path, name: &str) -> Result<(), Error> {
    let place = folder.join(name);
    if place.exists() {
        remove(&place)?;
    }
    fs::rename(part, &place).map_err(Error::io("renaming", part))?;
    files::sync_folder(folder).map_err(Error::io("syncing", folder))
}

fn remove(path: &Path) -> Result<(), Error> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(Error::io("deleting", path))
}

/// Puts aside what is a folder where a file belongs, or a file where a folder does: it is as good as missing.
pub(super) fn put_wrong_kinds_aside(folder: &Path) -> Result<(), Error> {
    for name in names(folder)? {
        let path = folder.join(&name);
        let wrong = match path.is_dir() {
            true => FILES.contains(&name.as_str()),
            false => name == LEDGER || numbered(&name, 'e').is_some(),
        };
        if wrong {
            tracing::error!("{}: of the wrong kind, and put aside", path.display());
            put(folder, &path, &format!("damaged-{name}"))?;
        }
    }
    Ok(())
}

fn name(number: u32) -> String {
    format!("e{number:08}")
}

fn path(folder: &Path, number: u32) -> std::path::PathBuf {
    folder.join(name(number))
}

/// Names in the folder.
fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
        entries => entries.map_err(Error::io("listing", folder))?,
    };
    for entry in entries {
        let name = entry.map_err(Error::io("listing", folder))?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

fn epochs(folder: &Path) -> Result<Vec<u32>, Error> {
    Ok(names(folder)?.iter().filter_map(|name| numbered(name, 'e')).collect())
}

/// Those that wait to be read, oldest first.
fn waiting(folder: &Path) -> Result<Vec<u32>, Error> {
    let names = names(folder)?;
    Ok(names.iter().filter_map(|name| numbered(name.strip_prefix("aside-")?, 'e')).collect())
}

/// The number of the first epoch, when there is none: no other was ever called so.
pub(super) fn next_number(folder: &Path) -> Result<u32, Error> {
    let names = names(folder)?;
    let used = names.iter().filter_map(|name| numbered(name.rsplit('-').next()?, 'e')).max();
    Ok(used.unwrap_or(0) + 1)
}

/// Folders of what was put aside.
pub(super) fn put_aside_names(folder: &Path) -> Result<Vec<String>, Error> {
    let mut names = names(folder)?;
    names.retain(|name| name.starts_with("damaged-") || name.starts_with("aside-"));
    Ok(names)
}

/// Deletes what was put aside: the room is needed.
pub(super) fn give_back(folder: &Path) -> Result<(), Error> {
    for name in put_aside_names(folder)?.iter().filter(|name| name.starts_with("damaged-")) {
        let path = folder.join(name);
        tracing::warn!(path = %path.display(), "deleted: the disk is full");
        remove(&path)?;
    }
    Ok(())
}

/// Looks at every record after a crash of the node: what cannot be read is told to `suspects`. `step` is called on the way.
/// O(bytes on disk).
///
/// # Errors
/// [`Error::Io`] of the surroundings.
pub fn inspect_after_crash(
    folder: &Path,
    limits: Limits,
    suspects: &Suspects,
    step: &dyn Fn(String),
) -> Result<(), Error> {
    if !suspects::crashed(folder) {
        return Ok(());
    }
    tracing::warn!("the last run ended by a fault: looking at everything that is stored");
    let known = |result: Result<(), Error>| match result {
        Err(error) if error.is_damage() => Ok(()),
        other => other,
    };
    for number in epochs(folder)? {
        step(format!("looking at epoch {number} after a crash"));
        known(inspect_epoch(folder, number, limits, suspects, step))?;
    }
    if folder.join(LEDGER).exists() {
        step("looking at the ledger after a crash".to_owned());
        known(inspect_ledger(folder, suspects))?;
    }
    suspects::forget_crash(folder)
}

fn inspect_epoch(
    folder: &Path,
    number: u32,
    limits: Limits,
    suspects: &Suspects,
    step: &dyn Fn(String),
) -> Result<(), Error> {
    let manner = Manner { cache_bytes: limits.cache_bytes, suspects: suspects.clone() };
    let epoch = Epoch::new(folder, number, manner);
    epoch.recall_seal();
    for kind in ALL_RECORDS {
        let mut count = 0_u64;
        epoch.each(kind, &[], |_| {
            count += 1;
            if count.is_multiple_of(10_000) {
                step(format!("looking at epoch {number} after a crash: {count} records"));
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn inspect_ledger(folder: &Path, suspects: &Suspects) -> Result<(), Error> {
    let ledger = Ledger::open(&folder.join(LEDGER), true, suspects)?;
    ledger.all_unspent().try_for_each(|output| output.map(drop))
}

/// Blocks that can still be read in the oldest damaged epoch that waits for it, in order of arrival, from an interval on;
/// `None` when none waits. [`salvaged`] ends it.
///
/// # Errors
/// [`Error::Io`] of the surroundings; the next start may do better.
pub fn salvage(folder: &Path, limits: Limits, from: MilestoneIndex) -> Result<Option<Vec<Vec<u8>>>, Error> {
    let Some(number) = waiting(folder)?.first().copied() else { return Ok(None) };
    let manner = Manner { cache_bytes: limits.cache_bytes, suspects: Suspects::unheard() };
    let epoch = Epoch::at(folder.join(format!("aside-e{number:08}")), number, manner);
    epoch.recall_seal();
    let of_use = |last: Option<MilestoneIndex>| last.is_some_and(|last| last >= from);
    if epoch.sealed().is_some_and(|seal| !of_use(seal.intervals.map(|(_, last)| last))) {
        return Ok(Some(Vec::new()));
    }
    match epoch.salvage(from, MAX_SALVAGE_BYTES) {
        Ok(found) => Ok(Some(found)),
        // This process found the damage: what it holds of the epoch is free when it ends.
        Err(error @ Error::Io { .. }) if error.is_for_now() => Err(error),
        Err(error) => {
            tracing::warn!(%error, "nothing of it can be read");
            Ok(Some(Vec::new()))
        }
    }
}

/// The oldest damaged epoch that waited is done with.
///
/// # Errors
/// [`Error::Io`]
pub fn salvaged(folder: &Path) -> Result<(), Error> {
    let Some(number) = waiting(folder)?.first().copied() else { return Ok(()) };
    let name = format!("aside-e{number:08}");
    put(folder, &folder.join(name), &format!("damaged-e{number:08}"))
}

/// Nothing of what waits is taken back: that was tried, and ended badly.
///
/// # Errors
/// [`Error::Io`]
pub fn give_up_salvage(folder: &Path) -> Result<(), Error> {
    while !waiting(folder)?.is_empty() {
        salvaged(folder)?;
    }
    Ok(())
}

/// Whether a part is stored that blocks may be read from.
///
/// # Errors
/// [`Error::Io`]
pub fn has_waiting(folder: &Path) -> Result<bool, Error> {
    Ok(!waiting(folder)?.is_empty())
}
