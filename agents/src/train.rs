//! The training loop and evaluation.

use crate::agent::{Actions, Agent, Mode};
use crate::env::{Env, Step};
use crate::error::{Error, Result};
use crate::threads;
use serde::{Deserialize, Serialize};

/// A finished episode.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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

/// What an observer sees between two steps, when all is consistent: the place for a checkpoint.
pub struct Point<'a, A: ?Sized, E: ?Sized> {
    /// The agent.
    pub agent: &'a mut A,
    /// Its environments.
    pub env: &'a mut E,
    /// Where training stands.
    pub state: &'a LoopState,
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
pub trait Observer<A: ?Sized, E: ?Sized> {
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
    fn after_updates(&mut self, _point: &mut Point<'_, A, E>) -> Result<Flow> {
        Ok(Flow::Continue)
    }
}

/// Where training stands, beside what the agent and the environments are. An error leaves it where it
/// was: what failed comes next, so that a run that was interrupted anywhere can go on from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoopState {
    /// Environment steps so far, over all environments.
    pub steps: u64,
    obs: Vec<f32>,
    actions: Actions,
    step: Step,
    /// Return and length so far of each environment's episode.
    running: Vec<(f64, u64)>,
    episodes: Vec<Episode>,
    next: Next,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Next {
    /// The agent chooses actions.
    Act,
    /// The environments take them.
    Step,
    /// The observer sees the step, then the agent stores it.
    Observe,
    /// Updates that are left of those due.
    Learn(u64),
}

impl LoopState {
    /// The start: new episodes in `env`.
    pub fn start(env: &mut (impl Env + ?Sized), seed: u64) -> Result<Self> {
        let (n, obs_dim, action_dim) = dimensions(env);
        let mut state = Self {
            steps: 0,
            obs: vec![0.0; n * obs_dim],
            actions: Actions::new(n * action_dim),
            step: Step::new(n, obs_dim),
            running: vec![(0.0, 0); n],
            episodes: Vec::with_capacity(n),
            next: Next::Act,
        };
        env.reset(Some(seed), &mut state.obs)?;
        check_observations(&state.obs, state.steps)?;
        Ok(state)
    }

    /// Whether an error has left it within a step of the environments.
    pub fn is_within_step(&self) -> bool {
        self.next == Next::Step
    }

    /// Environment `i` has begun a new episode with `obs`; the one before counts for nothing.
    pub fn begin_episode(&mut self, i: usize, obs: &[f32]) {
        let rows = [&mut self.obs, &mut self.step.obs].map(|rows| rows.chunks_exact_mut(obs.len()));
        rows.into_iter()
            .filter_map(|mut rows| rows.nth(i))
            .for_each(|row| row.copy_from_slice(obs));
        if let Some(running) = self.running.get_mut(i) {
            *running = (0.0, 0);
        }
        if self.next == Next::Step {
            self.next = Next::Act;
        }
    }

