//! Deep deterministic policy gradient (Lillicrap et al., 2016) and, with a leader, STDDPG.

use super::algorithm::OffPolicy;
use super::config::{Common, Networks, OffPolicyConfig};
use super::critics::Critics;
use crate::engine::autograd::{Losses, TensorMlp, TensorPoint, Transitions, saturated};
use crate::engine::fused::Spec;
use crate::error::{Error, Result};
use crate::nn::Mlp;
use crate::params::{TensorPlace, sequential_tensors};
use crate::settings::Record;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Settings that DDPG alone has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(title = "DDPG")]
pub struct DdpgConfig {
    /// Standard deviation of the exploration noise, in units of the action's half range.
    #[schemars(range(min = 0))]
    pub noise_std: f64,
    /// Which policy acts in the critic's target; a leader needs `current`.
    pub target_policy: TargetPolicy,
}

/// Which policy acts in the critic's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetPolicy {
    /// The current one, as in (8) and the paper's footnote 4.
    Current,
    /// Its Polyak average, as in Lillicrap et al. (2016).
    Target,
}

impl Default for DdpgConfig {
    fn default() -> Self {
        Self { noise_std: 0.1, target_policy: TargetPolicy::Target }
    }
}

impl Record for DdpgConfig {}

/// Networks and objectives: a tanh policy `mu_theta(s)` in the unit box and a critic `Q_w(s, a)`.
#[derive(Clone)]
pub struct Ddpg {
    pub(super) actor: TensorMlp,
    pub(super) critics: Critics,
    pub(super) gamma: f64,
    noise_std: f64,
    target_policy: TargetPolicy,
}

impl Ddpg {
    /// `mu_theta(s)`, `B x action_dim`.
    pub(super) fn mu(&self, theta: &Tensor, obs: &Tensor) -> Tensor {
        self.actor.forward(theta, obs.shallow_clone()).tanh()
    }

    /// `mu(s')` of the policy that acts in targets.
    pub(super) fn next_mu(&self, p: &TensorPoint<Transitions>) -> Tensor {
        match self.target_policy {
            TargetPolicy::Current => self.mu(&p.actor, &p.batch.next_obs),
            TargetPolicy::Target => self.mu(&p.target_actor, &p.batch.next_obs),
        }
    }
}

impl OffPolicy for Ddpg {
    type Config = DdpgConfig;

    fn new(config: &OffPolicyConfig, own: &DdpgConfig, obs_dim: usize, action_dim: usize) -> Self {
        let Common { policy_kwargs: Networks { net_arch, activation_fn }, gamma, .. } =
            &config.common;
        Self {
            actor: TensorMlp(Mlp::new(obs_dim, net_arch, action_dim, *activation_fn)),
            critics: Critics::new(obs_dim + action_dim, net_arch, *activation_fn, 1),
            gamma: *gamma,
            noise_std: own.noise_std,
            target_policy: own.target_policy,
        }
    }

    fn check(config: &OffPolicyConfig, own: &DdpgConfig) -> Result<()> {
        if own.target_policy == TargetPolicy::Current {
            return Ok(());
        }
        if let Some(control) = config.common.control()? {
            let reason = "the leader that it is a control of needs `target_policy: current`, too";
            return Err(Error::config(control, true, reason));
        }
        if config.common.leader.is_some() {
            let reason = "a leader needs `current`: the averaged policy does not depend on the actor's \
                          parameters, which makes the implicit term zero";
            return Err(Error::config("target_policy", "target", reason));
        }
        Ok(())
    }

    fn losses(&self, p: &TensorPoint<Transitions>) -> Losses {
        let b = &p.batch;

        // -J(theta, w) = -E[Q_w(s, mu_theta(s))]                                            (7)
        let (z, factors) = self.actor.forward_with_factors(&p.actor, b.obs.shallow_clone());
        let actions = z.tanh();
        let actor = -self.critics.least(&p.critic, &b.obs, &actions).mean(None);

        // y = r + gamma (1 - d) Q_0(s', mu_theta(s')), a function of theta too              (8)
        let next_q = self.critics.least(&p.target_critic, &b.next_obs, &self.next_mu(p));
        let targets = &b.rewards + self.gamma * (1.0 - &b.dones) * next_q;

        let outputs = self.critics.values(&p.critic, &b.obs, &b.actions);
        Losses {
            actions: self.critics.outputs_of_actor(z, factors),
            saturated: Some(saturated(&actions)),
            ..Losses::new(actor, outputs, targets)
        }
    }

    fn spec(&self) -> Option<Spec> {
        Some(Spec {
            actor: self.actor.0.clone(),
            critic: self.critic().clone(),
            critics: self.critics.count,
            gamma: self.gamma,
            stochastic: false,
            current_policy: self.target_policy == TargetPolicy::Current,
            blur: None,
        })
    }

    fn actor(&self) -> &Mlp {
        &self.actor.0
    }

    fn critic(&self) -> &Mlp {
        self.critics.network()
    }

    fn critics(&self) -> usize {
        self.critics.count
    }

    fn has_noise(&self) -> bool {
        false
    }

    fn action(&self, output: &[f32], noise: &[f32], action: &mut [f32]) {
        // a = clip(tanh(z) + noise_std epsilon, -1, 1)
        for (a, (&z, &epsilon)) in action.iter_mut().zip(output.iter().zip(noise)) {
            *a = (z.tanh() + self.noise_std as f32 * epsilon).clamp(-1.0, 1.0);
        }
    }

    fn actor_tensors(&self) -> Vec<TensorPlace> {
        sequential_tensors(&self.actor.0.layers, "mu", 0)
    }

    fn has_target_actor(&self) -> bool {
        true
    }
}
