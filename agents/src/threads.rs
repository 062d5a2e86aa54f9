//! Threads of this process that compute gradients.

use crate::error::{Error, Result};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(1) };
}

/// The process whose pool is there. There is one, made once.
static POOL: Mutex<Option<u32>> = Mutex::new(None);

/// Gives gradients `count` threads, of which the calling one is the first, and libtorch as many;
/// without it there is one. To be called from the thread that will drive the agents, and before they
/// are built.
pub fn set(count: usize) -> Result<()> {
    grant(count, count)?;
    #[cfg(feature = "torch")]
    tch::set_num_threads(i32::try_from(count).map_err(|error| unable(count, error.to_string()))?);
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
    let process = std::process::id();
    if count > 1 && made.is_some_and(|maker| maker != process) {
        let reason = "this process was forked from one that has threads; start it with spawn";
        return Err(unable(count, reason.into()));
    }
    if count > 1 && made.is_none() {
        // The calling thread is one of the pool, so that it works on its share instead of waiting.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(pool).use_current_thread();
        pool.build_global().map_err(|error| unable(count, error.to_string()))?;
        *made = Some(process);
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

/// Runs both, at once if `threads` is more than one. Like [`rayon::join`], but the calling thread waits
/// for the other awake: what is left to wait for is shorter than falling asleep and waking up.
pub(crate) fn join(threads: usize, a: impl FnOnce() + Send, b: impl FnOnce() + Send) {
    if threads <= 1 {
        a();
        return b();
    }
    let done = AtomicBool::new(false);
    let first = || {
        a();
        // Runs `b` here, unless another thread has taken it.
        poll_until(&done);
    };
    let second = || {
        let _done = SetOnDrop(&done);
        b();
    };
    rayon::join(first, second);
}

/// Runs `f`; if `threads` is more than one, the pool's other threads wait for work awake meanwhile. For
/// stretches in which they are given some every few microseconds.
pub(crate) fn keep_awake<R>(threads: usize, f: impl FnOnce() -> R) -> R {
    // From outside the pool, the thread that made it would be waited for, too, whatever it does.
    let Some(caller) = rayon::current_thread_index().filter(|_| threads > 1) else {
        return f();
    };
    let done = AtomicBool::new(false);
    rayon::in_place_scope(|scope| {
        scope.spawn_broadcast(|_, thread| {
            // The next ones; a pool may have more than are asked for.
            let pool = thread.num_threads();
            if (1..threads).contains(&((thread.index() + pool - caller) % pool)) {
                poll_until(&done);
            }
        });
        let _done = SetOnDrop(&done);
        f()
    })
}

/// Polls so often before it lets other programs have the core in between.
const PATIENCE: u32 = 200;

/// Works on whatever the pool has to do until `done`.
fn poll_until(done: &AtomicBool) {
    let mut idle = 0_u32;
    while !done.load(Ordering::Acquire) {
        match rayon::yield_now() {
            Some(rayon::Yield::Executed) => idle = 0,
            _ if idle < PATIENCE => {
                idle += 1;
                std::hint::spin_loop();
            }
            _ => std::thread::yield_now(),
        }
    }
}

/// Tells those who wait, even where what they wait for panics.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// `sum_{i < n} i`, by halves.
    fn sum(from: u64, to: u64) -> u64 {
        if to - from <= 1 {
            return from;
        }
        let (middle, mut halves) = (from.midpoint(to), [0; 2]);
        let [first, second] = &mut halves;
        join(2, || *first = sum(from, middle), || *second = sum(middle, to));
        halves.iter().sum()
    }

    #[test]
    fn joins_run_both_sides_to_their_end_nested_and_awake() {
        let sums = keep_awake(2, || (0..200).map(|_| sum(0, 100)).collect::<Vec<_>>());
        assert_eq!(sums, [4950; 200]);
        assert_eq!(keep_awake(1, || sum(0, 100)), 4950);
    }

    /// Neither the caller nor the pool waits for ever, and the panic arrives.
    #[test]
    #[allow(clippy::panic)]
    fn a_panic_on_either_side_is_passed_on() {
        let fail = || panic!("on purpose");
        for (a, b) in [(true, false), (false, true), (true, true)] {
            let both = || {
                join(
                    2,
                    || {
                        if a {
                            fail()
                        }
                    },
                    || {
                        if b {
                            fail()
                        }
                    },
                )
            };
            assert!(catch_unwind(AssertUnwindSafe(|| keep_awake(2, both))).is_err());
        }
        assert_eq!(sum(0, 100), 4950);
    }
}
