//! Pruning to an exact milestone: whole epochs vanish, and the one that the boundary lies in is copied without what is
//! before.
//!
//! The copy is made beside the engine ([`Pruning::run`]): a closed epoch does not change any more. Once whole, it takes the
//! place of the old one by renames, which a start after a power cut finishes: `c…` is the copy that is being made, `n…` one
//! that is to be the epoch, `x…` what is deleted.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::epoch::{Epoch, Manner};
use super::handles::{Handles, Record, Records};
use super::keys::{BlockKey, Reference};
use super::{Error, Reader, Store};
use crate::files;
use crate::protocol::block;
use crate::protocol::id::{BlockId, MilestoneIndex};

/// Records between two looks at the room that is left.
const LOOK_EVERY: u32 = 256;

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
    /// A damaged ledger could not be made again then.
    #[error("the node's own snapshot leads to milestone {reached}, which is before {wanted}")]
    BeyondSnapshot {
        /// What was asked for, as far as it is possible.
        wanted: MilestoneIndex,
        /// Where the snapshot leads.
        reached: MilestoneIndex,
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
    manner: Manner,
    /// Unreferenced blocks that arrived later may be referenced yet.
    living: MilestoneIndex,
    /// So may these, whenever they came.
    unreferenced: HashSet<BlockId>,
}

impl Pruning {
    /// Copies what is to stay of the boundary's epoch. O(its blocks, and the references of all that stay).
    ///
    /// # Errors
    /// [`Error`], also when the disk's reserve is touched; the store is as it was then.
    pub fn run(mut self) -> Result<Self, Error> {
        let Some(boundary) = self.boundary.take() else { return Ok(self) };
        let path = copy_path(&self.folder, boundary.number());
        match self.copy(&boundary) {
            Ok(true) => self.boundary = Some(boundary),
            Ok(false) => {
                remove_folder(&path)?;
                self.before.push(boundary);
            }
            Err(error) => {
                remove_folder(&path)?;
                return Err(error);
            }
        }
        Ok(self)
    }

    /// Gives whether anything stays.
    fn copy(&self, boundary: &Epoch) -> Result<bool, Error> {
        let path = copy_path(&self.folder, boundary.number());
        remove_folder(&path)?;
        let copy = Epoch::at(path, boundary.number(), self.manner.clone());
        let handles = copy.create()?;
        self.copy_milestones(boundary, &handles)?;
        let blocks = self.copy_blocks(boundary, &handles)?;
        let marker = boundary.marker()?;
        if let Some(marker) = marker {
            handles.commit(marker)?;
        }
        copy.seal_with(&handles)?;
        drop(handles);
        copy.close();
        Ok(blocks > 0 || marker.is_some_and(|last| last > self.target))
    }

    /// What milestones after the target are, did and reference.
    fn copy_milestones(&self, boundary: &Epoch, copy: &Handles) -> Result<(), Error> {
        // Keys begin with the milestone, big-endian.
        let first = self.target.next().0.to_be_bytes();
        for kind in [Records::Milestone, Records::Created, Records::Consumed, Records::Treasury] {
            self.each(boundary, kind, &first, |record| copy.put_record(kind, record))?;
        }
        self.each(boundary, Records::Reference, &[], |record| {
            let later = Reference::from_bytes(&record.1).is_none_or(|found| found.milestone > self.target);
            if later { copy.put_record(Records::Reference, record) } else { Ok(()) }
        })
    }

    /// Blocks that a later milestone references, wherever they are, and those that one may reference yet; how many.
    fn copy_blocks(&self, boundary: &Epoch, copy: &Handles) -> Result<u64, Error> {
        let mut count = 0;
        let mut last = None;
        self.each(boundary, Records::Block, &[], |(key, bytes)| {
            let Some(key) = BlockKey::from_bytes(key) else { return Ok(()) };
            last = Some(key);
            let stays = match self.reader.reference_of(key)? {
                Some(reference) => reference.milestone > self.target,
                None => key.interval > self.living || self.unreferenced.contains(&block::id_of(bytes)),
            };
            if stays {
                count += 1;
                copy.put_block(key, &block::id_of(bytes), bytes)?;
            }
            Ok(())
        })?;
        // Of the epochs that vanish, only what was referenced late, or may be yet.
        let mut late = Vec::new();
        for epoch in self.reader.epochs_newest_first() {
            self.each(&epoch, Records::Reference, &[], |(key, value)| {
                let key = BlockKey::from_bytes(key).filter(|key| last.is_none_or(|last| *key <= last));
                let reference = Reference::from_bytes(value);
                let is_late = reference.is_some_and(|reference| reference.milestone > self.target);
                late.extend(key.filter(|_| is_late));
                Ok(())
            })?;
        }
        for before in &self.before {
            for id in &self.unreferenced {
                late.extend(before.read(|before| before.block_key(id))?);
            }
            for key in &late {
                if let Some(bytes) = before.read(|before| before.block(*key))? {
                    count += 1;
                    copy.put_block(*key, &block::id_of(&bytes), &bytes)?;
                }
            }
        }
        Ok(count)
    }

