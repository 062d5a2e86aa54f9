//! What DDPG, SAC and their Stackelberg forms share: replay, schedule, and the update rule.

use super::config::{OffPolicyConfig, UpdateOrder};
use super::measures::{GameMeasures, Means, Norms, spectra};
use super::sde::Matrices;
use super::stackelberg::{Damping, StackelbergConfig};
use super::temperature::Temperature;
use crate::agent::{Agent, GameGradients, Metrics, Mode, Moments, Parameter};
use crate::engine::{Engine, FrozenGame, Point, Role};
use crate::env::{ActionSpace, Spaces, Step};
use crate::error::{Error, Result};
use crate::flat;
use crate::game::{Game, Independent, LeaderGradient, Player, Solver, total_derivative};
use crate::memory::{Batch, Normalizer, Replay};
use crate::optim::Optimizer;
use crate::rng::{Purpose, Rng};

mod exchange;
mod family;

pub use family::Family;
use family::draw_policy_noise;

/// One player: parameters, their Polyak average, optimiser.
struct Learner {
    params: Vec<f32>,
    target: Vec<f32>,
    optimizer: Optimizer<f32>,
    learning_rate: f64,
}

impl Learner {
    fn new(params: Vec<f32>, role: Role, config: &OffPolicyConfig) -> Self {
        Self {
            target: params.clone(),
            optimizer: Optimizer::new(config.optimizer, params.len()),
            params,
            learning_rate: config.learning_rate(role),
        }
    }

    fn step(&mut self, gradient: &[f32]) {
        self.optimizer.step(self.learning_rate, gradient, &mut self.params);
    }
}

/// An off-policy agent: an algorithm's family on an engine.
pub struct OffPolicy<F, E> {
    family: F,
    engine: E,
    config: OffPolicyConfig,
    spaces: Spaces,
    low: Vec<f32>,
    high: Vec<f32>,
    half_range: Vec<f32>,

    actor: Learner,
    critic: Learner,
    temperature: Option<Temperature>,
    damping: Damping,
    replay: Replay,
    normalizer: Option<Normalizer>,
    exploration: Rng,
    matrices: Matrices,
    sampling: Rng,
    policy_noise: Rng,
    diagnostics: Rng,
    steps: u64,
    steps_since_round: u64,
    episodes_since_round: u64,
    updates: u64,
    game: GameMeasures,
    means: Means,

    solver: Solver<f32>,
    batch: Batch<f32>,
    /// Engine and minibatch of the follower's Hessian and of the cross derivative, where they have
    /// their own.
    independent: Option<[(E, Batch<f32>); 2]>,
    leader_gradient: LeaderGradient<f32>,
    follower_gradient: Vec<f32>,
    scratch: [Vec<f32>; 2],
    output: Vec<f32>,
    noise: Vec<f32>,
    unit_action: Vec<f32>,
    seen: Vec<f32>,
}

