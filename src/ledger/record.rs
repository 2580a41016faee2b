//! Outputs as snapshots write them (TIP-35); the store keeps them in the same form.

use super::{Booked, Spent};
use crate::protocol::id::{BlockId, MilestoneIndex, OutputId, TransactionId};
use crate::protocol::output::Output;
use crate::protocol::pack::{Reader, Writer, check_range};
use crate::protocol::{Error, MAX_BLOCK_BYTES};

impl Booked {
    /// Appends the form of TIP-35: id, block, index and time of the milestone, length, output.
    pub fn pack(&self, writer: &mut Writer) {
        let output = self.output.to_bytes();
        writer.bytes(&self.id.pack()).bytes(&self.block.0).u32(self.index.0).u32(self.timestamp);
        writer.count_u32(output.len()).bytes(&output);
    }

    /// The form of TIP-35.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        self.pack(&mut writer);
        writer.into_bytes()
    }

    /// The inverse of [`Booked::pack`].
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let id = OutputId::from_bytes(&reader.array("output id")?);
        let block = BlockId(reader.array("output blockId")?);
        let index = MilestoneIndex(reader.u32("output milestoneIndexBooked")?);
        let timestamp = reader.u32("output milestoneTimestampBooked")?;
        let length = reader.u32("output length")? as usize;
        check_range("output length", length as u64, 0, MAX_BLOCK_BYTES as u64)?;
        let mut bytes = Reader::new(reader.bytes("output", length)?);
        let output = Output::parse(&mut bytes)?;
        bytes.finish("output")?;
        Ok(Self { id, block, index, timestamp, output })
    }
}

impl Spent {
    /// Appends the form of TIP-35: the output, then the transaction that spent it.
    pub fn pack(&self, writer: &mut Writer) {
        self.booked.pack(writer);
        writer.bytes(&self.transaction.0);
    }

    /// The inverse of [`Spent::pack`].
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let booked = Booked::parse(reader)?;
        Ok(Self { booked, transaction: TransactionId(reader.array("output transactionIdSpent")?) })
    }
}
