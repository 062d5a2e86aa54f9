//! `stac-bench train --seeds K --jobs J`: one process per seed.

use crate::cli::TrainArgs;
use crate::config::Config;
use crate::display;
use crate::failure::Failure;
use crate::run_dir;
use agents::registry;
use crossbeam::channel;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
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
    let all = arguments.seed..end;
    for seed in all.clone() {
        let folder = run_dir::run_path(&arguments.out, algorithm.name, &config.env, seed);
        if !arguments.resume {
            run_dir::refuse_existing(&folder, arguments.overwrite)?;
        }
    }

    let pool = SeedPool::new(arguments.quiet)?;
    let (queue, waiting) = channel::unbounded();
    let (report, reports) = channel::unbounded();
    for seed in all {
        let bar = display::bar(config.run.n_timesteps, format!("seed {seed:<4} "));
        let _ = queue.send((seed, pool.bars.add(bar)));
    }
    drop(queue);
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.min(seeds) {
            let (waiting, report, pool) = (waiting.clone(), report.clone(), &pool);
            scope.spawn(move || {
                for (seed, bar) in waiting {
                    let _ = report.send(pool.train(seed, &bar));
                }
            });
        }
    });
    drop(report);
    if pool.interrupted() {
        return Err(agents::Error::Interrupted.into());
    }
    if !arguments.quiet {
        say!("runs: {}", arguments.out.join(algorithm.name).display());
        display::say_where_to_look(&arguments.out);
    }
    match reports.iter().filter(|done| !done).count() as u64 {
        0 => Ok(()),
        failed => Err(Failure::Seeds { failed, seeds }),
    }
}

/// The running processes, and their progress bars.
struct SeedPool {
    /// The program that the processes run.
    program: PathBuf,
    bars: MultiProgress,
    quiet: bool,
    /// Messages so far: a message that several seeds have is shown once.
    said: Mutex<HashSet<String>>,
    /// `None` after an interrupt.
    running: Arc<Mutex<Option<Vec<Pid>>>>,
}

impl SeedPool {
    /// From now on, signals that would end this process interrupt the processes of the seeds instead.
    fn new(quiet: bool) -> Result<Self, Failure> {
        let bars = MultiProgress::new();
        if quiet {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        let running = Arc::new(Mutex::new(Some(Vec::new())));
        let shared = Arc::clone(&running);
        let ends = [SIGINT, SIGTERM].into_iter().chain((!outlives_terminal()).then_some(SIGHUP));
        let mut signals = Signals::new(ends).map_err(|error| Failure::Usage(error.to_string()))?;
        std::thread::spawn(move || {
            for _ in signals.forever() {
                for pid in lock(&shared).take().into_iter().flatten() {
                    let _ = kill_process(pid, Signal::INT);
                }
            }
        });
        let program = bridge::executable()?;
        Ok(Self { program, bars, quiet, said: Mutex::default(), running })
    }

    fn interrupted(&self) -> bool {
        lock(&self.running).is_none()
    }

    /// Trains one seed in a process of its own and shows how it ended. Returns whether it succeeded.
    fn train(&self, seed: u64, bar: &ProgressBar) -> bool {
        match self.watch(seed, bar) {
            Ok((status, last)) if status.success() => {
                bar.finish_with_message(last.clone());
                if self.bars.is_hidden() && !self.quiet {
                    complain!("seed {seed}: {last}");
                }
                true
            }
            Ok((status, _)) => {
                bar.abandon_with_message(format!("failed, {status}"));
                false
            }
            Err(error) => {
                self.say(seed, &format!("error: cannot start a process: {error}"));
                false
            }
        }
    }

    /// Runs the same command for `seed` alone and shows its progress. Returns its exit status and its last line.
    fn watch(&self, seed: u64, bar: &ProgressBar) -> std::io::Result<(ExitStatus, String)> {
        let mut messages = tempfile::tempfile()?;
        let mut last = "interrupted before it began".to_owned();
        let mut child = {
            let mut running = lock(&self.running);
            let Some(running) = running.as_mut() else { return Ok((ExitStatus::default(), last)) };
            let child = Command::new(&self.program)
                .args(std::env::args_os().skip(1))
                .args(["--report", &seed.to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(messages.try_clone()?)
                .process_group(0)
                .spawn()?;
            running.extend(Pid::from_raw(child.id() as i32));
            child
        };
        for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
            let line = line?;
            match line.split_once(' ').map(|(a, b)| (a.parse(), b.parse())) {
                Some((Ok(steps), Ok(last_return))) => {
                    bar.set_position(steps);
                    bar.set_message(display::message(last_return));
                }
                _ => last = line,
            }
        }
        let status = child.wait()?;
        if let Some(running) = lock(&self.running).as_mut() {
            running.retain(|pid| Some(*pid) != Pid::from_raw(child.id() as i32));
        }
        self.forward_messages(seed, &mut messages)?;
        Ok((status, last))
    }

    /// Shows the warnings and errors that a process wrote.
    fn forward_messages(&self, seed: u64, messages: &mut File) -> std::io::Result<()> {
        let mut text = String::new();
        messages.rewind()?;
        messages.read_to_string(&mut text)?;
        text.lines().for_each(|line| self.say(seed, line));
        Ok(())
    }

    fn say(&self, seed: u64, line: &str) {
        if lock(&self.said).insert(line.to_owned()) || line.starts_with("error: ") {
            self.bars.suspend(|| complain!("seed {seed}: {line}"));
        }
    }
}

/// Whether this process ignores SIGHUP, as under `nohup`. Known on Linux only.
fn outlives_terminal() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (SIGHUP - 1) & 1 == 1)
}

/// Locks `mutex`, also after a panic elsewhere: no holder of these locks leaves its data half changed.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
