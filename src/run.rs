//! The program: arguments in, exit status out.

use crate::cli::Cli;
use crate::commands;
use crate::output;
use clap::Parser as _;
use std::ffi::OsString;
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Parses `arguments` (the program's name first), runs the command and prints an error. Returns the exit status.
pub fn main(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        // Help is not an error: clap prints it to standard output with exit status 0.
        Err(message) => {
            let _ = message.print();
            return u8::try_from(message.exit_code()).unwrap_or(2);
        }
    };
    start_logging(cli.verbose);
    let mut status = match commands::run(&cli) {
        Ok(()) => 0,
        Err(failure) => {
            complain!("error: {failure}");
            if cli.verbose > 0
                && let Some(traceback) = failure.traceback()
            {
                complain!("{traceback}");
            }
            failure.exit_status()
        }
    };
    bridge::finalize();
    if let Some(error) = output::lost().filter(|_| status == 0) {
        complain!("error: cannot write to standard output: {error}");
        status = 1;
    }
    status
}

/// Log messages go to standard error, at `RUST_LOG`'s level or that of `-v`.
pub fn start_logging(verbose: u8) {
    let level = ["warn", "info", "debug"][usize::from(verbose.min(2))];
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .with_target(false)
        .init();
}
