//! The command line of stac-bench: configuration, run folders, sinks, commands.

#![forbid(unsafe_code)]

#[macro_use]
pub mod output;

pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod config;
pub mod consent;
pub mod cores;
pub mod display;
pub mod failure;
pub mod files;
pub mod harness;
mod host;
pub mod model;
pub mod observer;
pub mod picture;
pub mod run;
pub mod run_dir;
pub mod score;
pub mod sinks;

/// The version of the libtorch that this was linked with.
pub const LIBTORCH: &str = env!("STAC_BENCH_LIBTORCH");
