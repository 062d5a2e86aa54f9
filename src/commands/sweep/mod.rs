//! `stac-bench sweep FILE`: every run of a grid that is not done.

mod claim;
mod local;
mod plan;
mod state;

use crate::cli::SweepArgs;
use crate::config::grid::GridFile;
use crate::cores;
use crate::failure::Failure;
use plan::Planned;
use state::{State, states};
use std::collections::HashMap;
use std::time::Duration;

/// Plans the grid, and trains what is missing.
pub fn run(arguments: &SweepArgs) -> Result<(), Failure> {
    let file = GridFile::read(&arguments.file)?;
    let all = plan::plan(&file, &arguments.out)?;
    if arguments.status {
        say!("{}", state::table(&states(&all)));
        return Ok(());
    }
    let others: Vec<String> = states(&all)
        .iter()
        .filter_map(|(run, state)| match state {
            State::Other(reason) => Some(format!("{}: {reason}", run.name())),
            _ => None,
        })
        .collect();
    if !others.is_empty() {
        return Err(Failure::OtherRuns(others));
    }
    let jobs = arguments.jobs.map_or_else(|| cores::available().len().max(1), |jobs| jobs as usize);
    match arguments.dry_run {
        true => {
            say_plan(&all, jobs);
            Ok(())
        }
        false => {
            plan::try_environments(&file, &all)?;
            local::run(&all, jobs, arguments.retries, arguments.quiet)
        }
    }
}

/// Prints each run's state, folder, command and time, and the time of all.
fn say_plan(all: &[Planned], jobs: usize) {
    let rates = rates(all);
    let mut left = Duration::ZERO;
    let (mut todo, mut unknown) = (0, 0);
    for (run, state) in states(all) {
        say!("{}: {}", run.name(), state.name());
        if state == State::Done {
            continue;
        }
        todo += 1;
        let takes = rates.get(&run.column());
        let takes =
            takes.map(|rate| Duration::from_secs_f64(rate * run.job.config.run.n_timesteps as f64));
        match takes {
            Some(takes) => left += takes,
            None => unknown += 1,
        }
        let takes = takes.map_or_else(
            || "nobody knows how long".to_owned(),
            |takes| format!("about {}", in_words(takes)),
        );
        let words = shlex::try_join(run.words.iter().map(String::as_str))
            .unwrap_or_else(|_| run.words.join(" "));
        say!("  {} ({takes})\n  stac-bench {words}", run.job.shown.display());
    }
    let total = in_words(left.div_f64(jobs as f64));
    let known = match unknown {
        0 => format!("about {total} with {jobs} at a time"),
        _ if unknown == todo => "how long they take shows once one of each has begun".to_owned(),
        _ => format!("about {total} with {jobs} at a time, and {unknown} of which none has begun"),
    };
    say!("{} runs, {todo} to do: {}", all.len(), if todo == 0 { "nothing" } else { &known });
}

/// Seconds per step of each label on each environment, of runs that are there.
fn rates(all: &[Planned]) -> HashMap<(&str, &str), f64> {
    let mut sums: HashMap<(&str, &str), (f64, f64)> = HashMap::new();
    for run in all {
        let record = super::manifest::read(&run.job.folder).filter(|record| record.steps > 0);
        if let Some(record) = record {
            let sum = sums.entry(run.column()).or_default();
            *sum = (sum.0 + record.seconds, sum.1 + record.steps as f64);
        }
    }
    sums.into_iter().map(|(key, (seconds, steps))| (key, seconds / steps)).collect()
}

/// A duration as people say it.
fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds => format!("{:.1} h", seconds as f64 / 3_600.0),
    }
}
