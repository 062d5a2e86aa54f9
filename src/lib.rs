//! The command line of stac-bench: configuration, run folders, sinks, commands.

#[macro_use]
pub mod output;

pub mod cli;
pub mod commands;
pub mod config;
pub mod display;
pub mod failure;
pub mod model;
pub mod observer;
pub mod picture;
pub mod run;
pub mod run_dir;
pub mod score;
pub mod sinks;

/// The version of the libtorch that this was linked with.
pub const LIBTORCH: &str = env!("STAC_BENCH_LIBTORCH");
