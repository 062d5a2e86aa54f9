//! Lines on standard output and standard error. A reader that has gone (`stac-bench algos | head -1`) is no
//! reason to stop, and `println!` would panic. A full disk is an error, told at the end.

use std::fmt::Arguments;
use std::io::{Error, ErrorKind, Write as _};
use std::sync::OnceLock;

/// Why a line did not reach standard output.
static LOST: OnceLock<Error> = OnceLock::new();

/// As `println!`.
#[macro_export]
macro_rules! say {
    ($($words:tt)*) => { $crate::output::to_stdout(format_args!($($words)*)) };
}

/// As `eprintln!`.
#[macro_export]
macro_rules! complain {
    ($($words:tt)*) => { $crate::output::to_stderr(format_args!($($words)*)) };
}

/// Writes a line to standard output.
pub fn to_stdout(line: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => drop(LOST.set(error)),
        _ => {}
    }
}

/// Why something that was to be said on standard output was not.
pub fn lost() -> Option<&'static Error> {
    LOST.get()
}

/// Writes a line to standard error.
pub fn to_stderr(line: Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
