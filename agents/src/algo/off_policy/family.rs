//! An off-policy algorithm as the agent sees it.

use crate::algo::config::{Common, OffPolicyConfig};
use crate::algo::sde::Sde;
use crate::algo::temperature::Temperature;
use crate::engine::fused::Spec;
use crate::error::Result;
use crate::memory::Batch;
use crate::nn::Mlp;
use crate::params::TensorPlace;
use crate::rng::Rng;
use crate::settings::Records;

/// What distinguishes one off-policy algorithm from another, besides its two objectives.
pub trait Family: Sized + Send + 'static {
    /// The settings that no other algorithm has.
    type Config: Records;

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

    /// The entropy coefficient, where the objectives have one.
    fn temperature(&self, _common: &Common, _action_dim: usize) -> Option<Temperature> {
        None
    }

    /// Updates from one step of the target networks to the next.
    fn target_update_interval(&self) -> u64 {
        1
    }

    /// Whether training starts with uniformly random actions.
    fn starts_at_random(&self) -> bool {
        true
    }

    /// Networks and constants of its objectives, for the fused engine.
    fn spec(&self) -> Spec;

    /// The actor's network.
    fn actor(&self) -> &Mlp;

    /// One critic's network.
    fn critic(&self) -> &Mlp;

    /// How many critics of that shape there are.
    fn critics(&self) -> usize;

    /// Whether updates need reparameterisation noise.
    fn stochastic(&self) -> bool;

    /// The policy's state-dependent noise, where it has such.
    fn sde(&self) -> Option<&Sde> {
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

/// The policy's draws at both observations of each transition.
pub(super) fn draw_policy_noise<F: Family>(
    batch: &mut Batch<f32>,
    family: &F,
    action_dim: usize,
    rng: &mut Rng,
) {
    let draws = family.sde().map_or(batch.size * action_dim, Sde::dim);
    for noise in [&mut batch.noise, &mut batch.next_noise] {
        noise.clear();
        noise.extend((0..draws).map(|_| rng.normal::<f32>()));
    }
    // State-dependent noise has one matrix per update.
    if family.sde().is_some() {
        batch.next_noise.clone_from(&batch.noise);
    }
}
