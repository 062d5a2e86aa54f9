//! `stac-bench`: parse, run, report.

use clap::Parser as _;
use stac_bench::cli::Cli;
use stac_bench::complain;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    stac_bench::cli::start_logging(cli.verbose);
    match stac_bench::commands::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain!("error: {failure}");
            if cli.verbose > 0
                && let Some(traceback) = failure.traceback()
            {
                complain!("{traceback}");
            }
            ExitCode::from(&failure)
        }
    }
}