impl<F: Family, E: Engine<f32> + Clone> OffPolicy<F, E> {
    /// A fresh agent. `spaces` must have box actions.
    pub fn new(family: F, engine: E, config: OffPolicyConfig, spaces: Spaces, seed: u64) -> Self {
        let (low, high) = match &spaces.action {
            ActionSpace::Box { low, high } => (low.clone(), high.clone()),
            ActionSpace::Discrete { .. } => (Vec::new(), Vec::new()),
        };
        let half_range = low.iter().zip(&high).map(|(l, h)| 0.5 * (h - l)).collect();
        let mut actor = family.actor().init(&mut Rng::new(seed, Purpose::Actor));
        if let Some(sde) = family.sde() {
            sde.init(&mut actor);
        }
        let mut critic_rng = Rng::new(seed, Purpose::Critic);
        let critic: Vec<f32> = (0..family.critics())
            .flat_map(|_| family.critic().init::<f32>(&mut critic_rng))
            .collect();
        let (leader_dim, follower_dim) = match config.leader.unwrap_or(Role::Actor) {
            Role::Actor => (actor.len(), critic.len()),
            Role::Critic => (critic.len(), actor.len()),
        };
        let independent = config.leader.is_some() && config.stackelberg.independent_minibatches;
        let factor = || (engine.clone(), Batch::default());
        Self {
            actor: Learner::new(actor, Role::Actor, &config),
            critic: Learner::new(critic, Role::Critic, &config),
            temperature: family.stochastic().then(|| Temperature::new(&config, low.len())),
            damping: Damping::new(&config.stackelberg),
            independent: independent.then(|| [factor(), factor()]),
            replay: Replay::new(config.buffer_size, spaces.obs_dim, low.len()),
            normalizer: None,
            exploration: Rng::new(seed, Purpose::Exploration),
            matrices: Matrices::default(),
            sampling: Rng::new(seed, Purpose::Replay),
            policy_noise: Rng::new(seed, Purpose::Policy),
            diagnostics: Rng::new(seed, Purpose::Diagnostics),
            steps: 0,
            steps_since_round: 0,
            episodes_since_round: 0,
            updates: 0,
            game: GameMeasures::default(),
            means: Means::default(),
            solver: Solver::new(&config.stackelberg.solver_config(seed)),
            batch: Batch::default(),
            leader_gradient: LeaderGradient::new(leader_dim),
            follower_gradient: vec![0.0; follower_dim],
            scratch: Default::default(),
            output: vec![0.0; family.actor().outputs()],
            noise: vec![0.0; low.len()],
            unit_action: vec![0.0; low.len()],
            seen: Vec::new(),
            family,
            engine,
            config,
            spaces,
            low,
            high,
            half_range,
        }
    }

    /// One update: a leader step and `unroll` follower steps on one minibatch (Algorithm 2).
    fn update(&mut self) -> Result<()> {
        let own = self.independent.iter_mut().flatten().map(|(_, batch)| batch);
        for batch in std::iter::once(&mut self.batch).chain(own) {
            self.replay.sample(self.config.batch_size, &mut self.sampling, batch);
            if let Some(normalizer) = &self.normalizer {
                normalizer.apply(batch);
            }
            if self.family.stochastic() {
                draw_policy_noise(batch, &self.family, self.low.len(), &mut self.policy_noise);
            }
        }

        let ent_coef = self.ent_coef();
        let Self {
            engine,
            config,
            actor,
            critic,
            damping,
            batch,
            independent,
            solver,
            leader_gradient,
            follower_gradient,
            ..
        } = self;
        let role = config.leader.unwrap_or(Role::Actor);
        let lambda = damping.lambda(self.steps);
        let mut losses = [0.0; 2];

        // g2 = D2 f2(x1, x2)
        let mut game = engine.freeze(point(actor, critic, ent_coef, batch), role)?;
        game.gradient(Player::Follower, Player::Follower, follower_gradient)?;
        losses[1] = game.loss(role.opponent())?;
        if config.update_order == UpdateOrder::Sequential {
            drop(game);
            learner(actor, critic, role.opponent()).step(follower_gradient);
            game = engine.freeze(point(actor, critic, ent_coef, batch), role)?;
        }

        // g1 = D f1(x1, x2) (11), (14); without a leader D1 f1 (5), (13)
        let solve = match config.leader {
            Some(_) => {
                let clamp = config.stackelberg.norm_ratio_clamp.map(|c| c as f32);
                let mut led = |game: &mut dyn Game<f32>| {
                    total_derivative(game, solver, lambda as f32, clamp, leader_gradient)
                };
                Some(match independent {
                    None => led(&mut game)?,
                    Some([(e1, b1), (e2, b2)]) => led(&mut Independent {
                        gradients: &mut game,
                        hessian: &mut e1.freeze(point(actor, critic, ent_coef, b1), role)?,
                        cross: &mut e2.freeze(point(actor, critic, ent_coef, b2), role)?,
                    })?,
                })
            }
            None => {
                game.gradient(Player::Leader, Player::Leader, &mut leader_gradient.total)?;
                None
            }
        };
        losses[0] = game.loss(role)?;
        let saturation = game.policy_saturation()?;
        let entropy = game.entropy()?;
        drop(game);

        let norms = Norms::of(leader_gradient, follower_gradient, solve.is_some());
        if !norms.finite() {
            return Err(Error::Diverged {
                what: "a gradient",
                update: self.updates,
                learning_rate: config.learning_rate,
            });
        }

        // x1 <- x1 - alpha1 g1;  x2 <- x2 - alpha2 g2
        learner(actor, critic, role).step(&leader_gradient.total);
        if config.update_order == UpdateOrder::Simultaneous {
            learner(actor, critic, role.opponent()).step(follower_gradient);
        }
        // x2 <- x2 - alpha2 D2 f2(x1, x2), m - 1 times
        for _ in 1..config.unroll {
            let mut game = engine.freeze(point(actor, critic, ent_coef, batch), role)?;
            game.gradient(Player::Follower, Player::Follower, follower_gradient)?;
            drop(game);
            learner(actor, critic, role.opponent()).step(follower_gradient);
        }
        if self.updates.is_multiple_of(config.target_update_interval) {
            for player in [actor, critic] {
                flat::polyak(config.tau as f32, &player.params, &mut player.target);
            }
        }

        if let Some(solve) = &solve {
            damping.adapt(solve, &norms);
        }

        self.updates += 1;
        let [leader_loss, follower_loss] = losses;
        let (actor_loss, critic_loss) = match role {
            Role::Actor => (leader_loss, follower_loss),
            Role::Critic => (follower_loss, leader_loss),
        };
        self.means.add("train/actor_loss", actor_loss);
        self.means.add("train/critic_loss", critic_loss);
        self.means.add("train/learning_rate", self.config.learning_rate);
        if let (Some(entropy), Some(temperature)) = (entropy, &mut self.temperature) {
            self.means.add("train/entropy", entropy);
            self.means.add("train/ent_coef", ent_coef);
            if let Some(loss) = temperature.step(entropy) {
                self.means.add("train/ent_coef_loss", loss);
            }
        }
        self.means.add("game/policy_saturation", saturation);
        self.game.record(&mut self.means, self.updates, &norms, solve, lambda);
        Ok(())
    }

