//! Watches a run: evaluates and saves before the updates that a step makes due, logs after them and writes
//! checkpoints.

use crate::checkpoint::{Checkpoints, Loaded};
use crate::config::RunSettings;
use crate::display::Display;
use crate::failure::Failure;
use crate::model::{self, ModelCard};
use crate::run_dir::{RunDir, make_folder, remove, write_whole};
use crate::score::Score;
use crate::sinks::{self, Sinks};
use agents::train::{self, Episode, EvaluationPlan, Flow, Point, Progress};
use agents::{EnvState, Learn, Resumable};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Episodes that `rollout/*` averages over, as in Stable-Baselines3.
const WINDOW: usize = 100;

/// The observer of one run.
pub struct RunObserver<'d> {
    dir: &'d RunDir,
    run: RunSettings,
    card: ModelCard,
    sinks: Sinks,
    eval_env: Box<dyn Resumable>,
    /// Before the evaluation that is going on, or that did not come to its end.
    before_evaluation: Option<Vec<EnvState>>,
    display: Display,
    start: Instant,
    seen: Seen,
    checkpoints: Checkpoints,
}

/// What it has seen so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Seen {
    steps: u64,
    /// Of all processes before this one.
    seconds: f64,
    recent: VecDeque<Episode>,
    last_log: u64,
    /// Whether a row is due.
    log_due: bool,
    /// Whether this step was evaluated.
    evaluated: bool,
    /// The last evaluation.
    last: Option<Score>,
    /// The best evaluation, that of `best_model/`.
    best: Option<Score>,
}

/// The part of a checkpoint that an observer goes on from.
#[derive(Serialize, Deserialize)]
pub struct Saved {
    seen: Seen,
    sinks: sinks::Saved,
    /// Of the environment for evaluations.
    pub eval_env: Vec<EnvState>,
    /// Whether that is its state before an evaluation that did not come to its end.
    pub evaluating: bool,
}

impl<'d> RunObserver<'d> {
    /// Opens the files of a run in `dir`: new ones, or as they were at a checkpoint.
    pub fn open(
        dir: &'d RunDir,
        run: RunSettings,
        card: ModelCard,
        eval_env: Box<dyn Resumable>,
        display: Display,
        checkpoints: Checkpoints,
        saved: Option<Saved>,
    ) -> Result<Self, Failure> {
        let (seen, sinks) = saved.map(|saved| (saved.seen, saved.sinks)).unzip();
        let folder = dir.path();
        let sinks = Sinks::open(folder, &card.env, run.n_envs, run.eval_episodes, sinks)?;
        let seen = seen.unwrap_or_default();
        Ok(Self {
            dir,
            run,
            card,
            sinks,
            eval_env,
            before_evaluation: None,
            display,
            start: Instant::now(),
            seen,
            checkpoints,
        })
    }

    /// An error if the files of the run in `folder` are not there as `saved` needs them.
    pub fn check(folder: &Path, saved: &Saved) -> Result<(), Failure> {
        Sinks::check(folder, &saved.sinks)
    }

    /// Puts back the best model of a checkpoint.
    pub fn restore_best_model(dir: &RunDir, loaded: &Loaded<Saved>) -> Result<(), Failure> {
        let folder = dir.path().join("best_model");
        match &loaded.best_model {
            Some(bytes) => {
                make_folder(&folder)?;
                write_whole(&folder.join(model::FILE), bytes)
            }
            None => remove(&folder),
        }
    }

    /// Environment steps so far.
    pub fn steps(&self) -> u64 {
        self.seen.steps
    }

    /// Seconds of training so far, over all processes.
    pub fn seconds(&self) -> f64 {
        self.seen.seconds + self.start.elapsed().as_secs_f64()
    }

    /// Seconds that training waited for checkpoints in this process.
    pub fn checkpoint_seconds(&self) -> f64 {
        self.checkpoints.seconds
    }

    /// The last evaluation.
    pub fn last(&self) -> Option<Score> {
        self.seen.last
    }

    /// The best evaluation, that of `best_model/`.
    pub fn best(&self) -> Option<Score> {
        self.seen.best
    }

    /// Evaluates after the last step, if that was not done.
    pub fn evaluate_at_end(&mut self, agent: &mut dyn Learn) -> Result<(), Failure> {
        match self.seen.last {
            Some(last) if last.steps == self.seen.steps => Ok(()),
            _ => self.evaluate(agent),
        }
    }

    /// Logs what is left and saves the final model.
    pub fn close(&mut self, agent: &mut dyn Learn) -> Result<(), Failure> {
        self.display.finish();
        self.log(agent)?;
        self.flush()?;
        self.save("final_model", agent)
    }

    /// Writes a checkpoint, if any are wanted.
    pub fn checkpoint(
        &mut self,
        point: &mut Point<'_, dyn Learn, dyn Resumable>,
    ) -> Result<(), Failure> {
        if !self.checkpoints.wanted() {
            return Ok(());
        }
        self.dir.check()?;
        let evaluating = self.before_evaluation.is_some();
        let eval_env = match &self.before_evaluation {
            Some(states) => states.clone(),
            None => self.eval_env.save()?,
        };
        let seen = Seen { seconds: self.seconds(), ..self.seen.clone() };
        let saved = Saved { seen, sinks: self.sinks.save()?, eval_env, evaluating };
        let best = self.seen.best.map(|_| self.model_path("best_model"));
        Ok(self.checkpoints.write(point, &saved, best.as_deref())?)
    }

