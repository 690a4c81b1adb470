//! The binary as a shell sees it: one module per group of commands.
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod acts;
mod advice;
mod begun;
mod bench;
mod canary;
mod config;
mod cut_short;
mod demo;
mod doctor;
mod dotenv;
mod drain;
mod explain;
mod family;
mod history;
mod keys;
mod letters;
mod missing;
mod pages;
mod places;
mod postgres;
mod redis;
mod redrive;
mod rows;
mod run;
mod secure;
mod serve;
mod simulate;
mod stats;
mod store;
mod talk;
mod turns;
mod upstream;
