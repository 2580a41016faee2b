//! Pruning to an exact milestone: whole epochs vanish, and the one that the boundary lies in is copied without what is
//! before.
//!
//! The copy is made beside the engine ([`Pruning::run`]): a closed epoch does not change any more. It takes the place of
//! the old one by two renames, which a start after a power cut finishes or undoes: `c…` is the copy, `x…` what is deleted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::epoch::{Epoch, Handles};
use super::keys::BlockKey;
use super::{Error, Reader, Store};
use crate::files;
use crate::protocol::block;
use crate::protocol::id::MilestoneIndex;

/// References that are read at once.
const REFERENCES: usize = 10_000;

/// Why nothing is pruned.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
    /// It is pruned as far already, or further than what must be kept allows.
    #[error("no pruning needed: pruned to {pruned}, wanted {wanted}, possible {possible}")]
    NotNeeded {
        /// The milestone that is pruned last.
        pruned: MilestoneIndex,
        /// What was asked for.
        wanted: MilestoneIndex,
        /// The newest possible.
        possible: MilestoneIndex,
    },
    /// It went on meanwhile in another way.
    #[error("another pruning was faster")]
    Overtaken,
}

/// A pruning that was begun.
#[derive(Debug)]
pub struct Pruning {
    target: MilestoneIndex,
    folder: PathBuf,
    reader: Reader,
    /// Those before the boundary, which vanish.
    before: Vec<Arc<Epoch>>,
    /// The one that it lies in, or that ends there.
    boundary: Option<Arc<Epoch>>,
    cache_bytes: usize,
    /// Unreferenced blocks that arrived in an interval before are too old to be referenced.
    living: MilestoneIndex,
}

impl Pruning {
    /// Copies what is to stay of the boundary's epoch. O(its blocks, and the references of all that stay).
    ///
    /// # Errors
    /// [`Error`]; nothing has changed then.
    pub fn run(mut self) -> Result<Self, Error> {
        let Some(boundary) = self.boundary.take() else { return Ok(self) };
        let path = copy_path(&self.folder, boundary.number());
        remove_folder(&path)?;
        let copy = Epoch::at(path, boundary.number(), self.cache_bytes);
        let handles = copy.create()?;
        boundary.read(|old| old.copy_milestones_after(self.target, &handles).map(Some))?;
        let blocks = self.copy_blocks(&boundary, &handles)?;
        let marker = boundary.read(Handles::marker)?;
        if let Some(marker) = marker {
            handles.commit(marker)?;
        }
        drop(handles);
        copy.close();
        let is_empty = blocks == 0 && marker.is_none_or(|last| last <= self.target);
        if is_empty {
            remove_folder(&copy_path(&self.folder, boundary.number()))?;
            self.before.push(boundary);
        } else {
            self.boundary = Some(boundary);
        }
        Ok(self)
    }

    /// Blocks that a later milestone references, wherever they are, and those that one may reference yet; how many.
    fn copy_blocks(&self, boundary: &Epoch, copy: &Handles) -> Result<u64, Error> {
        let mut count = 0;
        let mut put = |key: BlockKey, bytes: &[u8]| {
            count += 1;
            copy.put_block(key, &block::id_of(bytes), bytes)
        };
        let mut last = None;
        for key in boundary.read(|old| old.block_keys_from(MilestoneIndex(0)).map(Some))?.unwrap_or_default()
        {
            last = Some(key);
            let stays = match self.reader.reference_of(key)? {
                Some(reference) => reference.milestone > self.target,
                None => key.interval > self.living,
            };
            if stays && let Some(bytes) = boundary.read(|old| old.block(key))? {
                put(key, &bytes)?;
            }
        }
        // Of the epochs that vanish, only what was referenced late.
        for epoch in self.reader.epochs_newest_first() {
            let mut after = None;
            loop {
                let portion = epoch.read(|epoch| epoch.references_after(after, REFERENCES).map(Some))?;
                let portion = portion.unwrap_or_default();
                let Some((end, _)) = portion.last() else { break };
                after = Some(*end);
                let late = portion.iter().filter(|(key, milestone)| {
                    *milestone > self.target && last.is_none_or(|last| *key <= last)
                });
                for (key, _) in late {
                    for before in &self.before {
                        if let Some(bytes) = before.read(|before| before.block(*key))? {
                            put(*key, &bytes)?;
                        }
                    }
                }
                if last.is_some_and(|last| *end > last) {
                    break;
                }
            }
        }
        Ok(count)
    }
}

