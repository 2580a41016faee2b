//! Bugs that a test plants, to see that the simulator finds them. Nothing but a test plants one, and builds without debug
//! assertions (whatever a board runs) have none of this.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::sync::atomic::{AtomicU8, Ordering};

/// A bug. Each leaves a rule out that some day was forgotten somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// Two transactions of one milestone may spend the same output.
    DoubleSpend = 1,
    /// A block that a milestone references already may be referenced again.
    ReferencedTwice = 2,
    /// What the next milestone lacks is asked for once.
    NeverAskedAgain = 3,
    /// Who was asked and does not answer is waited for.
    WaitsForEver = 4,
    /// Blocks on parents that nobody has are never forgotten.
    KeepsForEver = 5,
}

impl Bug {
    /// Every bug.
    pub const ALL: [Self; 5] = [
        Self::DoubleSpend,
        Self::ReferencedTwice,
        Self::NeverAskedAgain,
        Self::WaitsForEver,
        Self::KeepsForEver,
    ];
}

static PLANTED: AtomicU8 = AtomicU8::new(0);

/// Plants a bug in this process, instead of the one before.
pub fn plant(bug: Option<Bug>) {
    PLANTED.store(bug.map_or(0, |bug| bug as u8), Ordering::Relaxed);
}

/// Whether it is planted.
pub fn is_planted(bug: Bug) -> bool {
    cfg!(debug_assertions) && PLANTED.load(Ordering::Relaxed) == bug as u8
}
