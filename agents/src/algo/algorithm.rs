//! What an algorithm is: networks, two objectives, how it acts, and what it learns from.

use super::config::OffPolicyConfig;
use super::sde::Sde;
use super::temperature::Temperature;
use crate::engine::Role;
use crate::engine::autograd::{Element, Losses, Objectives, TensorPoint, Transitions};
use crate::engine::fused::Spec;
use crate::error::{Error, Result};
use crate::game::Parts;
use crate::memory::{Batch, Memory, Normalizer, Replay};
use crate::metrics::RunningMean;
use crate::nn::Mlp;
use crate::params::{NamedTensor, TensorPlace, sequential_tensors};
use crate::rng::Rng;
use crate::settings::Records;
use tch::Device;

/// Where the noise of an action comes from.
pub enum Noise<'n> {
    /// There is none: the policy's mean or its most likely action.
    None,
    /// The policy draws it.
    Draw(&'n mut Rng),
    /// A number per component, which depends on the state.
    Given(&'n [f32]),
}

/// The batches of one update: of the whole, and those that factors of the implicit term have of their own.
pub struct Batches<B> {
    /// What both players learn from.
    pub whole: B,
    /// For independent estimates.
    pub parts: Parts<B>,
}

/// What batches are made with.
pub struct Draw<'d> {
    /// theta and w as they are.
    pub players: [&'d [f32]; 2],
    /// Transitions per batch, where they are drawn.
    pub size: usize,
    /// Chooses transitions.
    pub sampling: &'d mut Rng,
    /// Draws the policy's noise.
    pub noise: &'d mut Rng,
    /// Of what is remembered.
    pub normalizer: Option<&'d Normalizer>,
    /// Whether factors of the implicit term have batches of their own.
    pub independent: bool,
}

/// What an update was like, for its measures.
pub struct Readings {
    /// `-J`, if it was computed.
    pub actor_loss: Option<f64>,
    /// `L`, likewise.
    pub critic_loss: Option<f64>,
    /// Share of the policy's actions at their bounds, where there are such.
    pub saturation: Option<f64>,
    /// Mean of `-log pi`, where the policy is stochastic.
    pub entropy: Option<f64>,
}

/// An algorithm as the learner sees it.
pub trait Algorithm: Objectives<f32> + Clone {
    /// What it remembers.
    type Memory: Memory;

    /// Whether the policy draws in the unit box, which is scaled to the environment's bounds; else it draws in the
    /// environment's own units, and is clipped.
    const UNIT_BOX: bool;

    /// Networks and constants of its objectives, where the fused engine has their closed form.
    fn spec(&self) -> Option<Spec>;

    /// Initial parameters.
    fn init(&self, role: Role, rng: &mut Rng) -> Vec<f32>;

    /// Whether objectives take Polyak averages.
    fn has_targets(&self) -> bool;

    /// Names, shapes and places of all tensors, as in Stable-Baselines3.
    fn named_tensors(&self) -> Vec<NamedTensor>;

    /// From observations to the policy's parameters.
    fn actor(&self) -> &Mlp;

    /// The policy's state-dependent noise, where it has such.
    fn sde(&self) -> Option<&Sde>;

    /// An action for one output of the actor's network.
    fn draw(&self, actor: &[f32], output: &[f32], noise: Noise<'_>, action: &mut [f32]);

    /// The entropy coefficient, where the algorithm has one of its own.
    fn temperature(&self) -> Option<Temperature>;

    /// Takes the batches of an update out of `memory`, into `batches` where that saves memory.
    fn batches(
        &self,
        memory: &mut Self::Memory,
        draw: Draw<'_>,
        batches: &mut Option<Batches<Self::Batch>>,
    ) -> Result<()>;

    /// A batch for measures beside training; none if there is nothing to measure on. `rng` draws all.
    fn probe(
        &self,
        memory: &Self::Memory,
        size: usize,
        normalizer: Option<&Normalizer>,
        rng: &mut Rng,
    ) -> Result<Option<Self::Batch>>;

    /// Adds the measures `train/*` of an update.
    fn record(
        &self,
        readings: &Readings,
        batch: &Self::Batch,
        metrics: &mut RunningMean,
    ) -> Result<()>;

    /// A batch that somebody made, for [`crate::agent::Learn::game_gradients`].
    fn given<'b>(&self, batch: &'b Batch<f32>) -> Result<&'b Self::Batch>;
}

/// An algorithm that learns from transitions.
pub trait OffPolicy: Clone + Send + 'static {
    /// The settings that no other algorithm has.
    type Config: Records + Send + Sync;

    /// For observations and actions of these dimensions.
    fn new(config: &OffPolicyConfig, own: &Self::Config, obs_dim: usize, action_dim: usize)
    -> Self;

    /// Checks its own settings against the others.
    fn check(_config: &OffPolicyConfig, _own: &Self::Config) -> Result<()> {
        Ok(())
    }

    /// What the fused engine has no closed form of.
    fn not_fused(_own: &Self::Config) -> Option<&'static str> {
        None
    }

    /// Why the actor's objective is no function of outputs with a diagonal Hessian, which Gauss-Newton needs where the
    /// critic leads.
    fn no_actor_outputs(config: &OffPolicyConfig, own: &Self::Config) -> Option<&'static str> {
        let curved = !config.common.policy_kwargs.is_piecewise_linear();
        curved
            .then_some("critics whose slope by the action is not piecewise constant (`tanh`)")
            .or(Self::not_fused(own))
    }

    /// Updates from one step of the target networks to the next.
    fn target_update_interval(&self) -> u64 {
        1
    }

    /// The actor steps in every so-manieth update, the averages with it.
    fn actor_every(&self) -> u64 {
        1
    }

    /// Whether training starts with uniformly random actions.
    fn starts_at_random(&self) -> bool {
        true
    }

    /// Both objectives at `point`.
    fn losses(&self, point: &TensorPoint<Transitions>) -> Losses;

    /// Networks and constants of its objectives, where the fused engine has their closed form.
    fn spec(&self) -> Option<Spec>;

    /// The actor's network.
    fn actor(&self) -> &Mlp;

    /// One critic's network.
    fn critic(&self) -> &Mlp;

    /// How many critics of that shape there are.
    fn critics(&self) -> usize;

    /// Whether updates need the policy's noise.
    fn has_noise(&self) -> bool;

    /// The policy's state-dependent noise, where it has such.
    fn sde(&self) -> Option<&Sde> {
        None
    }

    /// The entropy coefficient, where there is one.
    fn temperature(&self) -> Option<Temperature> {
        None
    }

    /// The action in the unit box for one output of the actor's network. `noise` (`action_dim`) has
    /// standard normal draws, or the noise itself where it depends on the state; zeros for none.
    fn action(&self, output: &[f32], noise: &[f32], action: &mut [f32]);

    /// Names, shapes and places of the actor's tensors, as in Stable-Baselines3 without prefix.
    fn actor_tensors(&self) -> Vec<TensorPlace>;

    /// Whether the target network of the actor is part of the parameters.
    fn has_target_actor(&self) -> bool;
}

