//! What agents remember: transitions off policy, trajectories on policy.

mod normalizer;
mod replay;

pub use normalizer::Normalizer;
pub use replay::{Batch, Replay};
