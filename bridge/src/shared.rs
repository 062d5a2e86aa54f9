//! The agent that a training loop and Python callbacks share.

use agents::Agent;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An agent behind a lock. Whoever holds the lock never waits for the GIL, so the two cannot deadlock.
pub(crate) type SharedAgent = Arc<Mutex<Box<dyn Agent>>>;

/// Locks `agent`, also after a panic elsewhere.
pub(crate) fn lock(agent: &SharedAgent) -> MutexGuard<'_, Box<dyn Agent>> {
    agent.lock().unwrap_or_else(PoisonError::into_inner)
}
