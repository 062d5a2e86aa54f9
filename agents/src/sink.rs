//! Where measures go.

use crate::error::Result;

/// A place that keeps scalars: TensorBoard, a CSV file, Stable-Baselines3's logger, memory.
pub trait Sink {
    /// Records `value` under `tag` at environment step `step`.
    fn scalar(&mut self, tag: &str, value: f64, step: u64) -> Result<()>;

    /// Ends a logging interval: what was recorded since the last flush is safe afterwards.
    fn flush(&mut self) -> Result<()>;
}
