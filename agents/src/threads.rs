//! Threads of this process that compute gradients.

use crate::error::{Error, Result};
use std::sync::OnceLock;

static COUNT: OnceLock<usize> = OnceLock::new();

/// Gives gradients `threads` threads, of which the calling one is the first. To be called once, before
/// agents are built, from the thread that will drive them; without it there is one.
pub fn set(threads: usize) -> Result<()> {
    let unable = |reason: String| Error::config("threads", threads, reason);
    tch::set_num_threads(i32::try_from(threads).map_err(|error| unable(error.to_string()))?);
    if threads > 1 {
        // The calling thread works too: nobody sleeps while there is something to do.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread();
        pool.build_global().map_err(|error| unable(error.to_string()))?;
    }
    COUNT.set(threads.max(1)).map_err(|_| unable("it has been set before".into()))
}

/// How many there are.
pub fn count() -> usize {
    COUNT.get().copied().unwrap_or(1)
}
