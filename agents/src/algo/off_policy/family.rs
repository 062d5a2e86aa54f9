//! An off-policy algorithm as the agent sees it.

use crate::algo::sde::Sde;
use crate::engine::fused::Spec;
use crate::memory::Batch;
use crate::nn::Mlp;
use crate::params::TensorPlace;
use crate::rng::Rng;

/// What distinguishes one off-policy algorithm from another, besides its two objectives.
pub trait Family: Send + 'static {
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
