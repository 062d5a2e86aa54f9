//! How far each run of a sweep is, read from its folder.

use super::claim::Claim;
use super::plan::Planned;
use crate::commands::job::Job;
use crate::commands::manifest;
use crate::run_dir;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::PathBuf;

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its manifest says so, with these very settings.
    Done,
    /// A process is at it.
    Running,
    /// Stopped before its end; it goes on from its newest checkpoint.
    Interrupted,
    /// It ended with an error, of which this is the first line.
    Failed(String),
    /// A job of the scheduler is to train it.
    Queued,
    /// Not started.
    Missing,
    /// The folder holds no whole run, and why.
    Damaged(String),
    /// The folder holds another run, and what differs.
    Other(String),
}

/// Their names, in the order of the table.
const NAMES: [&str; 8] =
    ["done", "running", "queued", "interrupted", "failed", "missing", "damaged", "other"];

impl State {
    /// How far `run` is.
    pub fn of(run: &Planned) -> Self {
        match Claim::is_held(&run.job.folder) {
            true => Self::Running,
            false => Self::of_claimed(run),
        }
    }

    /// The same of a run that is this process's.
    pub fn of_claimed(run: &Planned) -> Self {
        let folder = &run.job.folder;
        let Some(record) = manifest::read(folder) else {
            return match run_dir::is_taken(folder) {
                false => Self::Missing,
                true => Self::Damaged("it is no run: `manifest.json` is not in it".to_owned()),
            };
        };
        match Job::recorded(folder) {
            Ok(Some(recorded)) => {
                if let Err(failure) = run.job.refuse_other(&recorded) {
                    return Self::Other(failure.to_string());
                }
            }
            Ok(None) => return Self::Interrupted,
            Err(failure) => return Self::Damaged(failure.to_string()),
        }
        match record.status.as_str() {
            "done" if record.steps >= run.job.config.run.n_timesteps => Self::Done,
            "failed" => {
                let error = record.error.unwrap_or_default();
                Self::Failed(error.lines().next().unwrap_or_default().to_owned())
            }
            "running" if run_dir::is_owned(folder) => Self::Running,
            _ => Self::Interrupted,
        }
    }

    /// Whether there may be something to train: a process that is at a run may leave it.
    pub fn is_open(&self) -> bool {
        self.is_left() || *self == Self::Running
    }

    /// Whether there is something to train, and nobody who does.
    pub fn is_left(&self) -> bool {
        matches!(self, Self::Interrupted | Self::Failed(_) | Self::Missing)
    }

    /// What the table calls it.
    pub fn name(&self) -> &'static str {
        let [done, running, queued, interrupted, failed, missing, damaged, other] = NAMES;
        match self {
            Self::Done => done,
            Self::Running => running,
            Self::Queued => queued,
            Self::Interrupted => interrupted,
            Self::Failed(_) => failed,
            Self::Missing => missing,
            Self::Damaged(_) => damaged,
            Self::Other(_) => other,
        }
    }
}

/// How far each run is; the folders `queued` are those that jobs of a scheduler are to train.
pub fn states<'a>(all: &'a [Planned], queued: &HashSet<PathBuf>) -> Vec<(&'a Planned, State)> {
    let state = |run: &Planned| match State::of(run) {
        State::Missing | State::Interrupted | State::Failed(_)
            if queued.contains(&run.job.folder) =>
        {
            State::Queued
        }
        state => state,
    };
    all.iter().map(|run| (run, state(run))).collect()
}

/// A row for each label and environment: how many seeds are in which state. Below it, what failed and why.
pub fn table(all: &[(&Planned, State)]) -> String {
    let mut keys: Vec<(&str, &str)> = Vec::new();
    for (run, _) in all {
        if !keys.contains(&run.column()) {
            keys.push(run.column());
        }
    }
    let is_there = |name: &&str| all.iter().any(|(_, state)| state.name() == *name);
    let names: Vec<&str> = NAMES.into_iter().filter(is_there).collect();
    let (run, on) = ("run", "environment");
    let longest = |title: &str, of: fn(&(&str, &str)) -> usize| {
        keys.iter().map(of).max().unwrap_or(0).max(title.len())
    };
    let label = longest(run, |key| key.0.chars().count());
    let env = longest(on, |key| key.1.chars().count());
    let mut text = format!("{run:label$}  {on:env$}");
    for name in &names {
        let _ = write!(text, "  {name}");
    }
    for key in &keys {
        let _ = write!(text, "\n{:label$}  {:env$}", key.0, key.1);
        for name in &names {
            let is_one =
                |(run, state): &&(&Planned, State)| run.column() == *key && state.name() == *name;
            let count = match all.iter().filter(is_one).count() {
                0 => "-".to_owned(),
                count => count.to_string(),
            };
            let _ = write!(text, "  {count:>0$}", name.len());
        }
    }
    for (run, state) in all {
        if let State::Failed(reason) | State::Damaged(reason) | State::Other(reason) = state {
            let _ = write!(text, "\n{}: {}: {reason}", run.name(), state.name());
        }
    }
    text
}
