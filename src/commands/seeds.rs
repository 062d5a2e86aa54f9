//! `stac-bench train --seeds K --jobs J`: one process per seed.

use super::pool::{Ended, Pool, Task};
use crate::cli::TrainArgs;
use crate::config::Config;
use crate::display;
use crate::failure::Failure;
use crate::harness;
use crate::run_dir;
use crossbeam::channel;
use indicatif::ProgressBar;

/// Trains `seeds` seeds from `arguments.seed` on, `arguments.jobs` at a time. A seed that fails does not
/// stop the others.
pub fn run(arguments: &TrainArgs, seeds: u64) -> Result<(), Failure> {
    let algorithm = harness::algorithm(arguments.harness, arguments.algo())?;
    let config = Config::resolve(algorithm, arguments.env(), &arguments.overrides)?;
    let Some(end) = arguments.seed.checked_add(seeds) else {
        let message =
            format!("--seeds {seeds}: there are not so many seeds from {} on", arguments.seed);
        return Err(Failure::Usage(message));
    };
    let task = |seed| Task {
        name: format!("seed {seed}"),
        words: std::env::args_os().skip(1).collect(),
        seed,
        folder: run_dir::run_path(&arguments.out, arguments.algo(), &config.env, seed),
        cores: Vec::new(),
    };
    let all: Vec<Task> = (arguments.seed..end).map(task).collect();
    if !arguments.resume {
        all.iter().try_for_each(|t| run_dir::refuse_existing(&t.folder, arguments.overwrite))?;
    }

    let pool = Pool::new(arguments.quiet)?;
    let (queue, waiting) = channel::unbounded();
    let (report, reports) = channel::unbounded();
    for task in all {
        let bar = display::bar(config.run.n_timesteps, format!("seed {:<4} ", task.seed));
        let _ = queue.send((task, pool.bars.add(bar)));
    }
    drop(queue);
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.min(seeds) {
            let (waiting, report, pool) = (waiting.clone(), report.clone(), &pool);
            scope.spawn(move || {
                for (task, bar) in waiting {
                    let done = train(pool, &task, &bar, arguments.quiet);
                    let _ = report.send((task.seed, done));
                }
            });
        }
    });
    drop(report);
    bridge::check_signals()?;
    if !arguments.quiet {
        say!("runs: {}", arguments.out.join(arguments.algo()).display());
        display::say_where_to_look(&arguments.out);
    }
    let mut failed: Vec<u64> =
        reports.iter().filter(|(_, done)| !done).map(|(seed, _)| seed).collect();
    failed.sort_unstable();
    if failed.is_empty() { Ok(()) } else { Err(Failure::Seeds { failed, seeds }) }
}

/// Trains one seed and shows how it ended. Returns whether it succeeded.
fn train(pool: &Pool, task: &Task, bar: &ProgressBar, quiet: bool) -> bool {
    let (how, done) = match pool.train(task, bar) {
        Ended::Done(last) => (last, true),
        Ended::Failed(how) => (how, false),
        Ended::NotStarted => ("interrupted before it began".to_owned(), false),
    };
    match done {
        true => bar.finish_with_message(how.clone()),
        false => bar.abandon_with_message(how.clone()),
    }
    if pool.bars.is_hidden() && !(done && quiet) {
        complain!("{}: {how}", task.name);
    }
    done
}
