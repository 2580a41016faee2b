//! What the appliance decides at boot and while it runs, without doing any of it.
//!
//! Pure (layer L1).

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod button;
pub mod clock;
pub mod minimum;
pub mod policy;
pub mod resets;
pub mod slot;
pub mod status;
pub mod trial;
