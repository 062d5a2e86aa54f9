//! The on-policy agent: collects a batch, takes one leader step and `m` critic steps on it, forgets it.

use super::ac::{AcConfig, ActorCritic, Data};
use super::measures::{GameMeasures, spectra};
use super::on_policy_config::OnPolicyConfig;
use super::policy::Policy;
use super::sde::{Matrices, SdeConfig};
use crate::agent::{Agent, Mode};
use crate::engine::{FrozenGame as _, Role};
use crate::env::{Spaces, Step};
use crate::error::{Error, Result};
use crate::flat;
use crate::game::Damping;
use crate::game::Norms;
use crate::game::{Game, Independent, LeaderGradient, Player, Solve, Solver, total_derivative};
use crate::memory::{Rollout, Trajectories};
use crate::metrics::{Means, Metrics};
use crate::optim::Optimizer;
use crate::params::{self, TensorPlace, matching};
use crate::params::{Moments, Parameter};
use crate::rng::{Purpose, Rng};
use std::any::Any;
use tch::Device;

/// Rows of the last batch that eigenvalues are estimated on.
const SPECTRUM_ROWS: usize = 256;

/// One player: parameters and optimiser.
struct Learner {
    params: Vec<f32>,
    optimizer: Optimizer<f32>,
    learning_rate: f64,
}

impl Learner {
    fn new(params: Vec<f32>, role: Role, config: &OnPolicyConfig) -> Self {
        Self {
            optimizer: Optimizer::new(config.common.optimizer, params.len()),
            params,
            learning_rate: config.common.learning_rate(role),
        }
    }

    /// Descends along `gradient`, unless that leaves the finite numbers.
    fn step(&mut self, gradient: &[f32], update: u64) -> Result<()> {
        let diverged = |what| Error::Diverged { what, update, learning_rate: self.learning_rate };
        if !flat::norm(gradient).is_finite() {
            return Err(diverged("a gradient"));
        }
        let mut params = self.params.clone();
        self.optimizer.step(self.learning_rate, gradient, &mut params);
        if !flat::all_finite(&params) {
            return Err(diverged("a parameter"));
        }
        self.params = params;
        Ok(())
    }
}

/// An agent of actor-critic, or of STAC.
pub struct OnPolicy {
    family: ActorCritic,
    config: OnPolicyConfig,
    spaces: Spaces,

    actor: Learner,
    critic: Learner,
    rollout: Rollout,
    exploration: Rng,
    matrices: Matrices,
    diagnostics: Rng,
    steps: u64,
    updates: u64,
    game: GameMeasures,
    means: Means,
    damping: Damping,
    /// What the last updates learned from.
    data: Option<Data>,

    solver: Solver<f32>,
    leader_gradient: LeaderGradient<f32>,
    follower_gradient: Vec<f32>,
    scratch: [Vec<f32>; 2],
    output: Vec<f32>,
    /// The last actions drawn, before clipping.
    drawn: Vec<f32>,
}

impl OnPolicy {
    /// A fresh agent whose gradients are computed on `device`.
    pub fn new(
        config: OnPolicyConfig,
        own: &(AcConfig, SdeConfig),
        spaces: Spaces,
        device: Device,
        seed: u64,
    ) -> Self {
        keep_freed_memory();
        let family = ActorCritic::new(&config.common, own, &spaces, device);
        let actor = family.init(Role::Actor, &mut Rng::new(seed, Purpose::Actor));
        let critic = family.init(Role::Critic, &mut Rng::new(seed, Purpose::Critic));
        Self {
            solver: Solver::new(&config.common.stackelberg.solver_config(seed)),
            leader_gradient: LeaderGradient::new(actor.len()),
            follower_gradient: vec![0.0; critic.len()],
            actor: Learner::new(actor, Role::Actor, &config),
            critic: Learner::new(critic, Role::Critic, &config),
            rollout: Rollout::default(),
            exploration: Rng::new(seed, Purpose::Exploration),
            matrices: Matrices::default(),
            diagnostics: Rng::new(seed, Purpose::Diagnostics),
            steps: 0,
            updates: 0,
            game: GameMeasures::default(),
            means: Means::default(),
            damping: Damping::new(&config.common.stackelberg),
            data: None,
            scratch: Default::default(),
            output: vec![0.0; family.policy.outputs()],
            drawn: Vec::new(),
            family,
            config,
            spaces,
        }
    }

