//! Twin delayed DDPG (Fujimoto et al., 2018) and, with a leader, STTD3: DDPG with the least of two target critics, noise
//! on target actions, and an actor that steps less often.

use super::algorithm::OffPolicy;
use super::config::OffPolicyConfig;
use super::ddpg::{Ddpg, DdpgConfig};
use crate::engine::autograd::{Losses, TensorPoint, Transitions, saturated};
use crate::engine::fused::Spec;
use crate::error::Result;
use crate::nn::Mlp;
use crate::params::TensorPlace;
use crate::settings::Record;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings that TD3 alone has, besides those of DDPG.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(title = "TD3")]
pub struct Td3Config {
    /// The networks.
    pub policy_kwargs: Td3Kwargs,
    /// The actor and all target networks step in every so-manieth update.
    #[schemars(range(min = 1))]
    pub policy_delay: u64,
    /// Standard deviation of the noise on target actions, in units of the action's half range.
    #[schemars(range(min = 0))]
    pub target_policy_noise: f64,
    /// Bound of that noise.
    #[schemars(range(min = 0))]
    pub target_noise_clip: f64,
}

/// What TD3's networks alone have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Td3Kwargs {
    /// Number of critics, of which the smallest counts in the target and the first for the actor.
    #[schemars(range(min = 1, max = 100))]
    pub n_critics: usize,
}

impl Default for Td3Kwargs {
    fn default() -> Self {
        Self { n_critics: 2 }
    }
}

impl Default for Td3Config {
    fn default() -> Self {
        Self {
            policy_kwargs: Td3Kwargs::default(),
            policy_delay: 2,
            target_policy_noise: 0.2,
            target_noise_clip: 0.5,
        }
    }
}

impl Record for Td3Config {}

/// DDPG's networks with more critics.
#[derive(Clone)]
pub struct Td3 {
    ddpg: Ddpg,
    config: Td3Config,
}

impl OffPolicy for Td3 {
    type Config = (DdpgConfig, Td3Config);

    fn new(
        config: &OffPolicyConfig,
        (ddpg, own): &Self::Config,
        obs_dim: usize,
        action_dim: usize,
    ) -> Self {
        let mut ddpg = Ddpg::new(config, ddpg, obs_dim, action_dim);
        ddpg.critics.count = own.policy_kwargs.n_critics;
        Self { ddpg, config: own.clone() }
    }

    fn check(config: &OffPolicyConfig, (ddpg, _): &Self::Config) -> Result<()> {
        Ddpg::check(config, ddpg)
    }

    fn actor_every(&self) -> u64 {
        self.config.policy_delay
    }

    fn losses(&self, p: &TensorPoint<Transitions>) -> Losses {
        let (b, ddpg, critics) = (&p.batch, &self.ddpg, &self.ddpg.critics);

        // -J(theta, w) = -E[Q_1(s, mu_theta(s))]
        let (z, factors) = ddpg.actor.forward_with_factors(&p.actor, b.obs.shallow_clone());
        let actions = z.tanh();
        let actor = -critics.first(&p.critic, &b.obs, &actions).mean(None);

        // a' = clip(mu(s') + clip(sigma epsilon, -c, c), -1, 1)
        let bound = self.config.target_noise_clip;
        let noise = (&b.next_noise * self.config.target_policy_noise).clamp(-bound, bound);
        let next_actions = (ddpg.next_mu(p) + noise.view_as(&actions)).clamp(-1.0, 1.0);

        // y = r + gamma (1 - d) min_b Q_0b(s', a'), a function of theta too with the current policy
        let next_q = critics.least(&p.target_critic, &b.next_obs, &next_actions);
        let targets = &b.rewards + ddpg.gamma * (1.0 - &b.dones) * next_q;

        let outputs = critics.values(&p.critic, &b.obs, &b.actions);
        Losses {
            actions: critics.outputs_of_actor(z, factors),
            saturated: Some(saturated(&actions)),
            ..Losses::new(actor, outputs, targets)
        }
    }

    fn spec(&self) -> Option<Spec> {
        let Td3Config { target_policy_noise, target_noise_clip, .. } = self.config;
        self.ddpg
            .spec()
            .map(|spec| Spec { blur: Some([target_policy_noise, target_noise_clip]), ..spec })
    }

    fn actor(&self) -> &Mlp {
        self.ddpg.actor()
    }

    fn critic(&self) -> &Mlp {
        self.ddpg.critic()
    }

    fn critics(&self) -> usize {
        self.ddpg.critics()
    }

    fn has_noise(&self) -> bool {
        true
    }

    fn action(&self, output: &[f32], noise: &[f32], action: &mut [f32]) {
        self.ddpg.action(output, noise, action);
    }

    fn actor_tensors(&self) -> Vec<TensorPlace> {
        self.ddpg.actor_tensors()
    }

    fn has_target_actor(&self) -> bool {
        true
    }
}
