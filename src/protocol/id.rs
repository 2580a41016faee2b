//! Identifiers and small numbers of the protocol as types of their own, so that none is taken for another.

use super::{Error, hex};

/// Declares a 32-byte identifier with its hex form.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// All bytes zero: the solid entry point of a network's genesis.
            pub const ZERO: Self = Self([0; 32]);

            /// Reads exactly 32 bytes of `0x` hex.
            ///
            /// # Errors
            /// [`Error::Malformed`] or [`Error::LengthMismatch`].
            pub fn from_hex(text: &str) -> Result<Self, Error> {
                hex::decode_array($field, text).map(Self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&hex::encode(&self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// BLAKE2b-256 of a serialized block (TIP-24). 32 bytes.
    BlockId,
    "blockId"
);
id!(
    /// BLAKE2b-256 of a milestone's essence (TIP-29). 32 bytes.
    MilestoneId,
    "milestoneId"
);

id!(
    /// BLAKE2b-256 of a serialized transaction payload (TIP-20). 32 bytes.
    TransactionId,
    "transactionId"
);
id!(
    /// Of an alias: BLAKE2b-256 of the id of the output that created it (TIP-18). 32 bytes, zero in that output.
    AliasId,
    "aliasId"
);
id!(
    /// Of an NFT: BLAKE2b-256 of the id of the output that created it (TIP-18). 32 bytes, zero in that output.
    NftId,
    "nftId"
);

/// An output of a transaction (TIP-20). 34 bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputId {
    /// The transaction; for migrated funds, the milestone.
    pub transaction: TransactionId,
    /// Its place among the outputs.
    pub index: u16,
}

impl OutputId {
    /// Bytes on the wire.
    pub const BYTES: usize = 34;

    /// The binary form.
    pub fn pack(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..32].copy_from_slice(&self.transaction.0);
        bytes[32..].copy_from_slice(&self.index.to_le_bytes());
        bytes
    }

    /// The inverse of [`OutputId::pack`].
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let (transaction, index) = bytes.split_at(32);
        Self {
            transaction: TransactionId(transaction.try_into().expect("split there")),
            index: u16::from_le_bytes(index.try_into().expect("two are left")),
        }
    }

    /// Reads exactly 34 bytes of `0x` hex.
    ///
    /// # Errors
    /// [`Error::Malformed`] or [`Error::LengthMismatch`].
    pub fn from_hex(text: &str) -> Result<Self, Error> {
        hex::decode_array("outputId", text).map(|bytes| Self::from_bytes(&bytes))
    }
}

impl std::fmt::Display for OutputId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(&self.pack()))
    }
}

/// Of a foundry and of the native token that it controls (TIP-18). 38 bytes: address of the alias, serial number, kind of
/// its token scheme.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub [u8; 38]);

impl TokenId {
    /// Reads exactly 38 bytes of `0x` hex.
    ///
    /// # Errors
    /// [`Error::Malformed`] or [`Error::LengthMismatch`].
    pub fn from_hex(field: &'static str, text: &str) -> Result<Self, Error> {
        hex::decode_array(field, text).map(Self)
    }
}

impl std::fmt::Display for TokenId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl std::fmt::Debug for TokenId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Number of a milestone, 1 for a network's first; 0 is its genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MilestoneIndex(pub u32);

impl MilestoneIndex {
    /// The following index.
    ///
    /// # Panics
    /// After 2³²-1 milestones: 680 years at one in 5 s.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for MilestoneIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
