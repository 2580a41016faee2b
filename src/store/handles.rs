//! An open epoch: its trees, and every record in them.

use std::ops::{Bound, Deref};
use std::path::PathBuf;

use super::ids::{Kind, Lookup, beginning, beginning_of_output};
use super::keys::{self, BlockKey, Reference, milestone_value, split_milestone_value};
use super::suspects::Suspects;
use super::{Error, StoredMilestone};
use crate::engine::effect::Confirmation;
use crate::ledger::treasury::Treasury;
use crate::ledger::{Booked, Delta, Spent};
use crate::protocol::block;
use crate::protocol::id::{BlockId, MilestoneId, MilestoneIndex, OutputId};
use crate::protocol::pack::{Reader as Bytes, Writer};

/// Entries per leaf: small leaves keep the last, half-full one cheap to rewrite.
const LEAF: usize = 16;

pub(super) type Db = sled::Db<LEAF>;
type Tree = sled::Tree<LEAF>;

/// A database and its trees, for one thread at a time.
#[derive(Clone)]
pub(super) struct Handles {
    db: Db,
    block: Tree,
    reference: Tree,
    milestone: Tree,
    created: Tree,
    consumed: Tree,
    treasury: Tree,
    ids: Lookup,
    path: PathBuf,
    suspects: Suspects,
}

impl std::fmt::Debug for Handles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handles").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Kinds of records that are copied as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Records {
    Block,
    Milestone,
    Created,
    Consumed,
    Treasury,
    Reference,
}

/// All kinds.
pub(super) const ALL_RECORDS: [Records; 6] = [
    Records::Block,
    Records::Milestone,
    Records::Created,
    Records::Consumed,
    Records::Treasury,
    Records::Reference,
];

/// Key and value.
pub(super) type Record = (Vec<u8>, Vec<u8>);

/// Handles on the heap (sled keeps 59 KB in a database handle itself), which are never dropped when the database turned out
/// damaged: after a read that failed, sled waits for ever for its last flush.
#[derive(Debug, Clone)]
pub(super) struct Held(Option<Box<Handles>>);

impl Held {
    pub(super) fn new(handles: Handles) -> Self {
        Self(Some(Box::new(handles)))
    }
}

impl Deref for Held {
    type Target = Handles;

    fn deref(&self) -> &Handles {
        self.0.as_deref().expect("taken only when it is dropped")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.suspects.suspects(&self.path) {
            std::mem::forget(self.0.take());
        }
    }
}

impl Handles {
    /// Opens the trees of a database.
    pub(super) fn new(db: Db, ids: Lookup, path: PathBuf, suspects: Suspects) -> std::io::Result<Self> {
        let tree = |name: &str| db.open_tree(name);
        Ok(Self {
            block: tree(keys::BLOCK)?,
            reference: tree(keys::REFERENCE)?,
            milestone: tree(keys::MILESTONE)?,
            created: tree(keys::CREATED)?,
            consumed: tree(keys::CONSUMED)?,
            treasury: tree(keys::TREASURY)?,
            ids,
            path,
            suspects,
            db,
        })
    }

    fn io(&self, doing: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        move |source| {
            let error = Error::io(doing, &self.path)(source);
            self.suspects.judge(&self.path, &error);
            error
        }
    }

    /// A record that is not what it must be.
    pub(super) fn damaged(&self, record: &'static str) -> Error {
        let error = Error::Damaged { path: self.path.clone(), record };
        self.suspects.judge(&self.path, &error);
        error
    }

    /// The milestones, or the intervals, that the keys of a tree begin with: first and last.
    pub(super) fn reach(&self, kind: Records) -> Result<Option<(MilestoneIndex, MilestoneIndex)>, Error> {
        let range = || self.tree(kind).range(..keys::FILLER);
        let number = |entry: Option<std::io::Result<(sled::InlineArray, sled::InlineArray)>>| {
            let entry = entry.transpose().map_err(self.io("reading"))?;
            let bytes = entry.and_then(|(key, _)| key.first_chunk().copied());
            Ok::<_, Error>(bytes.map(|bytes| MilestoneIndex(u32::from_be_bytes(bytes))))
        };
        Ok(number(range().next())?.zip(number(range().next_back())?))
    }

    /// The leaf of an empty tree is nowhere on disk: when sled drops it from its cache, the next read of the
    /// tree never ends. So no tree is left empty. The record sorts last and has no value.
    pub(super) fn fill_empty_trees(&self) -> Result<(), Error> {
        let trees =
            [&self.block, &self.reference, &self.milestone, &self.created, &self.consumed, &self.treasury];
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
        self.ids.add(Kind::Block, beginning(&id.0), key.to_number());
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
        let id = beginning(&confirmation.stamp.id.0);
        self.ids.add(Kind::Milestone, id, confirmation.stamp.index.0.into());
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
            self.ids.add(Kind::Spent, beginning_of_output(&spent.booked.id), u64::from_be_bytes(key));
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
        self.learn(kind, key, value)
    }

