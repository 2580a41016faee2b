//! Faults that are nobody's input: the node cannot go on as it is.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

/// A read of the store failed. Never a property of a block: the node must stop, not guess.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("store: {0}")]
pub struct ViewError(pub String);
