//! What DDPG, SAC and their Stackelberg forms share: replay, schedule, and the update rule.

use super::config::{OffPolicyConfig, UpdateOrder};
use super::measures::{GameMeasures, spectra};
use super::sde::Matrices;
use super::temperature::Temperature;
use crate::agent::{Agent, GameGradients, Mode};
use crate::engine::{Engine, FrozenGame, Role};
use crate::env::{ActionSpace, Spaces, Step};
use crate::error::{Error, Result};
use crate::flat;
use crate::game::Norms;
use crate::game::{Damping, StackelbergConfig};
use crate::game::{Game, Independent, LeaderGradient, Player, Solver, total_derivative};
use crate::memory::{Batch, Normalizer, Replay};
use crate::metrics::{Means, Metrics};
use crate::params::{Moments, Parameter};
use crate::rng::{Purpose, Rng};
use crate::threads;

mod exchange;
mod experience;
mod family;
mod learner;

use learner::{Learner, learner, point};

pub use family::Family;
use family::draw_policy_noise;

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
    /// Steps of each environment, and finished episodes, since the current rollout began.
    rollout: (u64, u64),
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
        let (leader_dim, follower_dim) = match config.common.leader.unwrap_or(Role::Actor) {
            Role::Actor => (actor.len(), critic.len()),
            Role::Critic => (critic.len(), actor.len()),
        };
        let independent =
            config.common.leader.is_some() && config.common.stackelberg.independent_minibatches;
        let factor = || (engine.clone(), Batch::default());
        Self {
            actor: Learner::new(actor, Role::Actor, &config),
            critic: Learner::new(critic, Role::Critic, &config),
            temperature: family.temperature(&config.common, low.len()),
            damping: Damping::new(&config.common.stackelberg),
            independent: independent.then(|| [factor(), factor()]),
            replay: Replay::new(config.buffer_size, spaces.obs_dim, low.len()),
            normalizer: None,
            exploration: Rng::new(seed, Purpose::Exploration),
            matrices: Matrices::default(),
            sampling: Rng::new(seed, Purpose::Replay),
            policy_noise: Rng::new(seed, Purpose::Policy),
            diagnostics: Rng::new(seed, Purpose::Diagnostics),
            steps: 0,
            rollout: (0, 0),
            updates: 0,
            game: GameMeasures::default(),
            means: Means::default(),
            solver: Solver::new(&config.common.stackelberg.solver_config(seed)),
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
        if self.replay.is_empty() {
            return Err(Error::config("replay_buffer", "empty", "there is nothing to learn from"));
        }
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
        let role = config.common.leader.unwrap_or(Role::Actor);
        let lambda = damping.lambda(self.steps);
        let mut losses = [0.0; 2];
        let finite = |norm: f32| match norm.is_finite() {
            true => Ok(norm),
            false => Err(Error::Diverged {
                what: "a gradient",
                update: self.updates,
                learning_rate: config.common.learning_rate,
            }),
        };

        // g2 = D2 f2(x1, x2)
        let mut game = engine.freeze(point(actor, critic, ent_coef, batch), role)?;
        game.gradient(Player::Follower, Player::Follower, follower_gradient)?;
        let follower_norm = finite(flat::norm(follower_gradient))?;
        losses[1] = game.loss(role.opponent())?;
        if config.update_order == UpdateOrder::Sequential {
            drop(game);
            learner(actor, critic, role.opponent()).step(follower_gradient, None);
            game = engine.freeze(point(actor, critic, ent_coef, batch), role)?;
        }

        // g1 = D f1(x1, x2) (11), (14); without a leader D1 f1 (5), (13)
        let solve = match config.common.leader {
            Some(_) => {
                let clamp = config.common.stackelberg.norm_ratio_clamp.map(|c| c as f32);
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
                leader_gradient.without_leader();
                None
            }
        };
        losses[0] = game.loss(role)?;
        let saturation = game.policy_saturation()?;
        let entropy = game.entropy()?;
        drop(game);

        finite(leader_gradient.norms.total)?;
        let norms = Norms::new(leader_gradient.norms, follower_norm);

        // x1 <- x1 - alpha1 g1;  x2 <- x2 - alpha2 g2; averages with the last steps
        let averages = self.updates.is_multiple_of(self.family.target_update_interval());
        let tau = averages.then_some(config.tau as f32);
        let last = tau.filter(|_| config.unroll == 1);
        let (leader, follower) = match role {
            Role::Actor => (&mut *actor, &mut *critic),
            Role::Critic => (&mut *critic, &mut *actor),
        };
        threads::join(
            threads::count(),
            || leader.step(&leader_gradient.total, last),
            || match config.update_order {
                UpdateOrder::Simultaneous => follower.step(follower_gradient, last),
                UpdateOrder::Sequential => last.into_iter().for_each(|tau| follower.average(tau)),
            },
        );
        // x2 <- x2 - alpha2 D2 f2(x1, x2), m - 1 times
        for _ in 1..config.unroll {
            let mut game = engine.freeze(point(actor, critic, ent_coef, batch), role)?;
            game.gradient(Player::Follower, Player::Follower, follower_gradient)?;
            drop(game);
            learner(actor, critic, role.opponent()).step(follower_gradient, None);
        }
        if let (Some(tau), None) = (tau, last) {
            [actor, critic].into_iter().for_each(|player| player.average(tau));
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
        self.means.add("train/learning_rate", self.config.common.learning_rate);
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

impl<F: Family, E: Engine<f32> + Clone> Agent for OffPolicy<F, E> {
    fn spaces(&self) -> &Spaces {
        &self.spaces
    }

    fn act(&mut self, obs: &[f32], mode: Mode, actions: &mut [f32]) -> Result<()> {
        self.choose(obs, mode, actions);
        Ok(())
    }

    fn store(&mut self, obs: &[f32], actions: &[f32], step: &Step) -> Result<u64> {
        Ok(self.remember(obs, actions, step))
    }

    fn learn(&mut self) -> Result<()> {
        self.update()
    }

    fn configure(&mut self, new: Box<dyn Agent>) -> Result<()> {
        self.adopt(new)
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
        let role = config.common.leader.unwrap_or(Role::Actor);
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
        (self.steps, self.rollout) = (steps, (0, 0));
    }

    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.config.common.learning_rate = learning_rate;
        for (player, role) in [(&mut self.actor, Role::Actor), (&mut self.critic, Role::Critic)] {
            player.learning_rate = self.config.common.learning_rate(role);
        }
        if let Some(temperature) = &mut self.temperature {
            temperature.set_learning_rate(learning_rate);
        }
    }

    fn damping(&self) -> f64 {
        self.damping.factor
    }

    fn set_damping(&mut self, factor: f64) {
        self.damping.factor = factor;
    }

    fn reseed(&mut self, seed: u64) {
        self.exploration = Rng::new(seed, Purpose::Exploration);
        self.sampling = Rng::new(seed, Purpose::Replay);
        self.policy_noise = Rng::new(seed, Purpose::Policy);
        self.diagnostics = Rng::new(seed, Purpose::Diagnostics);
    }

    fn set_normalizer(&mut self, normalizer: Option<Normalizer>) -> Option<Normalizer> {
        std::mem::replace(&mut self.normalizer, normalizer)
    }

    fn game_gradients(
        &mut self,
        batch: &Batch<f32>,
        stackelberg: &StackelbergConfig,
    ) -> Result<GameGradients> {
        self.gradients_on(batch, stackelberg)
    }
}
