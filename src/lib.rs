//! Osmia: one static binary that is an IOTA Tangle node (Stardust), and PID 1 of a board that runs it.

pub mod board;
pub mod boot;
pub mod cli;
pub mod config;
pub mod coordinator;
pub mod dhcp;
pub mod engine;
pub mod files;
pub mod firmware;
pub mod handle;
pub mod init;
pub mod ledger;
pub mod logging;
pub mod mining;
pub mod node;
pub mod pow;
pub mod protocol;
pub mod rest;
pub mod store;
pub mod tangle;