impl<T: Element, A: OffPolicy> Objectives<T> for A {
    type Batch = Batch<T>;
    type Tensors<'a> = Transitions;

    fn tensors(&self, batch: &Batch<T>, device: Device) -> Result<Transitions> {
        Transitions::new(batch, device)
    }

    fn losses(&self, point: &TensorPoint<Transitions>) -> Losses {
        OffPolicy::losses(self, point)
    }
}

impl<A: OffPolicy> Algorithm for A {
    type Memory = Replay;
    const UNIT_BOX: bool = true;

    fn spec(&self) -> Option<Spec> {
        OffPolicy::spec(self)
    }

    fn init(&self, role: Role, rng: &mut Rng) -> Vec<f32> {
        match role {
            Role::Actor => {
                let mut actor = OffPolicy::actor(self).init(rng);
                if let Some(sde) = OffPolicy::sde(self) {
                    sde.init(&mut actor);
                }
                actor
            }
            Role::Critic => {
                (0..self.critics()).flat_map(|_| self.critic().init::<f32>(rng)).collect()
            }
        }
    }

    fn has_targets(&self) -> bool {
        true
    }

    fn named_tensors(&self) -> Vec<NamedTensor> {
        let network = self.critic();
        let critics = || -> Vec<TensorPlace> {
            let one = |i| sequential_tensors(&network.layers, &format!("qf{i}"), i * network.dim());
            (0..self.critics()).flat_map(one).collect()
        };
        let target_actor = if self.has_target_actor() { self.actor_tensors() } else { Vec::new() };
        let groups = [
            ("actor", self.actor_tensors(), Role::Actor, false),
            ("actor_target", target_actor, Role::Actor, true),
            ("critic", critics(), Role::Critic, false),
            ("critic_target", critics(), Role::Critic, true),
        ];
        let named = groups.into_iter().flat_map(|(prefix, places, role, target)| {
            places.into_iter().map(move |place| {
                let name = format!("{prefix}.{}", place.name);
                NamedTensor { place: TensorPlace { name, ..place }, role, target }
            })
        });
        named.collect()
    }