    /// Trains `agent` on `env` until `total_steps` environment steps, counted over all environments,
    /// are reached or the observer stops it.
    pub fn run<A: Agent + ?Sized, E: Env + ?Sized>(
        &mut self,
        agent: &mut A,
        env: &mut E,
        total_steps: u64,
        observer: &mut dyn Observer<A, E>,
    ) -> Result<()> {
        loop {
            match self.next {
                Next::Act if self.steps >= total_steps => return Ok(()),
                Next::Act => {
                    agent.act(&self.obs, Mode::Explore, &mut self.actions)?;
                    self.next = Next::Step;
                }
                Next::Step => {
                    env.step(&self.actions.env, &mut self.step)?;
                    let steps = self.steps + env.num_envs() as u64;
                    check_step(&self.step, steps)?;
                    finished_episodes(&self.step, &mut self.running, &mut self.episodes);
                    (self.steps, self.next) = (steps, Next::Observe);
                }
                Next::Observe => {
                    let Self { steps, step, episodes, .. } = &*self;
                    let agent = &mut *agent;
                    let mut progress = Progress { steps: *steps, step, episodes, agent };
                    if observer.on_step(&mut progress)? == Flow::Stop {
                        return Ok(());
                    }
                    let due = agent.store(&self.obs, &self.actions.drawn, &self.step)?;
                    self.next = Next::Learn(observer.before_updates(due)?);
                }
                Next::Learn(left) => {
                    self.learn(left, agent, observer)?;
                    self.obs.copy_from_slice(&self.step.obs);
                    self.next = Next::Act;
                    let (agent, env, state) = (&mut *agent, &mut *env, &*self);
                    if observer.after_updates(&mut Point { agent, env, state })? == Flow::Stop {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn learn<A: Agent + ?Sized, E: ?Sized>(
        &mut self,
        left: u64,
        agent: &mut A,
        observer: &mut dyn Observer<A, E>,
    ) -> Result<()> {
        if left == 0 {
            return Ok(());
        }
        threads::keep_awake(threads::count(), || {
            (0..left).rev().try_for_each(|left| {
                observer.before_update()?;
                agent.learn()?;
                self.next = Next::Learn(left);
                Ok(())
            })
        })
    }
}

/// Trains `agent` on `env` from the start. Returns the number of steps taken.
pub fn train<A: Agent + ?Sized, E: Env + ?Sized>(
    agent: &mut A,
    env: &mut E,
    total_steps: u64,
    seed: u64,
    observer: &mut dyn Observer<A, E>,
) -> Result<u64> {
    let mut state = LoopState::start(env, seed)?;
    state.run(agent, env, total_steps, observer)?;
    Ok(state.steps)
}

/// Returns of finished episodes, without exploration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Undiscounted return per episode.
    pub returns: Vec<f64>,
    /// Steps per episode.
    pub lengths: Vec<u64>,
    /// How many of them did not end, but were cut.
    pub cut: usize,
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

/// What an evaluation is to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EvaluationPlan {
    /// Episodes.
    pub episodes: usize,
    /// The most steps of an episode: one that goes on is cut there, and counts with what it has.
    pub max_steps: u64,
    /// Makes the start states reproducible; without it the environment's own generator goes on.
    pub seed: Option<u64>,
}

/// Runs episodes with deterministic actions. `check` is called after every step; its error ends the evaluation. If an
/// episode of one of several environments is cut, all of them begin anew.
pub fn evaluate<A: Agent + ?Sized, E: Env + ?Sized>(
    agent: &mut A,
    env: &mut E,
    plan: EvaluationPlan,
    check: &mut dyn FnMut() -> Result<()>,
) -> Result<Evaluation> {
    let EvaluationPlan { episodes, max_steps, seed } = plan;
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
        check()?;
        steps += n as u64;
        check_step(&step, steps)?;
        finished_episodes(&step, &mut running, &mut finished);
        let cut = running.iter().enumerate().filter(|(_, (_, length))| *length >= max_steps);
        let cut = cut.map(|(env, &(total_reward, length))| Episode { env, total_reward, length });
        let ended = finished.len();
        finished.extend(cut);
        for (i, episode) in finished.iter().take(episodes - evaluation.returns.len()).enumerate() {
            evaluation.returns.push(episode.total_reward);
            evaluation.lengths.push(episode.length);
            evaluation.cut += usize::from(i >= ended);
        }
        if finished.len() > ended {
            running.fill((0.0, 0));
            env.reset(None, &mut step.obs)?;
            check_observations(&step.obs, steps)?;
        }
        obs.copy_from_slice(&step.obs);
    }
    Ok(evaluation)
}

fn dimensions(env: &(impl Env + ?Sized)) -> (usize, usize, usize) {
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

/// The largest number whose square is finite in float32: √(2¹²⁸), rounded down.
const LARGEST: f32 = 1.844_674_3e19;

/// A NaN or infinite reward or observation would poison the replay memory for good; the square of a huge one, the
/// networks.
fn check_step(step: &Step, steps: u64) -> Result<()> {
    if let Some(&value) = step.rewards.iter().find(|&&r| !is_usable(r as f32)) {
        return Err(Error::OutOfRange { what: "a reward", value, step: steps });
    }
    check_observations(&step.next_obs, steps)?;
    check_observations(&step.obs, steps)
}

fn check_observations(obs: &[f32], steps: u64) -> Result<()> {
    match obs.iter().find(|&&x| !is_usable(x)) {
        None => Ok(()),
        Some(&value) => {
            Err(Error::OutOfRange { what: "an observation", value: value.into(), step: steps })
        }
    }
}

/// Whether agents can compute with `x`: it is a number, and so is its square.
pub fn is_usable(x: f32) -> bool {
    x.abs() <= LARGEST
}
