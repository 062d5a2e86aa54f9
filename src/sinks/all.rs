//! The sinks of one run.

use super::Sink;
use super::append::AppendFile;
use super::evaluations::{self, Evaluations};
use super::monitor::{self, Monitor};
use super::progress::{self, Progress};
use super::tensorboard::{self, TensorBoard};
use crate::failure::Failure;
use agents::train::{Episode, Evaluation};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// All files that hold a run's measures.
pub struct Sinks {
    tensorboard: TensorBoard,
    progress: Progress,
    monitor: Monitor,
    evaluations: Evaluations,
}

/// What they hold, or how long they are.
#[derive(Debug, Serialize, Deserialize)]
pub struct Saved {
    tensorboard: tensorboard::Saved,
    progress: progress::Saved,
    monitor: monitor::Saved,
    evaluations: evaluations::Saved,
}

impl Sinks {
    /// Opens the files in `folder`: new ones, or those of an earlier process as they were at `saved`.
    /// `eval_episodes` is how many episodes an evaluation has, `n_envs` how many environments train.
    pub fn open(
        folder: &Path,
        env: &str,
        n_envs: usize,
        eval_episodes: usize,
        saved: Option<Saved>,
    ) -> Result<Self, Failure> {
        let (mut events, mut table, mut episodes, mut evaluations) = (None, None, None, None);
        if let Some(saved) = saved {
            (events, table) = (Some(saved.tensorboard), Some(saved.progress));
            (episodes, evaluations) = (Some(saved.monitor), Some(saved.evaluations));
        }
        Ok(Self {
            tensorboard: TensorBoard::open(folder, events)?,
            progress: Progress::open(folder, table)?,
            monitor: Monitor::open(folder, env, n_envs, episodes)?,
            evaluations: Evaluations::open(folder, eval_episodes, evaluations)?,
        })
    }

    /// An error if a file of `saved` is not there, or shorter than it was: looked at before any is cut.
    pub fn check(folder: &Path, saved: &Saved) -> Result<(), Failure> {
        saved
            .tensorboard
            .files()
            .chain(saved.monitor.files())
            .try_for_each(|(name, len)| AppendFile::check(&folder.join(name), len))
    }

    /// Records `value` under `tag` at environment step `step`.
    pub fn scalar(&mut self, tag: &str, value: f64, step: u64) -> Result<(), Failure> {
        let sinks: [&mut dyn Sink; 2] = [&mut self.tensorboard, &mut self.progress];
        sinks.into_iter().try_for_each(|sink| sink.scalar(tag, value, step))
    }

    /// Adds an episode that ended after `seconds` of training.
    pub fn episode(&mut self, episode: &Episode, seconds: f64) {
        self.monitor.episode(episode, seconds);
    }

    /// Adds an evaluation; all but the row of `progress.csv`, which more may follow, is safe afterwards.
    pub fn evaluation(&mut self, steps: u64, evaluation: &Evaluation) -> Result<(), Failure> {
        self.evaluations.add(steps, evaluation)?;
        self.monitor.flush().map(drop)
    }

    /// Ends the row of `progress.csv`. All is safe afterwards.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.progress.flush()?;
        self.tensorboard.flush()?;
        self.monitor.flush().map(drop)
    }

    /// What there is to go on from; all of it is safe afterwards.
    pub fn save(&mut self) -> Result<Saved, Failure> {
        Ok(Saved {
            tensorboard: self.tensorboard.save()?,
            progress: self.progress.save()?,
            monitor: self.monitor.flush()?,
            evaluations: self.evaluations.save(),
        })
    }
}
