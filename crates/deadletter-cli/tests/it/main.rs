//! The binary as a shell sees it: one module per group of commands.

mod bench;
mod config;
mod letters;
mod simulate;
