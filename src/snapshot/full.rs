//! Full snapshots.

use std::io::{Read, Write};

use super::record::{Diff, read_booked};
use super::source::Source;
use super::{Base, Error, VERSION, check_index};
use crate::ledger::Booked;
use crate::ledger::treasury::Treasury;
use crate::protocol;
use crate::protocol::id::{BlockId, MilestoneId, MilestoneIndex};
use crate::protocol::milestone::{MilestoneOption, MilestoneStamp};
use crate::protocol::pack::{Reader, Writer};
use crate::protocol::params::ProtocolParameters;

/// Kind of file.
const KIND: u8 = 0;

/// What a full snapshot says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Index that the network was founded at.
    pub genesis: MilestoneIndex,
    /// The milestone that the ledger is to be at.
    pub target: MilestoneStamp,
    /// The milestone that the outputs of the file belong to; diffs lead back from there.
    pub ledger_index: MilestoneIndex,
    /// At `ledger_index`.
    pub treasury: Treasury,
    /// Milestone from which the parameters are in force.
    pub params_since: MilestoneIndex,
    /// In force at the target.
    pub params: ProtocolParameters,
    /// Outputs that follow.
    pub outputs: u64,
    /// Milestone diffs that follow.
    pub diffs: u32,
    /// Solid entry points that follow.
    pub entry_points: u16,
}

impl Header {
    /// Of a ledger with nothing to roll back. `None` when there are more solid entry points than a file can hold.
    pub fn of(base: &Base, outputs: u64) -> Option<Self> {
        Some(Self {
            genesis: base.genesis,
            target: base.target,
            ledger_index: base.target.index,
            treasury: base.treasury,
            params_since: base.schedule.since,
            params: base.schedule.active.clone(),
            outputs,
            diffs: 0,
            entry_points: u16::try_from(base.entry_points.len()).ok()?,
        })
    }

    /// The binary form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u8(VERSION).u8(KIND).u32(self.genesis.0).u32(self.target.index.0);
        writer.u32(self.target.timestamp).bytes(&self.target.id.0).u32(self.ledger_index.0);
        writer.bytes(&self.treasury.milestone.0).u64(self.treasury.amount);
        let mut option = Writer::default();
        MilestoneOption::Parameters {
            target: self.params_since,
            protocol_version: self.params.version,
            params: self.params.pack(),
        }
        .pack(&mut option);
        let option = option.into_bytes();
        writer.count_u16(option.len()).bytes(&option);
        writer.u64(self.outputs).u32(self.diffs).u16(self.entry_points);
        writer.into_bytes()
    }
}

/// A full snapshot while it is read: outputs, then diffs, then solid entry points.
#[derive(Debug)]
pub struct FullReader<R> {
    source: Source<R>,
    header: Header,
    outputs_left: u64,
    diffs_left: u32,
}

