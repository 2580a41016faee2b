//! Tagged data payload (TIP-23): a tag to find it by, and data.

use super::pack::{Reader, Writer, check_range};
use super::{Error, MAX_BLOCK_BYTES};

/// Payload type number on the wire and in JSON.
pub const KIND: u32 = 5;

/// Longest tag, in bytes.
pub const MAX_TAG_BYTES: usize = 64;

/// Tag and data; either may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedData {
    // Invariant: at most MAX_TAG_BYTES.
    tag: Vec<u8>,
    data: Vec<u8>,
}

impl TaggedData {
    /// Joins tag and data.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when the tag is longer than 64 bytes, or the data than a block.
    pub fn new(tag: Vec<u8>, data: Vec<u8>) -> Result<Self, Error> {
        check_range("payload.tag length", tag.len() as u64, 0, MAX_TAG_BYTES as u64)?;
        check_range("payload.data length", data.len() as u64, 0, MAX_BLOCK_BYTES as u64)?;
        Ok(Self { tag, data })
    }

    /// 0 to 64 bytes.
    pub fn tag(&self) -> &[u8] {
        &self.tag
    }

    /// The data.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Reads what follows the payload's type.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a tag over 64 bytes, [`Error::UnexpectedEnd`].
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let tag_length = reader.u8("payload.tag length")?;
        check_range("payload.tag length", u64::from(tag_length), 0, MAX_TAG_BYTES as u64)?;
        let tag = reader.bytes("payload.tag", usize::from(tag_length))?.to_vec();
        let data_length = reader.u32("payload.data length")? as usize;
        let data = reader.bytes("payload.data", data_length)?.to_vec();
        Ok(Self { tag, data })
    }

    /// Appends the payload with its type.
    pub fn pack(&self, writer: &mut Writer) {
        writer.u32(KIND);
        writer.count_u8(self.tag.len()).bytes(&self.tag);
        writer.count_u32(self.data.len()).bytes(&self.data);
    }
}
