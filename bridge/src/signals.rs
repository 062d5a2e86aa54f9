//! Signals that end a run. The first one asks the training loop to stop, which it does between two steps, in good order
//! ([`check_signals`]). If it has not within five seconds, the Python code that is running is interrupted. The second
//! signal ends the process at once, whatever it is doing.
//!
//! Python's C code writes each signal's number to a socket, and a thread reads it: that works also while Python or
//! native code hangs. Python's own handlers do nothing but interrupt when they are asked to.

use crate::error::attached;
use crate::stop::{FIRST, FORCED, NOTICED, ended};
use agents::Result;
use pyo3::prelude::*;
use pyo3::types::PyCFunction;
use rustix::process::{Pid, Signal, getpid, getppid, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGURG, SIGUSR1, SIGXCPU};
use std::ffi::CString;
use std::io::{ErrorKind, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Batch systems warn with SIGUSR1, or limit the processor's time with SIGXCPU.
const ENDS: [i32; 5] = [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGXCPU];
/// Interrupts system calls of the main thread. By default a process ignores it.
const NUDGE: i32 = SIGURG;
/// How long a step may go on after the first signal.
const PATIENCE: Duration = Duration::from_secs(5);
/// `timeout` sends each signal twice, to the process and to its group.
const TOGETHER: Duration = Duration::from_millis(50);
/// How long a process may go on after its parent's end.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_secs(1);

/// Whether [`check_signals`] has anything to do.
static ATTENTION: AtomicBool = AtomicBool::new(false);
/// The process that this one is to end with; 0: none.
static PARENT: AtomicI32 = AtomicI32::new(0);

type Relay = Box<dyn Fn(i32) + Send>;
/// Who else is told of signals.
static RELAY: Mutex<Option<Relay>> = Mutex::new(None);

/// From now on Ctrl-C, SIGTERM, a closed terminal and a batch system's warnings end the run in good order, and the
/// second of them at once. Environments cannot set other handlers. Call this on the main thread.
pub fn handle_interrupts() -> Result<()> {
    clear();
    attached("the start of Python", |py| handlers(py)?.call_method0("take").map(drop))
}

/// As [`handle_interrupts`], for a process that has nothing to do but tell others: each signal is given to `relay`.
///
/// # Errors
/// [`Error::Interrupted`] or [`Error::Terminated`] if a signal has come already.
pub fn relay_signals(relay: impl Fn(i32) + Send + 'static) -> Result<()> {
    check_signals()?;
    *RELAY.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(relay));
    handle_interrupts()
}

/// From now on the end of `parent`, whose thread that started this process must last as long as it does, ends the run as
/// SIGTERM does; a run that hangs, half a minute later.
pub fn end_with(parent: i32) {
    PARENT.store(parent, SeqCst);
    // It may have ended before.
    if !end_by(Signal::TERM) || getppid() != Pid::from_raw(parent) {
        let _ = kill_process(getpid(), Signal::TERM);
    }
}

/// [`Error::Interrupted`] or [`Error::Terminated`] after a signal, every time. Call it on the main thread.
pub fn check_signals() -> Result<()> {
    if !ATTENTION.load(SeqCst) {
        return Ok(());
    }
    ATTENTION.store(false, SeqCst);
    if FIRST.load(SeqCst) != 0 {
        ATTENTION.store(true, SeqCst);
        return Err(ended());
    }
    attached("a signal", |py| handlers(py)?.call_method0("take").map(drop))
}

/// For a forked process, whose parent handles signals: ignores them, and ends when its parent does.
pub(crate) fn leave_to_parent(py: Python<'_>, parent: Pid) -> PyResult<()> {
    module(py)?.call_method1("ignore", (ENDS,))?;
    if !end_by(Signal::KILL) || getppid() != Some(parent) {
        signal_hook::low_level::exit(1);
    }
    Ok(())
}

