//! What agents remember: transitions off policy, trajectories on policy.

mod normalizer;
mod replay;
mod rollout;

pub use normalizer::Normalizer;
pub use replay::{Batch, Replay};
pub use rollout::{Rollout, Trajectories};
