//! Watches a run: evaluates and saves before the updates that a step makes due, logs after them.

use crate::config::RunSettings;
use crate::display::Display;
use crate::failure::Failure;
use crate::model::{self, ModelCard};
use crate::score::Score;
use crate::sinks::{Evaluations, Monitor, Progress as ProgressCsv, TensorBoard};
use agents::train::{self, Episode, Flow, Progress};
use agents::{Env, Learn, Sink};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Episodes that `rollout/*` averages over, as in Stable-Baselines3.
const WINDOW: usize = 100;

/// The observer of one run.
pub struct RunObserver {
    folder: PathBuf,
    run: RunSettings,
    card: ModelCard,
    sinks: Vec<Box<dyn Sink>>,
    monitor: Monitor,
    evaluations: Evaluations,
    eval_env: Box<dyn Env>,
    display: Display,
    start: Instant,
    recent: VecDeque<Episode>,
    steps: u64,
    last_log: u64,
    /// Whether a row is due.
    log_due: bool,
    /// Whether this step was evaluated.
    evaluated: bool,
    /// The last evaluation.
    pub last: Option<Score>,
    /// The best evaluation, that of `best_model/`.
    pub best: Option<Score>,
}

impl RunObserver {
    /// Opens the files of a run on `env` in `folder`.
    pub fn create(
        folder: &Path,
        run: RunSettings,
        card: ModelCard,
        env: &dyn Env,
        eval_env: Box<dyn Env>,
        display: Display,
    ) -> Result<Self, Failure> {
        Ok(Self {
            sinks: vec![Box::new(TensorBoard::create(folder)?), Box::new(ProgressCsv::new(folder))],
            monitor: Monitor::create(folder, &card.env, env.num_envs())?,
            evaluations: Evaluations::new(folder, run.eval_episodes),
            folder: folder.to_owned(),
            run,
            card,
            eval_env,
            display,
            start: Instant::now(),
            recent: VecDeque::with_capacity(WINDOW),
            steps: 0,
            last_log: 0,
            log_due: false,
            evaluated: false,
            last: None,
            best: None,
        })
    }

    /// Environment steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Evaluates after the last step, if that was not done.
    pub fn evaluate_at_end(&mut self, agent: &mut dyn Learn) -> Result<(), Failure> {
        match self.last {
            Some(last) if last.steps == self.steps => Ok(()),
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

    /// What was recorded is safe afterwards.
    fn flush(&mut self) -> Result<(), Failure> {
        self.sinks.iter_mut().try_for_each(|sink| sink.flush())?;
        self.monitor.flush()
    }

    fn record(&mut self, tag: &str, value: f64) -> Result<(), Failure> {
        Ok(self.sinks.iter_mut().try_for_each(|sink| sink.scalar(tag, value, self.steps))?)
    }

    /// A row of this step, if it has none.
    fn log(&mut self, agent: &mut dyn Learn) -> Result<(), Failure> {
        if self.last_log != self.steps {
            self.last_log = self.steps;
            if !self.recent.is_empty() {
                let n = self.recent.len() as f64;
                let reward = self.recent.iter().map(|e| e.total_reward).sum::<f64>() / n;
                let length = self.recent.iter().map(|e| e.length as f64).sum::<f64>() / n;
                self.record("rollout/ep_rew_mean", reward)?;
                self.record("rollout/ep_len_mean", length)?;
            }
            let elapsed = self.seconds();
            self.record("time/fps", self.steps as f64 / elapsed)?;
            self.record("time/time_elapsed", elapsed)?;
            for (tag, value) in agent.metrics() {
                self.record(&tag, value)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, agent: &mut dyn Learn) -> Result<(), Failure> {
        // Seeded once; later evaluations go on with the environment's own generator.
        let seed = self.last.is_none().then_some(self.card.seed);
        let episodes = self.run.eval_episodes;
        let evaluation = train::evaluate(agent, self.eval_env.as_mut(), episodes, seed)?;
        self.evaluations.add(self.steps, &evaluation)?;
        self.record("eval/mean_reward", evaluation.mean())?;
        self.record("eval/mean_ep_length", evaluation.mean_length())?;
        for (tag, value) in agent.diagnostics()? {
            self.record(&tag, value)?;
        }
        self.evaluated = true;
        // The row of `progress.csv` is whole after the updates alone.
        self.sinks.iter_mut().take(1).try_for_each(|sink| sink.flush())?;
        self.monitor.flush()?;

        let score = Score { steps: self.steps, mean: evaluation.mean(), std: evaluation.std() };
        self.last = Some(score);
        self.display.evaluated(&score);
        if self.best.is_none_or(|best| score.mean > best.mean) {
            self.best = Some(score);
            self.save("best_model", agent)?;
        }
        Ok(())
    }

    fn save(&mut self, name: &str, agent: &dyn Learn) -> Result<(), Failure> {
        self.card.steps = self.steps;
        model::save(&self.folder.join(name), agent, &self.card)
    }
}

impl train::Observer<dyn Learn> for RunObserver {
    fn on_step(&mut self, progress: &mut Progress<'_, dyn Learn>) -> agents::Result<Flow> {
        bridge::check_signals()?;
        let steps = progress.steps;
        self.steps = steps;
        for episode in progress.episodes {
            self.monitor.episode(episode)?;
            if self.recent.len() == WINDOW {
                self.recent.pop_front();
            }
            self.recent.push_back(*episode);
        }
        self.display.step(steps, progress.episodes.last().map(|episode| episode.total_reward));

        // With n environments, steps come n at a time.
        let before = steps - progress.step.rewards.len() as u64;
        let due = |every: u64| steps / every > before / every;
        self.log_due = due(self.run.log_freq);
        if due(self.run.eval_freq) {
            self.evaluate(progress.agent)?;
        }
        Ok(Flow::Continue)
    }

    fn after_updates(&mut self, agent: &mut dyn Learn) -> agents::Result<Flow> {
        let evaluated = std::mem::take(&mut self.evaluated);
        if self.log_due || evaluated {
            self.log(agent)?;
        }
        if evaluated {
            self.flush()?;
        }
        Ok(Flow::Continue)
    }

    fn before_update(&mut self) -> agents::Result<()> {
        bridge::check_signals()
    }
}
