//! The state transition of one milestone: which blocks it references, in which order, with which roots.
//!
//! Pure (layer L1): reads through [`view::ConeView`], writes nothing. Transactions are not supported yet,
//! so every referenced block is [`Inclusion::NoTransaction`] and the applied root is that of no block.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod authority;
pub mod view;
pub mod whiteflag;

/// What a milestone made of a block it references (TIP-25 `ledgerInclusionState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inclusion {
    /// The block carries no transaction.
    NoTransaction,
}

/// A block newly referenced by a milestone; its place in the list is its white-flag index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Referenced {
    /// The block.
    pub id: crate::protocol::id::BlockId,
    /// What became of its payload.
    pub inclusion: Inclusion,
}