    /// One update: a leader step and `m` critic steps on one batch (Algorithm 1).
    fn update(&mut self) -> Result<()> {
        let Self { family, config, actor, critic, solver, .. } = self;
        let Self { leader_gradient, follower_gradient, .. } = self;
        let batch: Trajectories<f32> =
            self.rollout.take(config.common.gamma, family.config.gae_lambda, &mut |obs| {
                family.values(&actor.params, &critic.params, obs)
            })?;
        let data = family.data(&batch)?;
        let lambda = self.damping.lambda(self.steps);

        // g2 = D2 f2(x1, x2)
        let mut game = family.game(&actor.params, &critic.params, &data)?;
        game.gradient(Player::Follower, Player::Follower, follower_gradient)?;

        // g1 = D f1(x1, x2) (11); without a leader D1 f1 (5)
        let clamp = config.common.stackelberg.norm_ratio_clamp.map(|c| c as f32);
        let mut led = |game: &mut dyn Game<f32>| {
            total_derivative(game, solver, lambda as f32, clamp, leader_gradient)
        };
        let solve = match config.common.leader.is_some() || config.common.step_match {
            false => None,
            true if config.common.stackelberg.independent_minibatches => {
                let parts: [_; 3] = batch.deal();
                let freeze = |part| -> Result<_> {
                    family.game(&actor.params, &critic.params, &family.data(part)?)
                };
                let solve = if parts.iter().any(|part| part.size == 0) {
                    // Fewer than three trajectories: no estimate, so the plain gradient.
                    leader_gradient.implicit.fill(0.0);
                    Solve { fallback: true, residual: f64::NAN, ..Solve::default() }
                } else {
                    led(&mut Independent {
                        gradients: &mut freeze(&parts[0])?,
                        hessian: &mut freeze(&parts[1])?,
                        cross: &mut freeze(&parts[2])?,
                    })?
                };
                // The individual gradient is no factor of the product: it keeps the whole batch.
                let individual = &mut leader_gradient.individual;
                game.gradient(Player::Leader, Player::Leader, individual)?;
                leader_gradient.subtract();
                Some(solve)
            }
            true => Some(led(&mut game)?),
        };
        if solve.is_none() {
            game.gradient(Player::Leader, Player::Leader, &mut leader_gradient.total)?;
            leader_gradient.without_leader();
        }
        if config.common.step_match {
            match_norm(leader_gradient);
        }
        let actor_loss = game.loss(Role::Actor)?;
        let critic_loss = game.loss(Role::Critic)?;
        let entropy = game.entropy()?.unwrap_or_default();
        drop(game);
        let norms = Norms::new(leader_gradient.norms, flat::norm(follower_gradient));

        // x1 <- x1 - alpha1 g1;  x2 <- x2 - alpha2 g2
        actor.step(&leader_gradient.total, self.updates)?;
        critic.step(follower_gradient, self.updates)?;
        // x2 <- x2 - alpha2 D2 f2(x1, x2), m - 1 times
        for _ in 1..config.critic_steps {
            let mut game = family.critic_game(&critic.params, &data)?;
            game.gradient(Player::Follower, Player::Follower, follower_gradient)?;
            critic.step(follower_gradient, self.updates)?;
        }

        if let Some(solve) = &solve {
            self.damping.adapt(solve, &norms);
        }
        self.updates += 1;
        for (tag, value) in [
            ("train/policy_loss", actor_loss + family.config.ent_coef * entropy),
            ("train/value_loss", critic_loss),
            ("train/entropy_loss", -entropy),
            ("train/explained_variance", data.explained_variance(&batch.values)?),
            ("train/learning_rate", config.common.learning_rate),
        ] {
            self.means.add(tag, value);
        }
        if let Policy::Gaussian { low, high } = &family.policy {
            self.means.add("game/policy_saturation", share_outside(low, high, &batch.actions));
        }
        self.game.record(&mut self.means, self.updates, &norms, solve, lambda);
        self.data = Some(data);
        Ok(())
    }

