//! Delta snapshots.

use std::io::Read;

use super::full::{check_kind, read_entry_points};
use super::record::Diff;
use super::source::Source;
use super::{Error, check_index};
use crate::protocol::id::{BlockId, MilestoneId, MilestoneIndex};
use crate::protocol::milestone::MilestoneStamp;
use crate::protocol::pack::Writer;

/// Kind of file.
const KIND: u8 = 1;

/// What a delta snapshot says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The milestone that the ledger is at in the end.
    pub target: MilestoneIndex,
    /// Time of that, in Unix seconds.
    pub timestamp: u32,
    /// The milestone of the full snapshot that it goes on from.
    pub full_target: MilestoneId,
    /// Where the solid entry points begin in the file: what lies before is never written again.
    pub entry_points_at: u64,
    /// Milestone diffs that follow, ascending.
    pub diffs: u32,
    /// Solid entry points at the end.
    pub entry_points: u16,
}

impl Header {
    /// Length of the binary form.
    pub const BYTES: usize = 1 + 1 + 4 + 4 + 32 + 8 + 4 + 2;

    /// Of a delta snapshot without a diff, that is to go on from this milestone of a full one.
    pub fn new(full: MilestoneStamp) -> Self {
        Self {
            target: full.index,
            timestamp: full.timestamp,
            full_target: full.id,
            entry_points_at: Self::BYTES as u64,
            diffs: 0,
            entry_points: 0,
        }
    }

    /// Length of the whole file.
    pub fn bytes(&self) -> u64 {
        self.entry_points_at.saturating_add(u64::from(self.entry_points) * size_of::<BlockId>() as u64)
    }

    /// The binary form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u8(super::VERSION).u8(KIND).u32(self.target.0).u32(self.timestamp).bytes(&self.full_target.0);
        writer.u64(self.entry_points_at).u32(self.diffs).u16(self.entry_points);
        writer.into_bytes()
    }
}

/// A delta snapshot while it is read: diffs, then solid entry points.
#[derive(Debug)]
pub struct DeltaReader<R> {
    source: Source<R>,
    header: Header,
    left: u32,
}

impl<R: Read> DeltaReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn new(inner: R) -> Result<Self, Error> {
        let mut source = Source::new(inner);
        check_kind(&mut source, KIND)?;
        let header = Header {
            target: MilestoneIndex(source.u32("target index")?),
            timestamp: source.u32("target timestamp")?,
            full_target: MilestoneId(source.array("full snapshot milestoneId")?),
            entry_points_at: source.u64("solid entry points offset")?,
            diffs: source.u32("milestone diffs count")?,
            entry_points: source.u16("solid entry points count")?,
        };
        check_index("target index", header.target)?;
        Ok(Self { left: header.diffs, source, header })
    }

    /// What the file says first.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes read so far.
    pub fn position(&self) -> u64 {
        self.source.position()
    }

    /// The next diff, forwards; `None` after the last.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn diff(&mut self) -> Result<Option<Diff>, Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        Diff::read(&mut self.source).map(Some)
    }

    /// The solid entry points, and the end of the file.
    ///
    /// # Panics
    /// Before the last diff was read.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn entry_points(mut self) -> Result<Vec<BlockId>, Error> {
        assert_eq!(self.left, 0, "diffs come first");
        let (at, said) = (self.source.position(), self.header.entry_points_at);
        if at != said {
            let problem = format!("solid entry points begin at byte {at}, the header says {said}");
            return Err(Error::Inconsistent(problem));
        }
        read_entry_points(&mut self.source, self.header.entry_points)
    }
}
