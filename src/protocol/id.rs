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
