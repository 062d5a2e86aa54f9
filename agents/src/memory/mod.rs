//! What agents remember: transitions off policy, trajectories on policy.

mod normalizer;
mod observations;
mod replay;
mod rollout;
mod source;

pub use normalizer::Normalizer;
pub use replay::{Batch, Replay};
pub use rollout::{Rollout, Trajectories};
pub use source::{Memory, MemoryMut};
