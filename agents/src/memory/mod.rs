//! What agents remember: transitions off policy, trajectories on policy.

mod replay;

pub use replay::{Batch, Replay};
