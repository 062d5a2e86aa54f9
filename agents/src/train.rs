//! The training loop and evaluation.

use crate::agent::{Actions, Agent, Mode};
use crate::env::{Env, Step};
use crate::error::{Error, Result};
use crate::threads;

/// A finished episode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Episode {
    /// Which environment it ran in.
    pub env: usize,
    /// Undiscounted sum of rewards.
    pub total_reward: f64,
    /// Number of steps.
    pub length: u64,
}

/// What an observer sees after each step.
pub struct Progress<'a, A: ?Sized> {
    /// Environment steps so far, over all environments.
    pub steps: u64,
    /// The step just taken.
    pub step: &'a Step,
    /// Episodes that this step ended.
    pub episodes: &'a [Episode],
    /// The agent, to evaluate or save it.
    pub agent: &'a mut A,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Take the next step.
    Continue,
    /// End training here, in good order.
    Stop,
}

/// Watches training: logs, evaluates, saves, stops. The order is Stable-Baselines3's.
pub trait Observer<A: ?Sized> {
    /// Called after every step of the environments, before it is stored. A step that stops training
    /// is not stored.
    fn on_step(&mut self, progress: &mut Progress<'_, A>) -> Result<Flow>;

    /// Called once the step is stored, with the number of updates that are due. Returns how many to
    /// make.
    fn before_updates(&mut self, due: u64) -> Result<u64> {
        Ok(due)
    }

    /// Called before each of them; an error ends training.
    fn before_update(&mut self) -> Result<()> {
        Ok(())
    }

    /// Called after them, at every step.
    fn after_updates(&mut self, _agent: &mut A) -> Result<Flow> {
        Ok(Flow::Continue)
    }
}

/// Trains `agent` on `env` until `total_steps` environment steps, counted over all environments,
/// are reached or the observer stops it. Returns the number of steps taken.
pub fn train<A: Agent + ?Sized>(
    agent: &mut A,
    env: &mut dyn Env,
    total_steps: u64,
    seed: u64,
    observer: &mut dyn Observer<A>,
) -> Result<u64> {
    let (n, obs_dim, action_dim) = dimensions(env);
    let mut obs = vec![0.0; n * obs_dim];
    let mut actions = Actions::new(n * action_dim);
    let mut step = Step::new(n, obs_dim);
    let mut running = vec![(0.0, 0); n];
    let mut episodes = Vec::with_capacity(n);
    let mut steps = 0;

    env.reset(Some(seed), &mut obs)?;
    check_observations(&obs, steps)?;
    while steps < total_steps {
        agent.act(&obs, Mode::Explore, &mut actions)?;
        env.step(&actions.env, &mut step)?;
        steps += n as u64;
        check_finite(&step, steps)?;

        finished_episodes(&step, &mut running, &mut episodes);
        let mut progress = Progress { steps, step: &step, episodes: &episodes, agent: &mut *agent };
        if observer.on_step(&mut progress)? == Flow::Stop {
            break;
        }
        let due = agent.store(&obs, &actions.drawn, &step)?;
        let due = observer.before_updates(due)?;
        if due > 0 {
            threads::keep_awake(threads::count(), || {
                (0..due).try_for_each(|_| {
                    observer.before_update()?;
                    agent.learn()
                })
            })?;
        }
        if observer.after_updates(agent)? == Flow::Stop {
            break;
        }
        obs.copy_from_slice(&step.obs);
    }
    Ok(steps)
}

/// Returns of finished episodes, without exploration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Undiscounted return per episode.
    pub returns: Vec<f64>,
    /// Steps per episode.
    pub lengths: Vec<u64>,
}

impl Evaluation {
    /// Mean return; NaN without episodes.
    pub fn mean(&self) -> f64 {
        self.returns.iter().sum::<f64>() / self.returns.len() as f64
    }

    /// Population standard deviation of the returns (numpy's default).
    pub fn std(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self.returns.iter().map(|r| (r - mean) * (r - mean)).sum();
        (squares / self.returns.len() as f64).sqrt()
    }

    /// Mean episode length; NaN without episodes.
    pub fn mean_length(&self) -> f64 {
        self.lengths.iter().sum::<u64>() as f64 / self.lengths.len() as f64
    }
}

/// Runs `episodes` episodes with deterministic actions. A seed makes the start states reproducible;
/// without one the environment's own generator goes on.
pub fn evaluate<A: Agent + ?Sized>(
    agent: &mut A,
    env: &mut dyn Env,
    episodes: usize,
    seed: Option<u64>,
) -> Result<Evaluation> {
    let (n, obs_dim, action_dim) = dimensions(env);
    let mut obs = vec![0.0; n * obs_dim];
    let mut actions = Actions::new(n * action_dim);
    let mut step = Step::new(n, obs_dim);
    let mut running = vec![(0.0, 0); n];
    let mut finished = Vec::with_capacity(n);
    let mut evaluation = Evaluation::default();

    let mut steps = 0;
    env.reset(seed, &mut obs)?;
    check_observations(&obs, steps)?;
    while evaluation.returns.len() < episodes {
        agent.act(&obs, Mode::Deterministic, &mut actions)?;
        env.step(&actions.env, &mut step)?;
        steps += n as u64;
        check_finite(&step, steps)?;
        finished_episodes(&step, &mut running, &mut finished);
        for episode in finished.iter().take(episodes - evaluation.returns.len()) {
            evaluation.returns.push(episode.total_reward);
            evaluation.lengths.push(episode.length);
        }
        obs.copy_from_slice(&step.obs);
    }
    Ok(evaluation)
}

fn dimensions(env: &dyn Env) -> (usize, usize, usize) {
    let spaces = env.spaces();
    (env.num_envs(), spaces.obs_dim, spaces.action.dim())
}

/// Adds `step` to the running `(return, length)` of each environment and lists what ended.
fn finished_episodes(step: &Step, running: &mut [(f64, u64)], episodes: &mut Vec<Episode>) {
    episodes.clear();
    for (i, (total_reward, length)) in running.iter_mut().enumerate() {
        *total_reward += step.rewards[i];
        *length += 1;
        if step.ended(i) {
            episodes.push(Episode { env: i, total_reward: *total_reward, length: *length });
            (*total_reward, *length) = (0.0, 0);
        }
    }
}

/// A NaN or infinite reward or observation would poison the replay memory for good.
fn check_finite(step: &Step, steps: u64) -> Result<()> {
    // As agents remember it: a reward of 1e300 is infinite in float32.
    if let Some(&value) = step.rewards.iter().find(|&&r| !(r as f32).is_finite()) {
        return Err(Error::NonFinite { what: "a reward", value, step: steps });
    }
    check_observations(&step.next_obs, steps)?;
    check_observations(&step.obs, steps)
}

fn check_observations(obs: &[f32], steps: u64) -> Result<()> {
    match obs.iter().find(|x| !x.is_finite()) {
        None => Ok(()),
        Some(&value) => {
            Err(Error::NonFinite { what: "an observation", value: value.into(), step: steps })
        }
    }
}
