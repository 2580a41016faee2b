//! The words of the protocol: bytes to values and back, and the rules that need nothing but the bytes.
//!
//! Pure (layer L0): no IO, no clock, no threads. Every parser is total: any input gives a value or an
//! [`Error`] that names the field, and no allocation is larger than the input it was read from.
//!
//! Limits (TIP-24, TIP-29): a block is at most [`MAX_BLOCK_BYTES`] and has 1 to [`MAX_PARENTS`] parents.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod address;
pub mod block;
pub mod hex;
pub mod id;
pub mod json;
pub mod json_output;
pub mod json_params;
pub mod json_transaction;
pub mod merkle;
pub mod milestone;
pub mod output;
pub mod pack;
pub mod params;
pub mod rent;
pub mod signature;
pub mod tagged_data;
pub mod transaction;
pub mod treasury;

/// Protocol version spoken on the wire and in milestones (TIP-22).
pub const PROTOCOL_VERSION: u8 = 2;

/// Largest serialized block, in bytes (TIP-24 §Syntactic validation).
pub const MAX_BLOCK_BYTES: usize = 32_768;

/// Most parents a block or a milestone may name (TIP-24, TIP-29).
pub const MAX_PARENTS: usize = 8;

/// Why bytes or JSON are not a word of the protocol. Each variant carries the field it was found in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The input ends inside a field.
    #[error("{field}: {need} more bytes needed, {left} left")]
    UnexpectedEnd {
        /// The field being read.
        field: &'static str,
        /// Bytes that the field needs.
        need: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// Bytes remain after the last field.
    #[error("{field}: {count} bytes left over after the end")]
    TrailingBytes {
        /// The word that ended too early.
        field: &'static str,
        /// How many bytes remain.
        count: usize,
    },
    /// A count, length or number is outside its range.
    #[error("{field}: {value} is not in {min}..={max}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// What was read.
        value: u64,
        /// Smallest allowed value.
        min: u64,
        /// Largest allowed value.
        max: u64,
    },
    /// Entries are not strictly ascending: wrong order, or one stands twice.
    #[error("{field}: entries must be unique and in ascending byte order")]
    NotSorted {
        /// The list.
        field: &'static str,
    },
    /// A type or version byte that is not known here.
    #[error("{field}: type {kind} is not supported")]
    UnknownKind {
        /// The field.
        field: &'static str,
        /// The number found.
        kind: u32,
    },
    /// The announced length and the content disagree.
    #[error("{field}: {announced} bytes announced, {found} found")]
    LengthMismatch {
        /// The field.
        field: &'static str,
        /// Length prefix.
        announced: usize,
        /// Length of the content.
        found: usize,
    },
    /// Text that is not what the field asks for (hex, number, UTF-8).
    #[error("{field}: {expected} expected")]
    Malformed {
        /// The field.
        field: &'static str,
        /// What would have been right.
        expected: &'static str,
    },
}

/// BLAKE2b-256, the one hash of the protocol. 32 bytes.
pub fn blake2b_256(bytes: &[u8]) -> [u8; 32] {
    use blake2::Digest;
    blake2::Blake2b::<blake2::digest::consts::U32>::digest(bytes).into()
}
