//! Outputs and milestone diffs.

use super::{Error, MAX_DIFF_BYTES};
use crate::ledger::treasury::Treasury;
use crate::ledger::{Booked, Spent};
use crate::protocol::id::{MilestoneId, OutputId};
use crate::protocol::milestone::{self, Milestone};
use crate::protocol::pack::{Reader, Writer, check_range};
use crate::protocol::{self, MAX_BLOCK_BYTES};

/// Bytes in front of an output: its id, its block, index and time of its milestone, its length.
pub(super) const HEAD_BYTES: usize = OutputId::BYTES + 32 + 4 + 4 + 4;

/// What a milestone did to the ledger, with the milestone itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// The milestone.
    pub milestone: Milestone,
    /// What the treasury held before, when the milestone brought a receipt.
    pub treasury_before: Option<Treasury>,
    /// New outputs, in any order.
    pub created: Vec<Booked>,
    /// Spent ones, in any order; may hold some of the former.
    pub consumed: Vec<Spent>,
}

impl Diff {
    /// What the treasury holds after it, when the milestone brought a receipt.
    pub fn treasury_after(&self) -> Option<Treasury> {
        let receipt = self.milestone.essence.options.receipt()?;
        Some(Treasury { milestone: self.milestone.essence.id(), amount: receipt.transaction.amount })
    }

    /// Appends the form of TIP-35, its length in front.
    ///
    /// # Panics
    /// When it is longer than 4 GiB; a milestone with that many outputs has no room in memory either.
    pub fn pack(&self, writer: &mut Writer) {
        let mut body = Writer::default();
        let mut milestone = Writer::default();
        self.milestone.pack(&mut milestone);
        let milestone = milestone.into_bytes();
        body.count_u32(milestone.len()).bytes(&milestone);
        if let Some(treasury) = self.treasury_before {
            body.bytes(&treasury.milestone.0).u64(treasury.amount);
        }
        body.count_u32(self.created.len());
        self.created.iter().for_each(|output| output.pack(&mut body));
        body.count_u32(self.consumed.len());
        self.consumed.iter().for_each(|spent| spent.pack(&mut body));
        let body = body.into_bytes();
        // TIP-35: > the length of the diff counts its own four bytes
        writer.count_u32(body.len() + 4).bytes(&body);
    }

    /// Reads what follows the length.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        let length = reader.u32("milestone length")? as usize;
        check_range("milestone length", length as u64, 0, MAX_BLOCK_BYTES as u64)?;
        let mut bytes = Reader::new(reader.bytes("milestone", length)?);
        let kind = bytes.u32("milestone type")?;
        if kind != milestone::KIND {
            return Err(protocol::Error::UnknownKind { field: "milestone type", kind }.into());
        }
        let milestone = Milestone::parse(&mut bytes)?;
        bytes.finish("milestone")?;
        let mut diff = Self { milestone, treasury_before: None, created: Vec::new(), consumed: Vec::new() };
        if diff.treasury_after().is_some() {
            let milestone = MilestoneId(reader.array("treasury input milestoneId")?);
            diff.treasury_before = Some(Treasury { milestone, amount: reader.u64("treasury input amount")? });
        }
        let count = reader.u32("created count")?;
        diff.created = (0..count).map(|_| Booked::parse(&mut reader)).collect::<Result<_, _>>()?;
        let count = reader.u32("consumed count")?;
        diff.consumed = (0..count).map(|_| Spent::parse(&mut reader)).collect::<Result<_, _>>()?;
        reader.finish("milestone diff")?;
        Ok(diff)
    }

    /// Reads length and body.
    pub(super) fn read<R: std::io::Read>(source: &mut super::source::Source<R>) -> Result<Self, Error> {
        let length = source.u32("milestone diff length")?;
        check_range("milestone diff length", length.into(), 4, MAX_DIFF_BYTES.into())?;
        Self::parse(&source.bytes("milestone diff", length as usize - 4)?)
    }
}

/// Reads an output of a file.
pub(super) fn read_booked<R: std::io::Read>(source: &mut super::source::Source<R>) -> Result<Booked, Error> {
    let mut bytes = source.bytes("output", HEAD_BYTES)?;
    let length = Reader::new(&bytes[HEAD_BYTES - 4..]).u32("output length")?;
    check_range("output length", length.into(), 0, MAX_BLOCK_BYTES as u64)?;
    bytes.extend(source.bytes("output", length as usize)?);
    Ok(Booked::parse(&mut Reader::new(&bytes))?)
}