impl<R: Read> FullReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn new(inner: R) -> Result<Self, Error> {
        let mut source = Source::new(inner);
        check_kind(&mut source, KIND)?;
        let genesis = MilestoneIndex(source.u32("genesis index")?);
        let index = MilestoneIndex(source.u32("target index")?);
        let timestamp = source.u32("target timestamp")?;
        let id = MilestoneId(source.array("target milestoneId")?);
        let ledger_index = MilestoneIndex(source.u32("ledger index")?);
        let milestone = MilestoneId(source.array("treasury milestoneId")?);
        let treasury = Treasury { milestone, amount: source.u64("treasury amount")? };
        let length = source.u16("protocol parameters length")?;
        let option = source.bytes("protocol parameters", length.into())?;
        let mut reader = Reader::new(&option);
        let MilestoneOption::Parameters { target, params, protocol_version } =
            MilestoneOption::parse(&mut reader)?
        else {
            return Err(protocol::Error::UnknownKind { field: "protocol parameters", kind: 0 }.into());
        };
        reader.finish("protocol parameters")?;
        let header = Header {
            genesis,
            target: MilestoneStamp { id, index, timestamp },
            ledger_index,
            treasury,
            params_since: target,
            params: ProtocolParameters::parse(&params)?,
            outputs: source.u64("outputs count")?,
            diffs: source.u32("milestone diffs count")?,
            entry_points: source.u16("solid entry points count")?,
        };
        check_index("ledger index", ledger_index)?;
        if header.params.version != protocol_version {
            let problem = format!(
                "protocol version {protocol_version} is announced with parameters of version {}",
                header.params.version
            );
            return Err(Error::Inconsistent(problem));
        }
        if ledger_index < index {
            let problem = format!("ledger index {ledger_index} is before the target index {index}");
            return Err(Error::Inconsistent(problem));
        }
        Ok(Self { outputs_left: header.outputs, diffs_left: header.diffs, source, header })
    }

    /// What the file says first.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes read so far.
    pub fn position(&self) -> u64 {
        self.source.position()
    }

    /// The next output; `None` after the last.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn output(&mut self) -> Result<Option<Booked>, Error> {
        let Some(left) = self.outputs_left.checked_sub(1) else { return Ok(None) };
        self.outputs_left = left;
        read_booked(&mut self.source).map(Some)
    }

    /// The next diff, from the ledger index backwards; `None` after the last. Those at the target index and below are not
    /// to be rolled back: they are there for what their milestones say of protocol parameters.
    ///
    /// # Panics
    /// Before the last output was read.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn diff(&mut self) -> Result<Option<Diff>, Error> {
        assert_eq!(self.outputs_left, 0, "outputs come first");
        let Some(left) = self.diffs_left.checked_sub(1) else { return Ok(None) };
        self.diffs_left = left;
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
        assert_eq!(self.outputs_left + u64::from(self.diffs_left), 0, "outputs and diffs come first");
        read_entry_points(&mut self.source, self.header.entry_points)
    }
}

pub(super) fn read_entry_points<R: Read>(source: &mut Source<R>, count: u16) -> Result<Vec<BlockId>, Error> {
    let points =
        (0..count).map(|_| source.array("solid entry point").map(BlockId)).collect::<Result<_, _>>()?;
    source.finish("snapshot")?;
    Ok(points)
}

/// Version and kind of the file.
pub(super) fn check_kind<R: Read>(source: &mut Source<R>, kind: u8) -> Result<(), Error> {
    let version = source.u8("version")?;
    if version != VERSION {
        let kind = version.into();
        return Err(protocol::Error::UnknownKind { field: "snapshot version", kind }.into());
    }
    let found = source.u8("type")?;
    if found != kind {
        let kind = found.into();
        return Err(protocol::Error::UnknownKind { field: "snapshot type (0 full, 1 delta)", kind }.into());
    }
    Ok(())
}

/// Writes a full snapshot whose counts are known.
///
/// # Errors
/// [`Error::Io`]; [`Error::Inconsistent`] when there are other numbers of outputs or diffs than the header says.
pub fn write<W: Write>(
    mut out: W,
    header: &Header,
    outputs: impl Iterator<Item = Result<Booked, Error>>,
    diffs: impl Iterator<Item = Result<Diff, Error>>,
    entry_points: &[BlockId],
) -> Result<(), Error> {
    let mut put =
        |bytes: &[u8]| out.write_all(bytes).map_err(|source| Error::Io { field: "snapshot", source });
    put(&header.to_bytes())?;
    let mut counts = (0u64, 0u32);
    for output in outputs {
        put(&output?.to_bytes())?;
        counts.0 += 1;
    }
    for diff in diffs {
        let mut writer = Writer::default();
        diff?.pack(&mut writer);
        put(&writer.into_bytes())?;
        counts.1 += 1;
    }
    for point in entry_points {
        put(&point.0)?;
    }
    let said = (header.outputs, header.diffs, usize::from(header.entry_points));
    if (counts.0, counts.1, entry_points.len()) != said {
        return Err(Error::Inconsistent(format!("header counts {said:?} do not hold")));
    }
    Ok(())
}
