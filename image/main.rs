//! Image builder (to come).

fn main() {}