/// Asks the system for `signal` when the parent ends. Only Linux can be asked; elsewhere [`Watch`], and the closed pipe of a
/// forked process, notice.
#[cfg(target_os = "linux")]
fn end_by(signal: Signal) -> bool {
    rustix::process::set_parent_process_death_signal(Some(signal)).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn end_by(_: Signal) -> bool {
    true
}

fn clear() {
    FIRST.store(0, SeqCst);
    for flag in [&NOTICED, &FORCED, &ATTENTION] {
        flag.store(false, SeqCst);
    }
}

/// The Python part of this file.
fn module(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let code = CString::new(include_str!("signals.py"))?;
    PyModule::from_code(py, &code, c"signals.py", c"stac_bench_signals")
}

static HANDLERS: OnceLock<Py<PyAny>> = OnceLock::new();

/// The Python object that sets handlers. The first call starts the thread that reads signals.
fn handlers(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    if let Some(handlers) = HANDLERS.get() {
        return Ok(handlers.bind(py));
    }
    let (ours, theirs) = UnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    ours.set_read_timeout(Some(TICK))?;
    let wakeup = theirs.as_raw_fd();
    let interrupts = PyCFunction::new_closure(py, None, None, |_, _| {
        FORCED.load(SeqCst) && !NOTICED.load(SeqCst)
    })?;
    let numbers = ENDS.into_iter().chain([NUDGE]).collect::<Vec<_>>();
    let handlers = module(py)?.getattr("Handlers")?.call1((numbers, wakeup, interrupts))?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        // Python writes to it as long as this process lives.
        let _theirs = theirs;
        Watch::default().run(ours);
    })?;
    Ok(HANDLERS.get_or_init(|| handlers.unbind()).bind(py))
}

/// What the thread knows.
#[derive(Default)]
struct Watch {
    /// When the first signal came.
    first: Option<Instant>,
    /// When the parent was found gone.
    orphaned: Option<Instant>,
}

impl Watch {
    fn run(mut self, mut signals: UnixStream) {
        let mut last_tick = Instant::now();
        let mut number = [0];
        loop {
            match signals.read(&mut number) {
                Ok(0) => return,
                Ok(_) => self.arrived(number[0].into()),
                Err(error)
                    if [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&error.kind()) => {}
                // An environment has closed it.
                Err(_) => return,
            }
            if last_tick.elapsed() >= TICK {
                last_tick = Instant::now();
                self.tick();
            }
        }
    }

    fn arrived(&mut self, signal: i32) {
        if !ENDS.contains(&signal) {
            return;
        }
        if FIRST.load(SeqCst) == 0 {
            self.first = Some(Instant::now());
            FIRST.store(signal, SeqCst);
            ATTENTION.store(true, SeqCst);
            relay(signal);
        // A shell repeats SIGHUP, and the system SIGXCPU every second.
        } else if ![SIGHUP, SIGXCPU].contains(&signal)
            && self.first.is_some_and(|first| first.elapsed() > TOGETHER)
        {
            relay(signal);
            end(signal);
        }
    }

    fn tick(&mut self) {
        // In case that native code of an environment has set other handlers.
        ATTENTION.store(true, SeqCst);
        let parent = PARENT.load(SeqCst);
        if parent != 0 && getppid() != Pid::from_raw(parent) {
            let gone = *self.orphaned.get_or_insert_with(Instant::now);
            if FIRST.load(SeqCst) == 0 {
                self.arrived(SIGTERM);
            } else if gone.elapsed() > ORPHAN_PATIENCE {
                end(SIGTERM);
            }
        }
        let unanswered = FIRST.load(SeqCst) != 0 && !NOTICED.load(SeqCst);
        if unanswered && self.first.is_some_and(|first| first.elapsed() >= PATIENCE) {
            FORCED.store(true, SeqCst);
            let _ = kill_process(getpid(), Signal::URG);
        }
    }
}

fn relay(signal: i32) {
    if let Some(relay) = &*RELAY.lock().unwrap_or_else(PoisonError::into_inner) {
        NOTICED.store(true, SeqCst);
        relay(signal);
    }
}

/// Ends this process as `signal` does, without waiting for anything.
fn end(signal: i32) -> ! {
    signal_hook::low_level::exit(128 + signal)
}
