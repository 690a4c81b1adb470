//! The binary `deadletter`.

fn main() {}
