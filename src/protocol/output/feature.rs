//! Features (TIP-18): what an output says beside its value.

use crate::protocol::Error;
use crate::protocol::address::Address;
use crate::protocol::pack::{Reader, Writer, check_ascending, check_range};

/// Longest metadata, in bytes.
pub const MAX_METADATA_BYTES: usize = 8_192;

/// Longest tag, in bytes.
pub const MAX_TAG_BYTES: usize = 64;

/// One feature; the variants stand in the order of their type numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feature {
    /// Type 0: who sent it; must have unlocked an input.
    Sender(Address),
    /// Type 1: who created the chain.
    Issuer(Address),
    /// Type 2: 1 to 8,192 bytes.
    Metadata(Vec<u8>),
    /// Type 3: 1 to 64 bytes to find it by.
    Tag(Vec<u8>),
}

impl Feature {
    /// Its type number.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Sender(_) => 0,
            Self::Issuer(_) => 1,
            Self::Metadata(_) => 2,
            Self::Tag(_) => 3,
        }
    }

    fn parse(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, Error> {
        Ok(match reader.u8(field)? {
            0 => Self::Sender(Address::parse(reader, field)?),
            1 => Self::Issuer(Address::parse(reader, field)?),
            2 => {
                let length = reader.u16(field)?;
                Self::Metadata(reader.bytes(field, length.into())?.to_vec())
            }
            3 => {
                let length = reader.u8(field)?;
                Self::Tag(reader.bytes(field, length.into())?.to_vec())
            }
            kind => return Err(Error::UnknownKind { field, kind: kind.into() }),
        })
    }

    fn pack(&self, writer: &mut Writer) {
        writer.u8(self.kind());
        match self {
            Self::Sender(address) | Self::Issuer(address) => address.pack(writer),
            Self::Metadata(bytes) => {
                writer.count_u16(bytes.len()).bytes(bytes);
            }
            Self::Tag(bytes) => {
                writer.count_u8(bytes.len()).bytes(bytes);
            }
        }
    }
}

/// Features of an output, or the immutable ones of a chain: ascending by type, none twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features(Vec<Feature>);

impl Features {
    /// Takes features in order; `allowed` are type numbers.
    ///
    /// # Errors
    /// [`Error::NotSorted`], [`Error::UnknownKind`] for one that this output may not have, [`Error::OutOfRange`] for a
    /// length.
    pub fn new(field: &'static str, list: Vec<Feature>, allowed: &[u8]) -> Result<Self, Error> {
        let kinds = list.iter().map(Feature::kind).collect::<Vec<_>>();
        // TIP-18: > features must be sorted in ascending order based on their type, each at most once
        check_ascending(field, &kinds)?;
        if let Some(kind) = kinds.iter().find(|kind| !allowed.contains(kind)) {
            return Err(Error::UnknownKind { field, kind: u32::from(*kind) });
        }
        for feature in &list {
            match feature {
                Feature::Metadata(bytes) => {
                    check_range(field, bytes.len() as u64, 1, MAX_METADATA_BYTES as u64)?
                }
                Feature::Tag(bytes) => check_range(field, bytes.len() as u64, 1, MAX_TAG_BYTES as u64)?,
                Feature::Sender(_) | Feature::Issuer(_) => {}
            }
        }
        Ok(Self(list))
    }

    pub(super) fn parse(reader: &mut Reader<'_>, field: &'static str, allowed: &[u8]) -> Result<Self, Error> {
        let count = reader.u8(field)?;
        let list = (0..count).map(|_| Feature::parse(reader, field)).collect::<Result<Vec<_>, _>>()?;
        Self::new(field, list, allowed)
    }

    pub(super) fn pack(&self, writer: &mut Writer) {
        writer.count_u8(self.0.len());
        self.0.iter().for_each(|feature| feature.pack(writer));
    }

    /// In ascending order.
    pub fn as_slice(&self) -> &[Feature] {
        &self.0
    }
}