    /// Every named tensor with its place.
    fn tensors(&self) -> impl Iterator<Item = (TensorPlace, Role)> {
        [Role::Actor, Role::Critic]
            .into_iter()
            .flat_map(|role| self.family.tensors(role).into_iter().map(move |place| (place, role)))
    }
}

/// Tensors of a batch take megabytes. glibc gives such memory back to the system when it is freed, and takes it anew page
/// by page, a quarter of an update's time; having freed a block of this size once, it keeps as much (mallopt(3),
/// `M_MMAP_THRESHOLD`).
fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(31 << 20)));
}

/// The control of STAC: the individual gradient at the length of the total derivative.
fn match_norm(gradient: &mut LeaderGradient<f32>) {
    let LeaderGradient { individual, total, norms, .. } = gradient;
    total.copy_from_slice(individual);
    if norms.individual > 0.0 {
        flat::scale(norms.total / norms.individual, total);
        norms.cosine = 1.0;
    } else {
        norms.total = 0.0;
    }
}

/// The share of components that the environment is sent clipped.
fn share_outside(low: &[f32], high: &[f32], actions: &[f32]) -> f64 {
    let rows = actions.chunks_exact(low.len());
    let outside = rows.flat_map(|row| row.iter().zip(low.iter().zip(high)));
    let count = outside.filter(|&(a, (low, high))| a < low || a > high).count();
    count as f64 / actions.len() as f64
}

impl Agent for OnPolicy {
    fn spaces(&self) -> &Spaces {
        &self.spaces
    }

    fn act(&mut self, obs: &[f32], mode: Mode, actions: &mut [f32]) -> Result<()> {
        let Self { family, actor, output, .. } = self;
        let (n, m) = (self.spaces.obs_dim, self.spaces.action.dim());
        if let (Some(sde), Mode::Explore) = (&family.sde, mode) {
            let envs = obs.len() / n;
            let steps = self.rollout.len() / envs.max(1);
            self.matrices.renew(sde, &actor.params, steps, envs, &mut self.exploration);
        }
        let rows = obs.chunks_exact(n).zip(actions.chunks_exact_mut(m));
        for (env, (obs, action)) in rows.enumerate() {
            family.forward(&actor.params, obs, &mut self.scratch, output);
            match (mode, &family.sde) {
                (Mode::Deterministic, _) => family.policy.mode(output, action),
                (Mode::Explore, None) => {
                    let log_std = family.log_std(&actor.params);
                    family.policy.sample(output, log_std, &mut self.exploration, action);
                }
                // a = z + s' theta
                (Mode::Explore, Some(sde)) => {
                    self.matrices.noise(sde, env, &self.scratch[1], action);
                    flat::axpy(1.0, output, action);
                }
            }
        }
        if !flat::all_finite(actions) {
            return Err(Error::Diverged {
                what: "an action",
                update: self.updates,
                learning_rate: self.config.common.learning_rate,
            });
        }
        if mode == Mode::Explore {
            self.drawn.clear();
            self.drawn.extend_from_slice(actions);
        }
        actions.chunks_exact_mut(m).for_each(|action| family.policy.clip(action));
        Ok(())
    }

    fn store(&mut self, obs: &[f32], actions: &[f32], step: &Step) -> Result<u64> {
        // The draws behind these actions; somebody else's actions are taken at face value.
        let mut clipped = self.drawn.clone();
        let rows = clipped.chunks_exact_mut(self.spaces.action.dim());
        rows.for_each(|action| self.family.policy.clip(action));
        let drawn = if clipped == actions { &self.drawn } else { actions };

        self.rollout.push(obs, drawn, step);
        let envs = step.rewards.len();
        self.steps += envs as u64;
        Ok(u64::from(self.rollout.len() >= self.config.n_steps * envs))
    }

    fn learn(&mut self) -> Result<()> {
        self.update()
    }

