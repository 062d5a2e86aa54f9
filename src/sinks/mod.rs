//! Where a run's measures go.

mod evaluations;
mod monitor;
mod progress;
mod tensorboard;

pub use evaluations::Evaluations;
pub use monitor::Monitor;
pub use progress::Progress;
pub use tensorboard::TensorBoard;

use agents::Result;

/// A place that keeps scalars: an event file of TensorBoard, or `progress.csv`.
pub trait Sink {
    /// Records `value` under `tag` at environment step `step`.
    fn scalar(&mut self, tag: &str, value: f64, step: u64) -> Result<()>;

    /// Ends a logging interval: what was recorded since the last flush is safe afterwards.
    fn flush(&mut self) -> Result<()>;
}