    /// eta, 0 for policies without entropy.
    fn ent_coef(&self) -> f64 {
        self.temperature.as_ref().map_or(0.0, Temperature::alpha)
    }
}

fn point<'a>(
    actor: &'a Learner,
    critic: &'a Learner,
    ent_coef: f64,
    batch: &'a Batch<f32>,
) -> Point<'a, f32> {
    Point {
        actor: &actor.params,
        critic: &critic.params,
        target_actor: &actor.target,
        target_critic: &critic.target,
        batch,
        ent_coef,
    }
}

fn learner<'a>(actor: &'a mut Learner, critic: &'a mut Learner, role: Role) -> &'a mut Learner {
    match role {
        Role::Actor => actor,
        Role::Critic => critic,
    }
}

impl<F: Family, E: Engine<f32> + Clone> Agent for OffPolicy<F, E> {
    fn spaces(&self) -> &Spaces {
        &self.spaces
    }

    fn act(&mut self, obs: &[f32], mode: Mode, actions: &mut [f32]) -> Result<()> {
        let random = mode == Mode::Explore && self.steps < self.config.uniform_steps();
        let (n, m) = (self.spaces.obs_dim, self.low.len());
        let sde = self.family.sde().filter(|_| mode == Mode::Explore);
        if let Some(sde) = sde {
            let envs = obs.len() / n;
            let steps = self.steps_since_round as usize / envs.max(1);
            self.matrices.renew(sde, &self.actor.params, steps, envs, &mut self.exploration);
        }
        self.seen.clear();
        self.seen.extend_from_slice(obs);
        if let Some(normalizer) = &self.normalizer {
            normalizer.standardize(&mut self.seen);
        }
        let rows = self.seen.chunks_exact(n).zip(actions.chunks_exact_mut(m));
        for (env, (obs, action)) in rows.enumerate() {
            if random {
                self.unit_action.fill_with(|| self.exploration.uniform(-1.0, 1.0));
            } else {
                self.family.actor().forward(
                    &self.actor.params,
                    obs,
                    &mut self.scratch,
                    &mut self.output,
                );
                match (mode, sde) {
                    (Mode::Deterministic, _) => self.noise.fill(0.0),
                    (Mode::Explore, None) => self.noise.fill_with(|| self.exploration.normal()),
                    (Mode::Explore, Some(sde)) => {
                        self.matrices.noise(sde, env, &self.scratch[1], &mut self.noise);
                    }
                }
                self.family.action(&self.output, &self.noise, &mut self.unit_action);
            }
            // a = low + (u + 1) (high - low) / 2
            let bounds = self.low.iter().zip(&self.high).zip(&self.half_range);
            let rows = action.iter_mut().zip(&self.unit_action).zip(bounds);
            for ((a, &u), ((&low, &high), &half)) in rows {
                *a = (low + (u + 1.0) * half).clamp(low, high);
            }
        }
        Ok(())
    }