    fn configure(&mut self, new: Box<dyn Agent>) -> Result<()> {
        let new: Box<dyn Any> = new;
        let Ok(new) = new.downcast::<Self>() else {
            let reason = "an agent keeps its family; make a new one";
            return Err(Error::config("algorithm", "another", reason));
        };
        let Self { family, config, actor, critic, damping, solver, .. } = *new;
        if (actor.params.len(), critic.params.len())
            != (self.actor.params.len(), self.critic.params.len())
        {
            return Err(Error::Parameters("the networks have another shape".into()));
        }
        for (own, new) in [(&mut self.actor, actor), (&mut self.critic, critic)] {
            own.learning_rate = new.learning_rate;
            if self.config.common.optimizer != config.common.optimizer {
                own.optimizer = new.optimizer;
            }
        }
        self.damping.adopt(damping);
        if self.config.common.stackelberg != config.common.stackelberg {
            self.solver = solver;
        }
        (self.family, self.config) = (family, config);
        Ok(())
    }

    fn updates(&self) -> u64 {
        self.updates
    }

    fn metrics(&mut self) -> Metrics {
        self.means.take()
    }

    fn diagnostics(&mut self) -> Result<Metrics> {
        let Some(data) = &self.data else { return Ok(Metrics::new()) };
        let rng = &mut self.diagnostics;
        let rows: Vec<i64> =
            (0..SPECTRUM_ROWS.min(data.size)).map(|_| rng.index(data.size) as i64).collect();
        let data = data.select(&rows);
        spectra(&mut self.family.game(&self.actor.params, &self.critic.params, &data)?, rng)
    }

    fn parameters(&self) -> Vec<Parameter> {
        self.tensors()
            .map(|(place, role)| {
                let learner = match role {
                    Role::Actor => &self.actor,
                    Role::Critic => &self.critic,
                };
                Parameter {
                    values: learner.params[place.range].to_vec(),
                    name: place.name,
                    shape: place.shape,
                }
            })
            .collect()
    }

    fn set_parameters(&mut self, parameters: &[Parameter]) -> Result<()> {
        let tensors: Vec<_> = self.tensors().collect();
        let places = tensors.iter().map(|(place, _)| place);
        for (parameter, (place, role)) in matching(parameters, places)?.iter().zip(&tensors) {
            let learner = match role {
                Role::Actor => &mut self.actor,
                Role::Critic => &mut self.critic,
            };
            learner.params[place.range.clone()].copy_from_slice(&parameter.values);
        }
        Ok(())
    }

    fn moments(&self) -> Vec<Moments> {
        let of = |(place, role)| match role {
            Role::Actor => params::read_moments(&self.actor.optimizer, place),
            Role::Critic => params::read_moments(&self.critic.optimizer, place),
        };
        self.tensors().filter_map(of).collect()
    }

    fn set_moments(&mut self, given: &[Moments]) -> Result<()> {
        for player in [&mut self.actor, &mut self.critic] {
            player.optimizer = Optimizer::new(self.config.common.optimizer, player.params.len());
        }
        for (place, role) in self.tensors().collect::<Vec<_>>() {
            let optimizer = match role {
                Role::Actor => &mut self.actor.optimizer,
                Role::Critic => &mut self.critic.optimizer,
            };
            params::write_moments(optimizer, &place, given)?;
        }
        Ok(())
    }

    fn rollout(&self) -> Option<&Rollout> {
        Some(&self.rollout)
    }

    fn damping(&self) -> f64 {
        self.damping.factor
    }

    fn set_damping(&mut self, factor: f64) {
        self.damping.factor = factor;
    }

    fn reseed(&mut self, seed: u64) {
        self.exploration = Rng::new(seed, Purpose::Exploration);
        self.diagnostics = Rng::new(seed, Purpose::Diagnostics);
    }

    fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
        self.rollout = Rollout::default();
    }

    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.config.common.learning_rate = learning_rate;
        for (player, role) in [(&mut self.actor, Role::Actor), (&mut self.critic, Role::Critic)] {
            player.learning_rate = self.config.common.learning_rate(role);
        }
    }
}
