//! Threads of this process that compute gradients.

use crate::error::{Error, Result};
use std::sync::OnceLock;

static COUNT: OnceLock<usize> = OnceLock::new();

/// Gives gradients `count` threads, of which the calling one is the first; without it there is one. To
/// be called from the thread that will drive the agents, and before they are built.
pub fn set(count: usize) -> Result<()> {
    let unable = |reason: String| Error::config("threads", count, reason);
    let count = count.max(1);
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    if count > cores.saturating_mul(4) {
        return Err(unable(format!("this machine has {cores} cores")));
    }
    if COUNT.get() == Some(&count) {
        return Ok(());
    }
    tch::set_num_threads(i32::try_from(count).map_err(|error| unable(error.to_string()))?);
    if count > 1 {
        // The calling thread is one of the pool, so that it works on its share instead of waiting.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(count).use_current_thread();
        pool.build_global().map_err(|error| unable(error.to_string()))?;
    }
    COUNT.set(count).map_err(|_| unable("another number has been set before".into()))
}

/// How many there are.
pub fn count() -> usize {
    COUNT.get().copied().unwrap_or(1)
}
