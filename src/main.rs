//! `stac-bench`

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(stac_bench::run::main(std::env::args_os()))
}