    /// Every record of a tree from a key on.
    fn each(
        &self,
        epoch: &Epoch,
        kind: Records,
        first: &[u8],
        mut take: impl FnMut(&Record) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut count = 0_u32;
        epoch.each(kind, first, |record| {
            // A copy must not take the room that milestones need.
            if count.is_multiple_of(LOOK_EVERY)
                && files::Room::of(&self.folder).map_err(Error::io("measuring", &self.folder))?.spare() == 0
            {
                return Err(Error::io("copying an epoch in", &self.folder)(ErrorKind::StorageFull.into()));
            }
            count += 1;
            take(record)
        })
    }
}

impl Store {
    /// Begins a pruning of everything up to `target`, or as far as what must be kept allows; of `unreferenced` blocks
    /// nothing is lost. Readers find everything before [`Store::finish_prune`].
    ///
    /// # Errors
    /// [`PruneError`].
    pub fn begin_prune(
        &mut self,
        target: MilestoneIndex,
        unreferenced: HashSet<BlockId>,
    ) -> Result<Pruning, PruneError> {
        let (pruned, confirmed) = (self.pruning_index()?, self.confirmed.get());
        let possible = MilestoneIndex(confirmed.0.saturating_sub(self.limits.live_milestones));
        if target.min(possible) <= pruned {
            return Err(PruneError::NotNeeded { pruned, wanted: target, possible });
        }
        let target = target.min(possible);
        if !self.anchor.lets_go(target) {
            return Err(PruneError::BeyondSnapshot { wanted: target, reached: self.anchor.reached() });
        }
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
            && epoch.marker()?.is_some_and(|last| last <= target)
        {
            before.push(epoch);
        }
        let living = MilestoneIndex(target.0.saturating_sub(self.limits.live_milestones));
        let (folder, reader, manner) = (self.folder.clone(), self.reader(), self.manner());
        Ok(Pruning { target, folder, reader, before, boundary, manner, living, unreferenced })
    }

    /// Ends it; files are unlinked beside. Gives the milestone that is pruned last.
    ///
    /// # Errors
    /// [`PruneError`].
    pub fn finish_prune(&mut self, pruning: Pruning) -> Result<MilestoneIndex, PruneError> {
        let Pruning { folder, before, boundary, manner, .. } = pruning;
        let here =
            |epochs: &[Arc<Epoch>], wanted: &Arc<Epoch>| epochs.iter().any(|one| Arc::ptr_eq(one, wanted));
        if let Some(old) = &boundary {
            let (copy, ready) = (copy_path(&folder, old.number()), ready_path(&folder, old.number()));
            if !here(&self.epochs.all(), old) {
                remove_folder(&copy)?;
                return Err(PruneError::Overtaken);
            }
            // From here on a start after a power cut finishes it, never before.
            fs::rename(&copy, &ready).map_err(Error::io("renaming epoch", &copy))?;
            files::sync_folder(&folder).map_err(Error::io("syncing", &folder))?;
        }
        // Oldest first: what is left is always without a gap.
        for epoch in before {
            if here(&self.epochs.all(), &epoch) {
                self.epochs.change(|epochs| epochs.retain(|one| !Arc::ptr_eq(one, &epoch)));
                epoch.remove()?;
            }
        }
        if let Some(old) = boundary {
            let new = Arc::new(Epoch::new(&folder, old.number(), manner));
            let announce = || {
                self.epochs.change(|epochs| {
                    for epoch in epochs.iter_mut().filter(|one| Arc::ptr_eq(one, &old)) {
                        *epoch = new.clone();
                    }
                });
            };
            new.replace(&old, &ready_path(&folder, old.number()), announce)?;
        }
        Ok(self.pruning_index()?)
    }
}

/// Where the copy of an epoch is made.
fn copy_path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("c{number:08}"))
}

/// Where it waits for the place of its epoch.
fn ready_path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("n{number:08}"))
}

fn remove_folder(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("deleting", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Finishes what a power cut interrupted, if there is a copy that waits for its place: what is older vanishes, then its
/// own epoch, then it takes the place.
pub(super) fn finish(folder: &Path, number: u32, older: &[u32]) -> Result<(), Error> {
    let delete = |number: u32| remove_folder(&folder.join(format!("e{number:08}")));
    let (ready, epoch) = (ready_path(folder, number), folder.join(format!("e{number:08}")));
    older.iter().try_for_each(|number| delete(*number))?;
    delete(number)?;
    fs::rename(&ready, &epoch).map_err(Error::io("renaming epoch", &ready))?;
    files::sync_folder(folder).map_err(Error::io("syncing", folder))
}