    fn actor(&self) -> &Mlp {
        OffPolicy::actor(self)
    }

    fn sde(&self) -> Option<&Sde> {
        OffPolicy::sde(self)
    }

    fn draw(&self, _actor: &[f32], output: &[f32], noise: Noise<'_>, action: &mut [f32]) {
        let mut drawn = vec![0.0; action.len()];
        let noise = match noise {
            Noise::None => &drawn,
            Noise::Draw(rng) => {
                drawn.fill_with(|| rng.normal());
                &drawn
            }
            Noise::Given(noise) => noise,
        };
        self.action(output, noise, action);
    }

    fn temperature(&self) -> Option<Temperature> {
        OffPolicy::temperature(self)
    }

    fn batches(
        &self,
        memory: &mut Replay,
        draw: Draw<'_>,
        batches: &mut Option<Batches<Batch<f32>>>,
    ) -> Result<()> {
        if memory.is_empty() {
            return Err(Error::NothingRemembered);
        }
        let Draw { size, sampling, noise, normalizer, independent, .. } = draw;
        let (mut hessian, mut cross) = (Batch::default(), Batch::default());
        let mut whole = Batch::default();
        if let Some(Batches { whole: old, parts }) = batches.take() {
            whole = old;
            if let Parts::Own { hessian: h, cross: c, .. } = parts {
                (hessian, cross) = (h, c);
            }
        }
        let mut fill = |batch: &mut Batch<f32>| {
            memory.sample(size, sampling, batch);
            if let Some(normalizer) = normalizer {
                normalizer.apply(batch);
            }
            draw_policy_noise(self, batch, memory.action_dim(), noise);
        };
        fill(&mut whole);
        let parts = if independent {
            fill(&mut hessian);
            fill(&mut cross);
            Parts::Own { response: None, hessian, cross }
        } else {
            Parts::Same
        };
        *batches = Some(Batches { whole, parts });
        Ok(())
    }

    fn probe(
        &self,
        memory: &Replay,
        size: usize,
        normalizer: Option<&Normalizer>,
        rng: &mut Rng,
    ) -> Result<Option<Batch<f32>>> {
        if memory.is_empty() {
            return Ok(None);
        }
        let mut batch = Batch::default();
        memory.sample(size, rng, &mut batch);
        if let Some(normalizer) = normalizer {
            normalizer.apply(&mut batch);
        }
        draw_policy_noise(self, &mut batch, memory.action_dim(), rng);
        Ok(Some(batch))
    }

    fn record(
        &self,
        readings: &Readings,
        _batch: &Batch<f32>,
        metrics: &mut RunningMean,
    ) -> Result<()> {
        metrics.add_some("train/actor_loss", readings.actor_loss);
        metrics.add_some("train/critic_loss", readings.critic_loss);
        metrics.add_some("train/entropy", readings.entropy);
        Ok(())
    }

    fn given<'b>(&self, batch: &'b Batch<f32>) -> Result<&'b Batch<f32>> {
        if batch.size == 0 { Err(Error::EmptyBatch) } else { Ok(batch) }
    }
}

/// The policy's draws at both observations of each transition.
fn draw_policy_noise<A: OffPolicy>(
    algorithm: &A,
    batch: &mut Batch<f32>,
    action_dim: usize,
    rng: &mut Rng,
) {
    if !algorithm.has_noise() {
        return;
    }
    let sde = OffPolicy::sde(algorithm);
    let draws = sde.map_or(batch.size * action_dim, Sde::dim);
    for noise in [&mut batch.noise, &mut batch.next_noise] {
        noise.clear();
        noise.extend((0..draws).map(|_| rng.normal::<f32>()));
    }
    // State-dependent noise has one matrix per update.
    if sde.is_some() {
        batch.next_noise.clone_from(&batch.noise);
    }
}
