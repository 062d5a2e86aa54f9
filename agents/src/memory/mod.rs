//! What agents remember: transitions off policy, trajectories on policy.

mod replay;
mod rollout;

pub use replay::{Batch, Replay};
pub use rollout::{Rollout, Trajectories};
