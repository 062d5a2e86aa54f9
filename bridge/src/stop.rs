//! Whether a signal has asked the run to stop, and how urgently.

use agents::Error;
use signal_hook::consts::SIGINT;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};

/// The first signal, or 0.
pub(crate) static FIRST: AtomicI32 = AtomicI32::new(0);
/// Whether the run knows of it.
pub(crate) static NOTICED: AtomicBool = AtomicBool::new(false);
/// Whether the code that runs is to be interrupted.
pub(crate) static FORCED: AtomicBool = AtomicBool::new(false);

/// Whether what is running is to be interrupted, since the loop has not asked for five seconds.
pub(crate) fn interrupting() -> bool {
    FORCED.load(SeqCst)
}

/// What the run ends with.
pub(crate) fn ended() -> Error {
    let first = FIRST.load(SeqCst);
    NOTICED.store(first != 0, SeqCst);
    // An environment may raise `KeyboardInterrupt` by itself.
    if matches!(first, 0 | SIGINT) { Error::Interrupted } else { Error::Terminated }
}
