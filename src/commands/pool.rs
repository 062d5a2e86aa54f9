//! Processes of this program, some at a time: their progress, their messages, and how each ended.

use super::manifest;
use crate::display;
use crate::failure::Failure;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::SIGINT;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A run that is trained in a process of its own.
pub struct Task {
    /// What it is called in messages.
    pub name: String,
    /// What comes after the program's name, all but the options that this file adds.
    pub words: Vec<OsString>,
    /// Its seed.
    pub seed: u64,
    /// Where it goes.
    pub folder: PathBuf,
    /// The cores that it keeps to; any, if there are none.
    pub cores: Vec<usize>,
}

/// How a run ended.
pub enum Ended {
    /// With its manifest saying so; and the last line that it printed.
    Done(String),
    /// In any other way.
    Failed(String),
    /// A signal came first.
    NotStarted,
}

/// The running processes, and their progress bars.
pub struct Pool {
    /// The program that the processes run.
    program: PathBuf,
    /// The screen.
    pub bars: MultiProgress,
    /// Messages so far: a message that several runs have is shown once.
    said: Mutex<HashSet<String>>,
    running: Arc<Mutex<Running>>,
}

#[derive(Default)]
struct Running {
    processes: Vec<Pid>,
    /// After a signal no more are started.
    stopping: bool,
}

impl Pool {
    /// From now on, signals that would end this process are passed on to those of the runs.
    pub fn new(quiet: bool) -> Result<Self, Failure> {
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
            running.processes.iter().for_each(|&process| pass_on(signal, process));
        })?;
        let program = bridge::executable()?;
        Ok(Self { program, bars, said: Mutex::default(), running })
    }

    /// Whether a signal has come.
    pub fn is_stopping(&self) -> bool {
        lock(&self.running).stopping
    }

    /// Trains one run in a process of its own, its progress on `bar`.
    pub fn train(&self, task: &Task, bar: &ProgressBar) -> Ended {
        match self.watch(task, bar) {
            // An environment can end a process with any status: the manifest alone says that a run is done.
            Ok(Some((status, last))) if status.success() => match is_done(&task.folder) {
                true => Ended::Done(last),
                false => {
                    Ended::Failed("failed: its process ended before the run was done".to_owned())
                }
            },
            Ok(Some((status, _))) => Ended::Failed(format!("failed, {status}")),
            Ok(None) => Ended::NotStarted,
            Err(error) => Ended::Failed(format!("error: its process cannot be run: {error}")),
        }
    }

    /// Runs its process and shows its progress. Returns its exit status and its last line; none if it was not started.
    fn watch(
        &self,
        task: &Task,
        bar: &ProgressBar,
    ) -> std::io::Result<Option<(ExitStatus, String)>> {
        let mut messages = tempfile::tempfile()?;
        let mut child = {
            let mut running = lock(&self.running);
            if running.stopping {
                return Ok(None);
            }
            let parent = std::process::id().to_string();
            let child = Command::new(&self.program)
                .args(&task.words)
                .args(["--report", &task.seed.to_string(), "--parent", &parent])
                .args(task.cores.iter().map(|core| format!("--cores={core}")))
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(messages.try_clone()?)
                .process_group(0)
                .spawn()?;
            running.processes.extend(Pid::from_raw(child.id() as i32));
            child
        };
        let mut last = String::new();
        for line in lines(child.stdout.take()) {
            match display::reported(&line) {
                Some((steps, last_return)) => {
                    bar.set_position(steps);
                    bar.set_message(display::message(last_return));
                }
                None => last = line,
            }
        }
        let status = child.wait()?;
        lock(&self.running).processes.retain(|&pid| Some(pid) != Pid::from_raw(child.id() as i32));
        self.forward_messages(&task.name, &mut messages)?;
        Ok(Some((status, last)))
    }

    /// Shows the warnings and errors that a process wrote.
    fn forward_messages(&self, name: &str, messages: &mut File) -> std::io::Result<()> {
        let mut text = Vec::new();
        messages.rewind()?;
        messages.read_to_end(&mut text)?;
        String::from_utf8_lossy(&text).lines().for_each(|line| self.say(name, line));
        Ok(())
    }

    fn say(&self, name: &str, line: &str) {
        if lock(&self.said).insert(line.to_owned()) || line.starts_with("error: ") {
            self.tell(&format!("{name}: {line}"));
        }
    }

    /// Prints a line above the bars.
    pub fn tell(&self, line: &str) {
        // A terminal that was closed is no reason to stop.
        match self.bars.is_hidden() {
            true => complain!("{line}"),
            false => drop(self.bars.println(line)),
        }
    }
}

/// What a process prints. Environments may print anything; what cannot be read is not worth a run.
pub fn lines(out: Option<ChildStdout>) -> impl Iterator<Item = String> {
    let lines = out.into_iter().flat_map(|out| BufReader::new(out).split(b'\n'));
    lines.map_while(Result::ok).map(|line| String::from_utf8_lossy(&line).into_owned())
}

/// Gives a signal that came to this process to another one.
pub fn pass_on(signal: i32, process: Pid) {
    let signal = if signal == SIGINT { Signal::INT } else { Signal::TERM };
    let _ = kill_process(process, signal);
}

/// Whether the run in `folder` is.
fn is_done(folder: &Path) -> bool {
    manifest::read(folder).is_some_and(|record| record.status == "done")
}

/// Locks `mutex`, also after a panic elsewhere: no holder of these locks leaves its data half changed.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
