//! What `stac-bench` does.

mod eval;
mod job;
mod manifest;
mod pool;
mod report;
mod resume;
mod rl_zoo3;
mod script;
mod seeds;
mod settings;
mod sweep;
mod toy;
mod train;

use crate::cli::{Cli, Command, TrainArgs};
use crate::cores;
use crate::failure::Failure;
use crate::run_dir::Start;
use agents::registry::ALGORITHMS;
use clap::CommandFactory as _;
use job::Job;

/// Runs the command of `cli`.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        _ if cli.version => version()?,
        None => train(&cli.train)?,
        Some(Command::Train(arguments)) => train(arguments)?,
        Some(Command::Resume(arguments)) => resume::run(arguments)?,
        Some(Command::Sweep(arguments)) => sweep::run(arguments)?,
        Some(Command::Report(arguments)) => report::run(arguments)?,
        Some(Command::Eval(arguments)) => eval::run(arguments)?,
        Some(Command::Toy(arguments)) => toy::run(arguments)?,
        Some(Command::Algos) => algos(),
        Some(Command::Settings(arguments)) => settings::run(arguments)?,
        Some(Command::Completions { shell }) => {
            let mut command = Cli::command();
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut command, "stac-bench", &mut script);
            say!("{}", String::from_utf8_lossy(&script));
        }
    }
    Ok(())
}

fn train(arguments: &TrainArgs) -> Result<(), Failure> {
    match (arguments.seeds, arguments.report) {
        (Some(seeds), None) => seeds::run(arguments, seeds),
        (_, report) => {
            if let Some(parent) = arguments.parent {
                bridge::end_with(parent);
            }
            cores::keep_to(&arguments.cores)?;
            let job = Job::new(arguments, report.unwrap_or(arguments.seed))?;
            match arguments.resume {
                true => resume::run_or_start(&job),
                false => train::train(&job, Start::New { overwrite: arguments.overwrite }),
            }
        }
    }
}

fn algos() {
    for algorithm in ALGORITHMS {
        say!("{:<12}{}", algorithm.name, algorithm.about);
    }
}

fn version() -> Result<(), Failure> {
    bridge::initialize()?;
    say!("stac-bench {} ({})", env!("CARGO_PKG_VERSION"), env!("STAC_BENCH_COMMIT"));
    say!("libtorch {}", crate::LIBTORCH);
    for (name, version) in bridge::versions()? {
        say!("{name} {version}");
    }
    Ok(())
}
