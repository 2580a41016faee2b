//! Everything that needs no emulator, in one binary.
#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod allocation;
mod architecture;
mod boards;
mod codec;
mod config;
mod coordinator;
mod damage;
mod db;
mod differential;
mod fetch;
mod full;
mod fuzz;
mod heal;
#[path = "../http.rs"]
mod http;
mod join;
mod keeper;
mod lost;
mod mining;
mod node;
mod peers;
mod pow;
mod powercut;
mod prune;
mod readme;
mod recorded;
mod recorded_store;
mod recording;
mod rest;
mod seeds;
mod semantics;
mod signatures;
mod snapshot;
mod spend;
mod store;
mod stranger;
mod syntax;
mod transitions;
mod value;
mod vectors;
mod wear;
#[path = "../web.rs"]
mod web;
mod whiteflag;
mod words;