    fn tree(&self, kind: Records) -> &Tree {
        match kind {
            Records::Block => &self.block,
            Records::Milestone => &self.milestone,
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
        for place in self.places(Kind::Spent, beginning_of_output(id))? {
            let key = place.to_be_bytes();
            let value = self.consumed.get(key).map_err(self.io("reading"))?;
            let spent = self.parse_spent(&value.ok_or_else(|| self.damaged("spent output"))?)?;
            if spent.booked.id == *id {
                let milestone = keys::milestone_of(&key).ok_or_else(|| self.damaged("spent output"))?;
                return Ok(Some((spent, milestone)));
            }
        }
        Ok(None)
    }

    fn places(&self, kind: Kind, beginning: u64) -> Result<Vec<u64>, Error> {
        self.ids.places(kind, beginning).map_err(self.io("looking up an id in"))
    }

    /// In memory, when it is not sealed.
    pub(super) fn ids(&self) -> &Lookup {
        &self.ids
    }

    /// Takes note of the id that a record has.
    fn learn(&self, kind: Records, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let number =
            || key.first_chunk().map(|key| u64::from_be_bytes(*key)).ok_or_else(|| self.damaged("key"));
        match kind {
            Records::Block => self.ids.add(Kind::Block, beginning(&block::id_of(value).0), number()?),
            Records::Consumed => {
                let id = value.first_chunk().ok_or_else(|| self.damaged("spent output"))?;
                let id = OutputId::from_bytes(id);
                self.ids.add(Kind::Spent, beginning_of_output(&id), number()?);
            }
            Records::Milestone => {
                let parsed = split_milestone_value(value)
                    .and_then(|(block, payload)| StoredMilestone::parse(block, payload.to_vec()));
                let stamp = parsed.ok_or_else(|| self.damaged("milestone"))?.stamp();
                self.ids.add(Kind::Milestone, beginning(&stamp.id.0), stamp.index.0.into());
            }
            Records::Created | Records::Treasury | Records::Reference => {}
        }
        Ok(())
    }

    /// Takes note of all ids; those that a file knows need none. O(bytes).
    pub(super) fn learn_ids(&self) -> Result<(), Error> {
        if matches!(self.ids, Lookup::Disk(_)) {
            return Ok(());
        }
        for kind in [Records::Block, Records::Consumed, Records::Milestone] {
            for entry in self.tree(kind).range(..keys::FILLER) {
                let (key, value) = entry.map_err(self.io("reading"))?;
                self.learn(kind, &key, &value)?;
            }
        }
        Ok(())
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
        Ok(self.block_of(id)?.map(|(key, _)| key))
    }

    /// A block and its place.
    pub(super) fn block_of(&self, id: &BlockId) -> Result<Option<(BlockKey, Vec<u8>)>, Error> {
        for place in self.places(Kind::Block, beginning(&id.0))? {
            let key = BlockKey::from_number(place);
            let bytes = self.block(key)?.ok_or_else(|| self.damaged("block"))?;
            if block::id_of(&bytes) == *id {
                return Ok(Some((key, bytes)));
            }
        }
        Ok(None)
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
        for place in self.places(Kind::Milestone, beginning(&id.0))? {
            let index = MilestoneIndex(u32::try_from(place).map_err(|_| self.damaged("milestone index"))?);
            let (block, payload) = self.milestone(index)?.ok_or_else(|| self.damaged("milestone"))?;
            if StoredMilestone::parse(block, payload).is_some_and(|found| found.stamp().id == *id) {
                return Ok(Some(index));
            }
        }
        Ok(None)
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

/// The blocks that can be read, in order of arrival, from an interval on. What cannot is stepped over: a leaf at a time,
/// then an interval. The other trees, which may be damaged, are not looked at. Gives whether nothing was stepped over, too.
///
/// # Errors
/// The tree cannot be opened.
pub(super) fn readable_blocks(
    db: &Db,
    from: MilestoneIndex,
    most_bytes: usize,
) -> std::io::Result<(Vec<Vec<u8>>, bool)> {
    /// Steps over a place that cannot be read, until the interval is given up, and until all is.
    const STEPS: (u32, u32) = (64, 4_096);
    /// Half a leaf.
    const STEP: u32 = 8;
    let blocks = db.open_tree(keys::BLOCK)?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    let mut at = BlockKey { interval: from, sequence: 0 };
    let (mut steps, mut all_steps) = (0, 0);
    while all_steps < STEPS.1 {
        let next = blocks.range(at.to_bytes().as_slice()..keys::FILLER).next();
        match next {
            None => break,
            Some(Ok((key, value))) => {
                let Some(key) = BlockKey::from_bytes(&key) else { break };
                bytes += value.len();
                if bytes > most_bytes {
                    break;
                }
                found.push(value.to_vec());
                at = BlockKey { sequence: key.sequence.saturating_add(1), ..key };
                steps = 0;
            }
            Some(Err(_)) => {
                (steps, all_steps) = (steps + 1, all_steps + 1);
                at.sequence = at.sequence.saturating_add(STEP);
                if steps > STEPS.0 {
                    at = BlockKey { interval: at.interval.next(), sequence: 0 };
                    steps = 0;
                }
            }
        }
    }
    Ok((found, all_steps == 0))
}
