//! Settings of actor-critic and its Stackelberg form, checked.

use super::config::{DeviceKind, EngineKind};
use crate::engine::Role;
use crate::error::{Error, Result};
use crate::game::StackelbergConfig;
use crate::nn::Activation;
use crate::optim::OptimizerKind;
use crate::settings::{
    at_least_one, at_most, hidden_layers, not_negative, positive, validate_sample_freq, within,
};
use serde::{Deserialize, Serialize};

/// What the critic estimates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CriticKind {
    /// `V_w(s)`: Proposition 1.
    V,
    /// `Q_w(s, a)`: Theorem 1.
    Q,
}

/// How the critic's loss depends on the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Surrogate {
    /// Trajectory by trajectory, as Proposition 1 and Theorem 1 say.
    Proposition1,
    /// One product of means at the first state of the batch, as in the authors' code.
    Reference,
}

/// Shape of both networks, and the policy's initial deviation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OnPolicyKwargs {
    /// Widths of the hidden layers.
    pub net_arch: Vec<usize>,
    /// Activation of the hidden layers.
    pub activation_fn: Activation,
    /// Initial log-deviation of a Gaussian policy, or with `use_sde` of the exploration matrix.
    pub log_std_init: f64,
    /// With `use_sde`: whether deviations above 1 grow like a logarithm.
    pub use_expln: bool,
}

impl Default for OnPolicyKwargs {
    fn default() -> Self {
        Self {
            net_arch: vec![64, 32],
            activation_fn: Activation::Tanh,
            log_std_init: -0.5,
            use_expln: false,
        }
    }
}

/// Settings of AC and STAC. Keys carry Stable-Baselines3's names where it has one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OnPolicyConfig {
    /// Step size of the actor.
    pub learning_rate: f64,
    /// Step size of the critic, where it differs.
    pub critic_learning_rate: Option<f64>,
    /// Optimiser of both players.
    pub optimizer: OptimizerKind,
    /// Discount factor.
    pub gamma: f64,
    /// Lambda of generalised advantage estimation.
    pub gae_lambda: f64,
    /// Steps of each environment per update.
    pub n_steps: usize,
    /// Critic steps per actor step, m.
    pub critic_steps: usize,
    /// Whether advantages are brought to mean 0 and deviation 1, and the actor's loss with them.
    pub normalize_advantage: bool,
    /// Weight of the policy's entropy in its objective.
    pub ent_coef: f64,
    /// Whether the noise of a Gaussian policy is a function of the state (gSDE).
    pub use_sde: bool,
    /// With `use_sde`: steps of each environment per exploration matrix; -1 for one per batch.
    pub sde_sample_freq: i64,
    /// Networks.
    pub policy_kwargs: OnPolicyKwargs,
    /// What the critic estimates.
    pub critic: CriticKind,
    /// How the critic's loss depends on the policy.
    pub surrogate: Surrogate,
    /// Whether AC's gradient gets the norm that STAC's total derivative would have.
    pub step_match: bool,
    /// Who leads; nobody in the baseline.
    pub leader: Option<Role>,
    /// The leader's update.
    #[serde(skip)]
    pub stackelberg: StackelbergConfig,
    /// Engine.
    pub engine: EngineKind,
    /// Device.
    pub device: DeviceKind,
}

impl Default for OnPolicyConfig {
    fn default() -> Self {
        Self {
            learning_rate: 0.1,
            critic_learning_rate: Some(0.01),
            optimizer: OptimizerKind::Sgd,
            gamma: 0.99,
            gae_lambda: 0.97,
            n_steps: 4_000,
            critic_steps: 1,
            normalize_advantage: true,
            ent_coef: 0.0,
            use_sde: false,
            sde_sample_freq: -1,
            policy_kwargs: OnPolicyKwargs::default(),
            critic: CriticKind::V,
            surrogate: Surrogate::Proposition1,
            step_match: false,
            leader: None,
            stackelberg: StackelbergConfig::default(),
            engine: EngineKind::Auto,
            device: DeviceKind::Cpu,
        }
    }
}

impl OnPolicyConfig {
    /// Checks every range.
    pub fn validate(&self) -> Result<()> {
        positive("learning_rate", self.learning_rate)?;
        if let Some(rate) = self.critic_learning_rate {
            positive("critic_learning_rate", rate)?;
        }
        within("gamma", self.gamma, 0.0..=1.0)?;
        within("gae_lambda", self.gae_lambda, 0.0..=1.0)?;
        at_least_one("n_steps", self.n_steps)?;
        at_least_one("critic_steps", self.critic_steps)?;
        not_negative("ent_coef", self.ent_coef)?;
        at_most("n_steps", self.n_steps, 100_000_000)?;
        validate_sample_freq(self.sde_sample_freq)?;
        hidden_layers(&self.policy_kwargs.net_arch)?;
        within("policy_kwargs.log_std_init", self.policy_kwargs.log_std_init, -20.0..=2.0)?;
        if self.critic == CriticKind::Q && self.surrogate == Surrogate::Reference {
            let reason = "the authors' form exists for `critic: v` alone; take `proposition1`";
            return Err(Error::config("surrogate", "reference", reason));
        }
        if self.step_match && self.leader.is_some() {
            let reason = "it is a control of `ac`: there the gradient keeps its direction and takes the \
                          norm of the leader's";
            return Err(Error::config("step_match", true, reason));
        }
        self.stackelberg.validate()
    }

    /// Step size of `role`.
    pub fn learning_rate(&self, role: Role) -> f64 {
        match role {
            Role::Actor => self.learning_rate,
            Role::Critic => self.critic_learning_rate.unwrap_or(self.learning_rate),
        }
    }
}
