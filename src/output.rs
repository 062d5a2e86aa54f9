//! Lines on standard output and standard error. A reader that has gone (`stac-bench algos | head -1`) is no
//! reason to stop, and `println!` would panic.

use std::fmt::Arguments;
use std::io::Write as _;

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
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Writes a line to standard error.
pub fn to_stderr(line: Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