    fn observe(&mut self, obs: &[f32], actions: &[f32], step: &Step) -> Result<()> {
        let (n, m) = (self.spaces.obs_dim, self.low.len());
        let rows =
            obs.chunks_exact(n).zip(actions.chunks_exact(m)).zip(step.next_obs.chunks_exact(n));
        let ends = step.rewards.iter().zip(&step.terminated);
        for (((obs, action), next_obs), (&reward, &terminated)) in rows.zip(ends) {
            let bounds = self.low.iter().zip(&self.half_range);
            for ((u, &a), (&low, &half)) in self.unit_action.iter_mut().zip(action).zip(bounds) {
                *u = if half > 0.0 { (a - low) / half - 1.0 } else { 0.0 };
            }
            self.replay.push(obs, &self.unit_action, reward as f32, next_obs, terminated);
            self.steps += 1;
            self.steps_since_round += 1;
        }
        self.episodes_since_round +=
            (0..step.rewards.len()).filter(|&i| step.ended(i)).count() as u64;
        let due = self.config.train_freq.due(self.steps_since_round, self.episodes_since_round);
        if self.steps < self.config.learning_starts || !due {
            return Ok(());
        }
        let since_round = std::mem::take(&mut self.steps_since_round);
        self.episodes_since_round = 0;
        let rounds = u64::try_from(self.config.gradient_steps).unwrap_or(since_round);
        for _ in 0..rounds {
            self.update()?;
        }
        Ok(())
    }

    fn updates(&self) -> u64 {
        self.updates
    }

    fn metrics(&mut self) -> Metrics {
        self.means.take()
    }

    fn diagnostics(&mut self) -> Result<Metrics> {
        if self.replay.is_empty() {
            return Ok(Metrics::new());
        }
        // A minibatch of its own: neither the draws nor the solver's memory of training change.
        let ent_coef = self.ent_coef();
        let Self { engine, config, actor, critic, batch, diagnostics: rng, .. } = self;
        self.replay.sample(config.batch_size, rng, batch);
        if let Some(normalizer) = &self.normalizer {
            normalizer.apply(batch);
        }
        if self.family.stochastic() {
            draw_policy_noise(batch, &self.family, self.low.len(), rng);
        }
        let role = config.leader.unwrap_or(Role::Actor);
        spectra(&mut engine.freeze(point(actor, critic, ent_coef, batch), role)?, rng)
    }

    fn parameters(&self) -> Vec<Parameter> {
        self.read_parameters()
    }

    fn set_parameters(&mut self, parameters: &[Parameter]) -> Result<()> {
        self.write_parameters(parameters)
    }

    fn moments(&self) -> Vec<Moments> {
        self.read_moments()
    }

    fn set_moments(&mut self, moments: &[Moments]) -> Result<()> {
        self.write_moments(moments)
    }

    fn replay(&mut self) -> Option<&mut Replay> {
        Some(&mut self.replay)
    }

    fn set_steps(&mut self, steps: u64) {
        (self.steps, self.steps_since_round, self.episodes_since_round) = (steps, 0, 0);
    }

    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.config.learning_rate = learning_rate;
        for (player, role) in [(&mut self.actor, Role::Actor), (&mut self.critic, Role::Critic)] {
            player.learning_rate = self.config.learning_rate(role);
        }
        if let Some(temperature) = &mut self.temperature {
            temperature.set_learning_rate(learning_rate);
        }
    }

    fn set_normalizer(&mut self, normalizer: Option<Normalizer>) {
        self.normalizer = normalizer;
    }

    fn game_gradients(
        &mut self,
        batch: &Batch<f32>,
        stackelberg: &StackelbergConfig,
    ) -> Result<GameGradients> {
        self.gradients_on(batch, stackelberg)
    }
}
