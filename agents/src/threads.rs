//! Threads of this process that compute gradients.

use crate::error::{Error, Result};
use std::cell::Cell;
use std::sync::{Mutex, PoisonError};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(1) };
}

/// Whether the pool is there. There is one, made once.
static POOL: Mutex<bool> = Mutex::new(false);

/// Gives gradients `count` threads, of which the calling one is the first, and libtorch as many;
/// without it there is one. To be called from the thread that will drive the agents, and before they
/// are built.
pub fn set(count: usize) -> Result<()> {
    grant(count, count)?;
    let torch = i32::try_from(count).map_err(|error| unable(count, error.to_string()))?;
    tch::set_num_threads(torch);
    Ok(())
}

/// The same for agents of different numbers, which share a pool of the machine's size. libtorch is left
/// to the caller.
pub fn share(count: usize) -> Result<()> {
    grant(count, count.max(cores()).max(2))
}

/// How many the agents have that this thread builds.
pub fn count() -> usize {
    COUNT.get()
}

fn grant(count: usize, pool: usize) -> Result<()> {
    if count == 0 {
        return Err(unable(count, "it must be at least 1".into()));
    }
    if count > cores().saturating_mul(4) {
        return Err(unable(count, format!("this machine has {} cores", cores())));
    }
    let mut made = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    if count > 1 && !*made {
        // The calling thread is one of the pool, so that it works on its share instead of waiting.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(pool).use_current_thread();
        pool.build_global().map_err(|error| unable(count, error.to_string()))?;
        *made = true;
    }
    COUNT.set(count);
    Ok(())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

fn unable(count: usize, reason: String) -> Error {
    Error::config("threads", count, reason)
}
