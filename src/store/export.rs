//! Snapshots (TIP-35) of a store, written while the node goes on.
//!
//! The outputs are read in portions. One that the ledger changed under is read again; what was booked or spent since the
//! first portion is put back as it was, from the diffs: the file holds the ledger of one milestone. O(outputs + diffs),
//! one portion in memory.

use std::collections::BTreeSet;
use std::io::{Seek, SeekFrom, Write};

use super::keys::BlockKey;
use super::reader::Reader;
use super::{Error, StoredMilestone};
use crate::ledger::Booked;
use crate::protocol::block::Block;
use crate::protocol::id::{BlockId, MilestoneIndex, OutputId};
use crate::protocol::pack::Writer;
use crate::protocol::params::Schedule;
use crate::snapshot::delta;
use crate::snapshot::full::Header;
use crate::snapshot::record::Diff;

/// Outputs that are read at once.
const PORTION: usize = 1_000;

/// References that are read at once.
const REFERENCES: usize = 10_000;

/// Diffs that a full snapshot holds beyond its target: HORNET looks for announced parameters in them.
const MORE_DIFFS: u32 = 30;

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] Error),
    /// The file cannot be written.
    #[error("writing the snapshot: {0}")]
    Io(#[from] std::io::Error),
    /// Not between what is pruned and what is confirmed.
    #[error("milestone {wanted}: a snapshot can be of {oldest} to {newest}")]
    Target {
        /// What was asked for.
        wanted: MilestoneIndex,
        /// The oldest possible.
        oldest: MilestoneIndex,
        /// The newest possible.
        newest: MilestoneIndex,
    },
    /// It was pruned meanwhile, or before.
    #[error("the {0} that the snapshot needs is pruned")]
    Pruned(&'static str),
    /// More than the file can name.
    #[error("{0} solid entry points, a snapshot holds 65535")]
    EntryPoints(usize),
}

/// The oldest milestone whose diff a full snapshot holds.
fn first_diff(target: MilestoneIndex, oldest: MilestoneIndex) -> u32 {
    target.0.saturating_sub(MORE_DIFFS).max(oldest.0) + 1
}

impl Reader {
    /// Writes a full snapshot of the ledger at `target`; later milestones lead back to there. Syncing is the caller's.
    ///
    /// # Errors
    /// [`ExportError`]; the file is then of no use.
    pub fn write_full(
        &self,
        target: MilestoneIndex,
        out: &mut (impl Write + Seek),
    ) -> Result<Header, ExportError> {
        let base = self.base()?.ok_or(ExportError::Pruned("base of the ledger"))?;
        let (ledger_index, treasury) = self.stable(|| Ok((self.ledger_index(), self.treasury()?)))?;
        let (oldest, _) = self.snapshot_targets()?;
        if target < oldest || target > ledger_index {
            return Err(ExportError::Target { wanted: target, oldest, newest: ledger_index });
        }
        let stamp = match target == base.target.index {
            true => base.target,
            false => self.stored(target)?.stamp(),
        };
        let entry_points = self.entry_points(target, ledger_index)?;
        let schedule = self.schedule_at(target, &base.schedule, base.target.index)?;
        self.check_pending(&schedule, target, oldest)?;
        let mut header = Header {
            genesis: base.genesis,
            target: stamp,
            ledger_index,
            treasury,
            params_since: schedule.since,
            params: schedule.active,
            outputs: 0,
            diffs: 0,
            entry_points: u16::try_from(entry_points.len())
                .map_err(|_| ExportError::EntryPoints(entry_points.len()))?,
        };
        // Counts are known at the end.
        out.write_all(&header.to_bytes())?;
        header.outputs = self.write_outputs(ledger_index, out)?;
        header.diffs = self.write_diffs(target, ledger_index, oldest, out)?;
        for point in &entry_points {
            out.write_all(&point.0)?;
        }
        out.seek(SeekFrom::Start(0))?;
        out.write_all(&header.to_bytes())?;
        out.flush()?;
        Ok(header)
    }

    /// The oldest and the newest milestone whose ledger can be told.
    ///
    /// # Errors
    /// [`ExportError`] when the store has no ledger, or cannot be read.
    pub fn snapshot_targets(&self) -> Result<(MilestoneIndex, MilestoneIndex), ExportError> {
        let base = self.base()?.ok_or(ExportError::Pruned("base of the ledger"))?;
        Ok((self.oldest()?.max(base.target.index), self.ledger_index()))
    }

    /// Leads a delta snapshot on to `target`: the diffs since take the place of its solid entry points, new ones follow,
    /// then the header is written anew. Syncing is the caller's, and so is cutting off what lies behind the length that
    /// is returned with the header. O(diffs since), one of them in memory.
    ///
    /// # Errors
    /// [`ExportError`]; the file is then of no use.
    pub fn extend_delta(
        &self,
        from: &delta::Header,
        target: MilestoneIndex,
        out: &mut (impl Write + Seek),
    ) -> Result<(delta::Header, u64), ExportError> {
        let newest = self.ledger_index();
        if target <= from.target || target > newest {
            return Err(ExportError::Target { wanted: target, oldest: from.target.next(), newest });
        }
        let timestamp = self.stored(target)?.milestone.essence.timestamp;
        let entry_points = self.entry_points(target, newest)?;
        let count = u16::try_from(entry_points.len());
        let mut header = delta::Header {
            target,
            timestamp,
            entry_points: count.map_err(|_| ExportError::EntryPoints(entry_points.len()))?,
            ..*from
        };
        out.seek(SeekFrom::Start(from.entry_points_at))?;
        for index in (from.target.0 + 1..=target.0).map(MilestoneIndex) {
            let bytes = self.packed_diff(index)?;
            out.write_all(&bytes)?;
            header.entry_points_at += bytes.len() as u64;
            header.diffs += 1;
        }
        for point in &entry_points {
            out.write_all(&point.0)?;
        }
        out.seek(SeekFrom::Start(0))?;
        out.write_all(&header.to_bytes())?;
        out.flush()?;
        Ok((header, header.bytes()))
    }

    fn stored(&self, index: MilestoneIndex) -> Result<StoredMilestone, ExportError> {
        self.milestone(index)?.ok_or(ExportError::Pruned("milestone"))
    }

    /// The oldest milestone whose ledger can be told: that before the first that is kept.
    fn oldest(&self) -> Result<MilestoneIndex, Error> {
        let first = self.first_milestone()?;
        Ok(first.map_or_else(|| self.ledger_index(), |first| MilestoneIndex(first.0.saturating_sub(1))))
    }

    /// The ledger at `at`, whatever is confirmed meanwhile.
    fn write_outputs(&self, at: MilestoneIndex, out: &mut impl Write) -> Result<u64, ExportError> {
        let (mut count, mut after) = (0, None);
        loop {
            let (portion, now) =
                self.stable(|| Ok((self.unspent_after(after, PORTION)?, self.ledger_index())))?;
            let last = portion.last().map(|output| output.id);
            // Only the last portion is not full; it reaches to the end.
            let end = if portion.len() < PORTION { None } else { last };
            let within =
                |id: &OutputId| after.is_none_or(|after| *id > after) && end.is_none_or(|end| *id <= end);
            let mut outputs = portion.into_iter().filter(|output| output.index <= at).collect::<Vec<_>>();
            for index in (at.0 + 1..=now.0).map(MilestoneIndex) {
                let delta = self.delta(index)?.ok_or(ExportError::Pruned("diff"))?;
                let gone = delta.consumed.into_iter().map(|spent| spent.booked);
                outputs.extend(gone.filter(|output: &Booked| output.index <= at && within(&output.id)));
            }
            outputs.sort_unstable_by_key(|output| output.id);
            for output in &outputs {
                out.write_all(&output.to_bytes())?;
            }
            count += outputs.len() as u64;
            after = end;
            if after.is_none() {
                return Ok(count);
            }
        }
    }

    /// From the ledger's milestone back to the target, and some more.
    fn write_diffs(
        &self,
        target: MilestoneIndex,
        ledger_index: MilestoneIndex,
        oldest: MilestoneIndex,
        out: &mut impl Write,
    ) -> Result<u32, ExportError> {
        let mut count = 0;
        for index in (first_diff(target, oldest)..=ledger_index.0).rev().map(MilestoneIndex) {
            out.write_all(&self.packed_diff(index)?)?;
            count += 1;
        }
        Ok(count)
    }

    fn packed_diff(&self, index: MilestoneIndex) -> Result<Vec<u8>, ExportError> {
        let delta = self.delta(index)?.ok_or(ExportError::Pruned("diff"))?;
        let diff = Diff {
            milestone: self.stored(index)?.milestone,
            treasury_before: self.treasury_before(index)?,
            created: delta.created,
            consumed: delta.consumed,
        };
        let mut writer = Writer::default();
        diff.pack(&mut writer);
        Ok(writer.into_bytes())
    }

    /// Parameters in force once `target` was confirmed.
    fn schedule_at(
        &self,
        target: MilestoneIndex,
        base: &Schedule,
        base_index: MilestoneIndex,
    ) -> Result<Schedule, ExportError> {
        let now = self.schedule()?;
        if now.since <= target {
            return Ok(now);
        }
        let mut schedule = base.clone();
        for index in (base_index.0 + 1..=target.0).map(MilestoneIndex) {
            let announced = self.stored(index)?.milestone.essence.options.parameters();
            schedule.confirm(index, announced).map_err(|_| ExportError::Pruned("protocol parameters"))?;
        }
        Ok(schedule)
    }

    /// What is announced for later is told by the diffs alone: the milestones that announced it have to be among them.
    fn check_pending(
        &self,
        schedule: &Schedule,
        target: MilestoneIndex,
        oldest: MilestoneIndex,
    ) -> Result<(), ExportError> {
        let mut missing = schedule.pending.clone();
        for index in (first_diff(target, oldest)..=self.ledger_index().0).map(MilestoneIndex) {
            if missing.is_empty() {
                break;
            }
            let told = self.stored(index)?.milestone.essence.options.parameters();
            missing.retain(|next| told.as_ref() != Some(next));
        }
        if missing.is_empty() {
            Ok(())
        } else {
            Err(ExportError::Pruned("announcement of protocol parameters"))
        }
    }

    /// TIP-35: > blocks referenced up to the target that have a child referenced by a later milestone
    fn entry_points(
        &self,
        target: MilestoneIndex,
        newest: MilestoneIndex,
    ) -> Result<Vec<BlockId>, ExportError> {
        let base = self.base()?.ok_or(ExportError::Pruned("base of the ledger"))?;
        let mut points = BTreeSet::new();
        for key in self.referenced_between(target.next(), newest)? {
            let bytes = self.block_at(key)?.ok_or(ExportError::Pruned("block"))?;
            let block = Block::parse(&bytes).map_err(|_| ExportError::Pruned("block"))?;
            for parent in block.parents.as_slice() {
                let is_older = match self.reference(parent)? {
                    Some(reference) => reference.milestone <= target,
                    None => base.entry_points.contains(parent),
                };
                if is_older {
                    points.insert(*parent);
                }
            }
        }
        Ok(points.into_iter().collect())
    }

    /// Keys of the blocks that these milestones reference.
    fn referenced_between(
        &self,
        first: MilestoneIndex,
        last: MilestoneIndex,
    ) -> Result<Vec<BlockKey>, ExportError> {
        let mut found = Vec::new();
        for epoch in self.epochs_newest_first() {
            // A reference stands in the epoch of its milestone.
            let begins_later = epoch.first_milestone()?.is_some_and(|begin| begin > last);
            let ends_before = epoch.marker()?.is_some_and(|end| end < first);
            if begins_later || ends_before {
                continue;
            }
            let mut after = None;
            // In portions: whoever else reads this epoch waits for one of them at most.
            loop {
                let portion = epoch.read(|epoch| epoch.references_after(after, REFERENCES).map(Some))?;
                let portion = portion.ok_or(ExportError::Pruned("epoch"))?;
                let within = portion.iter().filter(|(_, milestone)| (first..=last).contains(milestone));
                found.extend(within.map(|(key, _)| *key));
                let Some((key, _)) = portion.last() else { break };
                after = Some(*key);
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}
