//! `stac-bench train --seeds K --jobs J`: one process per seed.

use super::manifest;
use crate::cli::TrainArgs;
use crate::config::Config;
use crate::display;
use crate::failure::Failure;
use crate::run_dir;
use agents::registry;
use crossbeam::channel;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::SIGINT;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// Trains `seeds` seeds from `arguments.seed` on, `arguments.jobs` at a time. A seed that fails does not
/// stop the others.
pub fn run(arguments: &TrainArgs, seeds: u64) -> Result<(), Failure> {
    let algorithm = registry::find(arguments.algo())?;
    let config = Config::resolve(algorithm, arguments.env(), &arguments.overrides)?;
    let Some(end) = arguments.seed.checked_add(seeds) else {
        let message =
            format!("--seeds {seeds}: there are not so many seeds from {} on", arguments.seed);
        return Err(Failure::Usage(message));
    };
    let folder = |seed| run_dir::run_path(&arguments.out, algorithm.name, &config.env, seed);
    let all: Vec<(u64, PathBuf)> = (arguments.seed..end).map(|seed| (seed, folder(seed))).collect();
    if !arguments.resume {
        all.iter().try_for_each(|(_, f)| run_dir::refuse_existing(f, arguments.overwrite))?;
    }

    let pool = SeedPool::new(arguments.quiet)?;
    let (queue, waiting) = channel::unbounded();
    let (report, reports) = channel::unbounded();
    for (seed, folder) in all {
        let bar = display::bar(config.run.n_timesteps, format!("seed {seed:<4} "));
        let _ = queue.send(Seed { seed, folder, bar: pool.bars.add(bar) });
    }
    drop(queue);
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.min(seeds) {
            let (waiting, report, pool) = (waiting.clone(), report.clone(), &pool);
            scope.spawn(move || {
                for seed in waiting {
                    let succeeded = pool.train(&seed);
                    let _ = report.send((seed.seed, succeeded));
                }
            });
        }
    });
    drop(report);
    bridge::check_signals()?;
    if !arguments.quiet {
        say!("runs: {}", arguments.out.join(algorithm.name).display());
        display::say_where_to_look(&arguments.out);
    }
    let mut failed: Vec<u64> =
        reports.iter().filter(|(_, done)| !done).map(|(seed, _)| seed).collect();
    failed.sort_unstable();
    if failed.is_empty() { Ok(()) } else { Err(Failure::Seeds { failed, seeds }) }
}

/// One of the seeds.
struct Seed {
    seed: u64,
    /// Of its run.
    folder: PathBuf,
    bar: ProgressBar,
}

/// The running processes, and their progress bars.
struct SeedPool {
    /// The program that the processes run.
    program: PathBuf,
    bars: MultiProgress,
    quiet: bool,
    /// Messages so far: a message that several seeds have is shown once.
    said: Mutex<HashSet<String>>,
    running: Arc<Mutex<Running>>,
}

#[derive(Default)]
struct Running {
    processes: Vec<Pid>,
    /// After a signal no more are started.
    stopping: bool,
}

impl SeedPool {
    /// From now on, signals that would end this process are passed on to the processes of the seeds.
    fn new(quiet: bool) -> Result<Self, Failure> {
        let bars = MultiProgress::new();
        if quiet {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        let running = Arc::new(Mutex::new(Running::default()));
        let shared = Arc::clone(&running);
        bridge::initialize()?;
        bridge::relay_signals(move |signal| {
            let mut running = lock(&shared);
            running.stopping = true;
            let signal = if signal == SIGINT { Signal::INT } else { Signal::TERM };
            for &process in &running.processes {
                let _ = kill_process(process, signal);
            }
        })?;
        let program = bridge::executable()?;
        Ok(Self { program, bars, quiet, said: Mutex::default(), running })
    }

    /// Trains one seed in a process of its own and shows how it ended. Returns whether it succeeded.
    fn train(&self, seed: &Seed) -> bool {
        let Seed { seed, folder, bar } = seed;
        let (how, ended) = match self.watch(*seed, bar) {
            // An environment can end a process with any status: the manifest alone says that a run is done.
            Ok(Some((status, last))) if status.success() => match is_done(folder) {
                true => (last, true),
                false => ("failed: its process ended before the run was done".to_owned(), false),
            },
            Ok(Some((status, _))) => (format!("failed, {status}"), false),
            Ok(None) => ("interrupted before it began".to_owned(), false),
            Err(error) => (format!("error: its process cannot be run: {error}"), false),
        };
        match ended {
            true => bar.finish_with_message(how.clone()),
            false => bar.abandon_with_message(how.clone()),
        }
        if self.bars.is_hidden() && !(ended && self.quiet) {
            complain!("seed {seed}: {how}");
        }
        ended
    }

    /// Runs the same command for `seed` alone and shows its progress. Returns its exit status and its last line; none if
    /// it was not started.
    fn watch(&self, seed: u64, bar: &ProgressBar) -> std::io::Result<Option<(ExitStatus, String)>> {
        let mut messages = tempfile::tempfile()?;
        let mut child = {
            let mut running = lock(&self.running);
            if running.stopping {
                return Ok(None);
            }
            let child = Command::new(&self.program)
                .args(std::env::args_os().skip(1))
                .args(["--report", &seed.to_string(), "--parent", &std::process::id().to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(messages.try_clone()?)
                .process_group(0)
                .spawn()?;
            running.processes.extend(Pid::from_raw(child.id() as i32));
            child
        };
        let mut last = String::new();
        for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).split(b'\n'))
        {
            // Environments may print anything; what cannot be read is not worth a run.
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line).into_owned();
            match line.split_once(' ').map(|(a, b)| (a.parse(), b.parse())) {
                Some((Ok(steps), Ok(last_return))) => {
                    bar.set_position(steps);
                    bar.set_message(display::message(last_return));
                }
                _ => last = line,
            }
        }
        let status = child.wait()?;
        lock(&self.running).processes.retain(|&pid| Some(pid) != Pid::from_raw(child.id() as i32));
        self.forward_messages(seed, &mut messages)?;
        Ok(Some((status, last)))
    }

    /// Shows the warnings and errors that a process wrote.
    fn forward_messages(&self, seed: u64, messages: &mut File) -> std::io::Result<()> {
        let mut text = Vec::new();
        messages.rewind()?;
        messages.read_to_end(&mut text)?;
        String::from_utf8_lossy(&text).lines().for_each(|line| self.say(seed, line));
        Ok(())
    }

    fn say(&self, seed: u64, line: &str) {
        if lock(&self.said).insert(line.to_owned()) || line.starts_with("error: ") {
            let line = format!("seed {seed}: {line}");
            // A terminal that was closed is no reason to stop.
            match self.bars.is_hidden() {
                true => complain!("{line}"),
                false => drop(self.bars.println(line)),
            }
        }
    }
}

fn is_done(folder: &Path) -> bool {
    manifest::read(folder).is_some_and(|record| record.status == "done")
}

/// Locks `mutex`, also after a panic elsewhere: no holder of these locks leaves its data half changed.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