    /// What was recorded is safe afterwards.
    fn flush(&mut self) -> Result<(), Failure> {
        self.dir.check()?;
        self.sinks.flush()
    }

    fn record(&mut self, tag: &str, value: f64) -> Result<(), Failure> {
        self.sinks.scalar(tag, value, self.seen.steps)
    }

    /// A row of this step, if it has none.
    fn log(&mut self, agent: &mut dyn Learn) -> Result<(), Failure> {
        if self.seen.last_log != self.seen.steps {
            self.dir.check()?;
            self.seen.last_log = self.seen.steps;
            let recent = &self.seen.recent;
            if !recent.is_empty() {
                let n = recent.len() as f64;
                let reward = recent.iter().map(|e| e.total_reward).sum::<f64>() / n;
                let length = recent.iter().map(|e| e.length as f64).sum::<f64>() / n;
                self.record("rollout/ep_rew_mean", reward)?;
                self.record("rollout/ep_len_mean", length)?;
            }
            let elapsed = self.seconds();
            self.record("time/fps", self.seen.steps as f64 / elapsed)?;
            self.record("time/time_elapsed", elapsed)?;
            for (tag, value) in agent.metrics() {
                self.record(&tag, value)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, agent: &mut dyn Learn) -> Result<(), Failure> {
        if self.checkpoints.wanted() && self.before_evaluation.is_none() {
            self.before_evaluation = Some(self.eval_env.save()?);
        }
        // Seeded once; later evaluations go on with the environment's own generator.
        let seed = self.seen.last.is_none().then_some(self.card.seed);
        let (episodes, env) = (self.run.eval_episodes, self.eval_env.as_mut());
        let plan = EvaluationPlan { episodes, max_steps: self.run.eval_max_steps, seed };
        let evaluation = train::evaluate(agent, env, plan, &mut bridge::check_signals);
        let evaluation = evaluation.map_err(|error| match error.is_interruption() {
            true => error,
            false => agents::Error::Evaluation { steps: self.seen.steps, error: error.into() },
        })?;
        if evaluation.cut > 0 {
            tracing::warn!(
                "the evaluation at step {}: {} of {episodes} episodes did not end within {} steps \
                 (`eval_max_steps`) and were cut",
                self.seen.steps,
                evaluation.cut,
                plan.max_steps
            );
        }
        self.before_evaluation = None;
        self.dir.check()?;
        self.sinks.evaluation(self.seen.steps, &evaluation)?;
        self.record("eval/mean_reward", evaluation.mean())?;
        self.record("eval/mean_ep_length", evaluation.mean_length())?;
        self.record("eval/cut_episodes", evaluation.cut as f64)?;
        for (tag, value) in agent.diagnostics()? {
            self.record(&tag, value)?;
        }
        self.seen.evaluated = true;

        let (mean, std) = (evaluation.mean(), evaluation.std());
        let score = Score { steps: self.seen.steps, mean, std };
        self.seen.last = Some(score);
        self.display.evaluated(&score);
        if self.seen.best.is_none_or(|best| score.mean > best.mean) {
            self.seen.best = Some(score);
            self.save("best_model", agent)?;
        }
        Ok(())
    }

    fn save(&mut self, name: &str, agent: &dyn Learn) -> Result<(), Failure> {
        self.dir.check()?;
        self.card.steps = self.seen.steps;
        model::save(&self.dir.path().join(name), agent, &self.card)
    }

    fn model_path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name).join(model::FILE)
    }
}

impl train::Observer<dyn Learn, dyn Resumable> for RunObserver<'_> {
    fn on_step(&mut self, progress: &mut Progress<'_, dyn Learn>) -> agents::Result<Flow> {
        let steps = progress.steps;
        // With n environments, steps come n at a time.
        let before = steps - progress.step.rewards.len() as u64;
        let due = |every: u64| steps / every > before / every;
        // A run that was stopped at a step sees it again.
        if self.seen.steps != steps {
            self.seen.steps = steps;
            self.seen.log_due = due(self.run.log_freq);
            let seconds = self.seconds();
            for episode in progress.episodes {
                self.sinks.episode(episode, seconds);
                if self.seen.recent.len() == WINDOW {
                    self.seen.recent.pop_front();
                }
                self.seen.recent.push_back(*episode);
            }
        }
        bridge::check_signals()?;
        self.display.step(steps, progress.episodes.last().map(|episode| episode.total_reward));
        if due(self.run.eval_freq) {
            self.evaluate(progress.agent)?;
        }
        Ok(Flow::Continue)
    }

    fn after_updates(
        &mut self,
        point: &mut Point<'_, dyn Learn, dyn Resumable>,
    ) -> agents::Result<Flow> {
        let evaluated = std::mem::take(&mut self.seen.evaluated);
        if self.seen.log_due || evaluated {
            self.log(point.agent)?;
        }
        if evaluated {
            self.flush()?;
        }
        if self.checkpoints.due(self.seen.steps, self.run.n_envs as u64, evaluated) {
            self.checkpoint(point)?;
        }
        Ok(Flow::Continue)
    }

    fn before_update(&mut self) -> agents::Result<()> {
        bridge::check_signals()
    }
}
