//! The target `autopeering` of `tests/suite/fuzz.rs`.
#![no_main]

#[path = "../../suite/fuzz.rs"]
mod fuzz;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::run("autopeering", bytes));
