//! Osmia: one static binary that is an IOTA Tangle node (Stardust), and PID 1 of a board that runs it.
//!
//! # Layers
//!
//! A module uses lower layers and its own folder, nothing else; L0 to L2 have no clock, files or threads.
//!
//! | layer | modules | what |
//! | --- | --- | --- |
//! | L0 | [`protocol`] [`pow`] [`board`] [`config`] [`fault`] [`planted`] [`token`] | words: bytes and text to values |
//! | L1 | [`tangle`] [`ledger`] [`gossip`] [`autopeering`] [`snapshot`] [`boot`] [`dhcp`] [`sntp`] | rules and state machines |
//! | L2 | [`engine`] | joins Tangle and ledger: blocks in, effects out |
//! | L3 | [`store`] [`handle`] [`keeper`] [`mining`] [`files`] [`identity`] [`logging`] | what survives, and what ports may hold |
//! | L4 | [`rest`] [`net`] [`coordinator`] [`rescue`] [`timekeeper`] [`confine`] [`firmware`] [`hardware`] | ports and hands |
//! | L5 | [`node`] [`init`] [`tools`] | the node, PID 1, tools without a node |
//! | top | [`cli`] | command line |
//!
//! # Glossary
//!
//! The words are those of the TIPs. *Solid*: the whole past cone is known. *Referenced*: in the past cone of a
//! confirmed milestone. *CMI*, *LMI*: index of the confirmed, of the latest known milestone. *Below max depth*:
//! so far behind the CMI that no new block may approve it. *YMRSI*, *OMRSI* (HORNET: YCRI, OCRI): youngest
//! and oldest milestone that a block's past cone hangs on. *White flag*: the order in which a milestone's new
//! cone is applied. *Epoch*: a run of milestones whose blocks are stored, and pruned, together. *Interval*: the
//! time between two confirmed milestones. *Slot*: one of two places on a card to start a system from.

#[cfg(feature = "attack")]
pub mod attack;
pub mod autopeering;
pub mod board;
pub mod boot;
pub mod cli;
pub mod config;
pub mod confine;
pub mod coordinator;
pub mod dhcp;
pub mod engine;
pub mod fault;
pub mod files;
pub mod firmware;
pub mod gossip;
pub mod handle;
pub mod hardware;
pub mod identity;
pub mod init;
pub mod keeper;
pub mod ledger;
pub mod logging;
pub mod mining;
pub mod net;
pub mod node;
pub mod planted;
pub mod pow;
pub mod protocol;
pub mod rescue;
pub mod rest;
pub mod snapshot;
pub mod sntp;
pub mod store;
pub mod tangle;
pub mod timekeeper;
pub mod token;
pub mod tools;
