//! Where a run's measures go.

mod evaluations;
mod monitor;
mod progress;
mod tensorboard;

pub use evaluations::Evaluations;
pub use monitor::Monitor;
pub use progress::Progress;
pub use tensorboard::TensorBoard;
