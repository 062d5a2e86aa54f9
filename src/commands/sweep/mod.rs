//! `stac-bench sweep FILE`: every run of a grid that is not done.

mod claim;
mod local;
mod pace;
mod plan;
mod ray;
mod slurm;
mod state;
mod tasks;

use crate::cli::{Place, SweepArgs};
use crate::commands::manifest;
use crate::config::grid::GridFile;
use crate::cores;
use crate::failure::Failure;
use local::How;
use plan::Planned;
use state::{State, states};
use std::collections::HashSet;
use std::time::Duration;
use tasks::Grid;

/// Plans the grid, and trains what is missing.
pub fn run(arguments: &SweepArgs) -> Result<(), Failure> {
    let SweepArgs { file, out, retries, quiet, .. } = arguments;
    let (retries, quiet) = (*retries, *quiet);
    if let Some(parent) = arguments.parent {
        bridge::end_with(parent);
    }
    let file = GridFile::read(file)?;
    if let Some(number) = arguments.only {
        let run = [plan::one(&file, out, number)?];
        refuse_others(&run)?;
        return local::run(&run, &HashSet::new(), How { jobs: 1, retries, quiet, sent: true });
    }
    let all = plan::plan(&file, out)?;
    let queued = match slurm::queued(&file, out) {
        Err(failure) if arguments.on != Place::Slurm => {
            tracing::warn!("{failure}; whether its jobs wait is not known");
            HashSet::new()
        }
        queued => queued?,
    };
    if arguments.status {
        say!("{}", state::table(&states(&all, &queued)));
        return Ok(());
    }
    refuse_others(&all)?;
    let jobs = arguments.jobs.map_or_else(|| cores::available().len().max(1), |jobs| jobs as usize);
    if arguments.dry_run {
        return say_plan(&states(&all, &queued), jobs);
    }
    if arguments.on != Place::Slurm && !arguments.slurm.is_empty() {
        return Err(Failure::Usage("`--slurm` goes with `--on slurm`".to_owned()));
    }
    if arguments.on != Place::Ray && arguments.address.is_some() {
        return Err(Failure::Usage("`--address` goes with `--on ray`".to_owned()));
    }
    plan::try_environments(&file, &all)?;
    let (file, all, queued) = (&file, &all, &queued);
    let grid = Grid { file, all, queued, out, jobs: arguments.jobs, retries, quiet };
    match arguments.on {
        Place::Local => local::run(all, queued, How { jobs, retries, quiet, sent: false }),
        Place::Slurm => slurm::submit(&grid, &arguments.slurm),
        Place::Ray => ray::run(&grid, arguments.address.as_deref()),
    }
}

/// An error if folders of runs hold something else.
fn refuse_others(all: &[Planned]) -> Result<(), Failure> {
    let other = |run: &Planned| match State::of(run) {
        State::Other(reason) => Some(format!("{}: {reason}", run.name())),
        _ => None,
    };
    let others: Vec<String> = all.iter().filter_map(other).collect();
    if others.is_empty() { Ok(()) } else { Err(Failure::OtherRuns(others)) }
}

/// Prints each run's state, folder, command and time, and the time of all.
fn say_plan(all: &[(&Planned, State)], jobs: usize) -> Result<(), Failure> {
    let paces = pace::of(all)?;
    let mut left = Duration::ZERO;
    let (mut todo, mut unknown) = (0, 0);
    for (run, state) in all {
        say!("{}: {}", run.name(), state.name());
        if !state.is_left() {
            continue;
        }
        todo += 1;
        let pace = paces.get(&run.column()).copied().flatten();
        let begun = manifest::read(&run.job.folder).map_or(0, |record| record.steps);
        let steps = run.job.config.run.n_timesteps.saturating_sub(begun);
        let takes = pace.map(|pace| pace.takes(steps));
        let takes = match takes {
            Some(takes) => {
                left = left.saturating_add(takes);
                format!("about {}", in_words(takes))
            }
            None => {
                unknown += 1;
                "it does not train: `stac-bench sweep` says why".to_owned()
            }
        };
        let words = shlex::try_join(run.words.iter().map(String::as_str))
            .unwrap_or_else(|_| run.words.join(" "));
        say!("  {} ({takes})\n  stac-bench {words}", run.job.shown.display());
    }
    let left = in_words(left / u32::try_from(jobs).unwrap_or(u32::MAX));
    let total = match (todo, unknown) {
        (0, _) => "nothing".to_owned(),
        (_, 0) => format!("about {left} with {jobs} at a time"),
        _ => format!("about {left} with {jobs} at a time, and {unknown} that do not train"),
    };
    say!("{} runs, {todo} to do: {total}", all.len());
    Ok(())
}

/// A duration as people say it.
fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds => format!("{:.1} h", seconds as f64 / 3_600.0),
    }
}
