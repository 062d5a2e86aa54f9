//! What the tests that run Python share.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Lets the tests of a binary run one after another. Some of them fork, and what another thread is in the middle of
/// (the first use of a Python module, say) would never end in the new process, which waits for it for ever.
pub fn alone() -> MutexGuard<'static, ()> {
    static RUNNING: Mutex<()> = Mutex::new(());
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}
