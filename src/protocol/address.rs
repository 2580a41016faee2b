//! Addresses (TIP-31): who may unlock an output.

use super::id::{AliasId, NftId};
use super::pack::{Reader, Writer};
use super::{Error, blake2b_256};

/// Type byte of an Ed25519 address.
pub const ED25519: u8 = 0;

/// Type byte of an alias address.
pub const ALIAS: u8 = 8;

/// Type byte of an NFT address.
pub const NFT: u8 = 16;

/// An address. 33 bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// BLAKE2b-256 of an Ed25519 public key.
    Ed25519([u8; 32]),
    /// An alias: whoever controls its state.
    Alias(AliasId),
    /// An NFT: whoever owns it.
    Nft(NftId),
}

impl Address {
    /// That of a public key.
    pub fn of_key(public_key: &[u8; 32]) -> Self {
        Self::Ed25519(blake2b_256(public_key))
    }

    /// Reads type and content.
    ///
    /// # Errors
    /// [`Error::UnknownKind`], [`Error::UnexpectedEnd`].
    pub fn parse(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, Error> {
        match reader.u8(field)? {
            ED25519 => Ok(Self::Ed25519(reader.array(field)?)),
            ALIAS => Ok(Self::Alias(AliasId(reader.array(field)?))),
            NFT => Ok(Self::Nft(NftId(reader.array(field)?))),
            kind => Err(Error::UnknownKind { field, kind: kind.into() }),
        }
    }

    /// Appends type and content.
    pub fn pack(&self, writer: &mut Writer) {
        let (kind, bytes) = match self {
            Self::Ed25519(hash) => (ED25519, hash),
            Self::Alias(id) => (ALIAS, &id.0),
            Self::Nft(id) => (NFT, &id.0),
        };
        writer.u8(kind).bytes(bytes);
    }
}
