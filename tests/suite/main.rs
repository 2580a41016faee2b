//! Everything that needs no emulator, in one binary.
#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod architecture;
mod boards;
mod codec;
mod config;
mod coordinator;
mod damage;
mod differential;
#[path = "../http.rs"]
mod http;
mod mining;
mod node;
mod pow;
mod readme;
mod rest;
mod store;
mod value;
mod vectors;
mod words;