impl Store {
    /// Begins a pruning of everything up to `target`, or as far as what must be kept allows. Readers notice nothing before
    /// [`Store::finish_prune`].
    ///
    /// # Errors
    /// [`PruneError`].
    pub fn begin_prune(&mut self, target: MilestoneIndex) -> Result<Pruning, PruneError> {
        let (pruned, confirmed) = (self.pruning_index()?, self.confirmed.get());
        let possible = MilestoneIndex(confirmed.0.saturating_sub(self.limits.live_milestones));
        if target.min(possible) <= pruned {
            return Err(PruneError::NotNeeded { pruned, wanted: target, possible });
        }
        let target = target.min(possible);
        if self.active.first_milestone()?.is_some_and(|first| first <= target) {
            self.rotate()?;
        }
        let mut before = self.epochs.all();
        before.pop();
        // An epoch reaches to where the next one begins.
        let mut boundary = None;
        while let Some(epoch) = before.pop() {
            if epoch.first_milestone()?.is_some_and(|first| first <= target) {
                boundary = Some(epoch);
                break;
            }
        }
        // A copy takes room: with none left, whole epochs have to do.
        if self.space.is_low()?
            && let Some(epoch) = boundary.take()
            && epoch.read(Handles::marker)?.is_some_and(|last| last <= target)
        {
            before.push(epoch);
        }
        let living = MilestoneIndex(target.0.saturating_sub(self.limits.live_milestones));
        let (folder, reader, cache_bytes) = (self.folder.clone(), self.reader(), self.limits.cache_bytes);
        Ok(Pruning { target, folder, reader, before, boundary, cache_bytes, living })
    }

    /// Ends it: disk space is given back. Gives the milestone that is pruned last.
    ///
    /// # Errors
    /// [`PruneError`].
    pub fn finish_prune(&mut self, pruning: Pruning) -> Result<MilestoneIndex, PruneError> {
        let Pruning { folder, before, boundary, cache_bytes, .. } = pruning;
        let here =
            |epochs: &[Arc<Epoch>], wanted: &Arc<Epoch>| epochs.iter().any(|one| Arc::ptr_eq(one, wanted));
        if let Some(old) = boundary {
            if !here(&self.epochs.all(), &old) {
                remove_folder(&copy_path(&folder, old.number()))?;
                return Err(PruneError::Overtaken);
            }
            let new = Arc::new(Epoch::new(&folder, old.number(), cache_bytes));
            let announce = || {
                self.epochs.change(|epochs| {
                    for epoch in epochs.iter_mut().filter(|one| Arc::ptr_eq(one, &old)) {
                        *epoch = new.clone();
                    }
                });
            };
            new.replace(&old, &copy_path(&folder, old.number()), announce)?;
        }
        for epoch in before {
            if here(&self.epochs.all(), &epoch) {
                self.epochs.change(|epochs| epochs.retain(|one| !Arc::ptr_eq(one, &epoch)));
                epoch.remove()?;
            }
        }
        Ok(self.pruning_index()?)
    }
}

/// Where the copy of an epoch is made.
fn copy_path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("c{number:08}"))
}

fn remove_folder(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("deleting", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What a power cut left of a copy: it stands in for its epoch when that was renamed already, else it is of no use.
pub(super) fn tidy_copy(folder: &Path, number: u32) -> Result<bool, Error> {
    let (copy, epoch) = (copy_path(folder, number), folder.join(format!("e{number:08}")));
    if epoch.exists() {
        remove_folder(&copy)?;
        return Ok(false);
    }
    fs::rename(&copy, &epoch).map_err(Error::io("renaming epoch", &copy))?;
    files::sync_folder(folder).map_err(Error::io("syncing", folder))?;
    Ok(true)
}
