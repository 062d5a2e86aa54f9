//! Where a run's measures go.

mod all;
mod append;
mod evaluations;
mod monitor;
mod progress;
mod tensorboard;

pub use all::{Saved, Sinks};

use crate::failure::Failure;

/// A place that keeps scalars: an event file of TensorBoard, or `progress.csv`.
pub trait Sink {
    /// Records `value` under `tag` at environment step `step`.
    fn scalar(&mut self, tag: &str, value: f64, step: u64) -> Result<(), Failure>;

    /// Ends a logging interval: what was recorded since the last flush is safe afterwards.
    fn flush(&mut self) -> Result<(), Failure>;
}
