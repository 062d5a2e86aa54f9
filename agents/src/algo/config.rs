//! Settings of the off-policy algorithms, checked.

use crate::engine::Role;
use crate::error::{Error, Result};
use crate::game::StackelbergConfig;
use crate::nn::Activation;
use crate::optim::OptimizerKind;
use crate::settings::{
    NumberOrAuto, at_least_one, at_most, hidden_layers, not_negative, positive,
    validate_sample_freq, within,
};
use serde::{Deserialize, Serialize};

/// Shape of both networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyKwargs {
    /// Widths of the hidden layers.
    pub net_arch: Vec<usize>,
    /// Activation of the hidden layers.
    pub activation_fn: Activation,
    /// Number of critics, of which the smallest counts; 2 for SAC and 1 for DDPG if not given.
    pub n_critics: Option<usize>,
    /// With `use_sde`: initial log-deviation of the exploration matrix.
    pub log_std_init: f64,
    /// With `use_sde`: whether deviations above 1 grow like a logarithm.
    pub use_expln: bool,
    /// With `use_sde`: bound of the mean before `tanh`; 0 for none.
    pub clip_mean: f64,
}

impl PolicyKwargs {
    pub(super) fn validate(&self) -> Result<()> {
        self.n_critics.map_or(Ok(()), |n| at_least_one("policy_kwargs.n_critics", n))?;
        self.n_critics.map_or(Ok(()), |n| at_most("policy_kwargs.n_critics", n, 100))?;
        within("policy_kwargs.log_std_init", self.log_std_init, -20.0..=2.0)?;
        not_negative("policy_kwargs.clip_mean", self.clip_mean)?;
        hidden_layers(&self.net_arch)
    }
}

impl Default for PolicyKwargs {
    fn default() -> Self {
        Self {
            net_arch: vec![256, 256],
            activation_fn: Activation::Relu,
            n_critics: None,
            log_std_init: -3.0,
            use_expln: false,
            clip_mean: 2.0,
        }
    }
}

/// Length of a rollout: a number of steps of each environment, or `[number, unit]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "it must be a number of steps, or a number and `step` or `episode`")]
pub enum TrainFreq {
    /// So many steps of each environment.
    Steps(u64),
    /// So many of a unit.
    Of(u64, Unit),
}

/// What `train_freq` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Steps of each environment.
    Step,
    /// Finished episodes.
    Episode,
}

impl TrainFreq {
    fn count(self) -> u64 {
        match self {
            Self::Steps(count) | Self::Of(count, _) => count,
        }
    }

    /// Whether a rollout of so many steps of each environment and so many episodes is complete.
    pub(super) fn due(self, steps: u64, episodes: u64) -> bool {
        match self {
            Self::Steps(count) | Self::Of(count, Unit::Step) => steps >= count,
            Self::Of(count, Unit::Episode) => episodes >= count,
        }
    }
}

/// In which order the players step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpdateOrder {
    /// Both gradients at the same parameters, then both steps, (11)-(14).
    Simultaneous,
    /// The follower steps first (the critic, in the baselines); the leader sees the result.
    Sequential,
}

/// Which policy acts in the critic's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetPolicy {
    /// The current one, as in (8) and the paper's footnote 4.
    Current,
    /// Its Polyak average, as in Lillicrap et al. (2016).
    Target,
}

/// Where networks are differentiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// The fastest that covers the networks and the device.
    Auto,
    /// libtorch's automatic differentiation.
    Autograd,
    /// Closed-form kernels on the CPU.
    Fused,
}

impl EngineKind {
    /// What runs on `device`; never [`EngineKind::Auto`]. `lacking`: what `fused` does not cover.
    pub(crate) fn resolve(self, device: DeviceKind, lacking: Option<&str>) -> Result<Self> {
        let refused = |reason: &str| Err(Error::config("engine", "fused", reason));
        match (self, device, lacking) {
            (Self::Fused, DeviceKind::Cuda, _) => {
                refused("it runs on the CPU alone; take `device: cpu` or `engine: autograd`")
            }
            (Self::Fused, DeviceKind::Cpu, Some(what)) => {
                refused(&format!("it does not cover {what}; take `autograd`"))
            }
            (Self::Auto, DeviceKind::Cpu, None) => Ok(Self::Fused),
            (Self::Auto, ..) => Ok(Self::Autograd),
            (kind, ..) => Ok(kind),
        }
    }

    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Autograd => "autograd",
            Self::Fused => "fused",
        }
    }
}

/// The device that gradients are computed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// The processor.
    Cpu,
    /// The first CUDA device.
    Cuda,
}

/// Settings of DDPG, SAC and their Stackelberg forms. Keys carry Stable-Baselines3's names where it
/// has one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OffPolicyConfig {
    /// Step size of both players.
    pub learning_rate: f64,
    /// Step size of the critic, where it differs.
    pub critic_learning_rate: Option<f64>,
    /// Optimiser of both players.
    pub optimizer: OptimizerKind,
    /// Discount factor.
    pub gamma: f64,
    /// Weight of the new parameters in the Polyak average (1 - polyak).
    pub tau: f64,
    /// Transitions per update.
    pub batch_size: usize,
    /// Transitions remembered.
    pub buffer_size: usize,
    /// Environment steps without updates at the start: they begin at the end of the first rollout that
    /// goes beyond.
    pub learning_starts: u64,
    /// Environment steps with uniformly random actions at the start.
    pub random_steps: u64,
    /// Length of a rollout, after which a round of updates comes.
    pub train_freq: TrainFreq,
    /// Updates per round; -1 for as many as the rollout has environment steps.
    pub gradient_steps: i64,
    /// Whether SAC's noise is a function of the state (gSDE).
    pub use_sde: bool,
    /// With `use_sde`: steps of each environment per exploration matrix; -1 for one per round.
    pub sde_sample_freq: i64,
    /// With `use_sde`: whether it takes the place of uniformly random actions at the start.
    pub use_sde_at_warmup: bool,
    /// Standard deviation of DDPG's exploration noise, in units of the action's half range.
    pub noise_std: f64,
    /// Entropy coefficient of SAC: a number, or learnt from `auto` or `auto_0.1`.
    pub ent_coef: NumberOrAuto,
    /// Entropy that a learnt coefficient aims at; `auto` for minus the action dimension.
    pub target_entropy: NumberOrAuto,
    /// Networks.
    pub policy_kwargs: PolicyKwargs,
    /// Which policy acts in the critic's target (DDPG).
    pub target_policy: TargetPolicy,
    /// In which order the players step.
    pub update_order: UpdateOrder,
    /// Who leads; nobody in the baselines.
    pub leader: Option<Role>,
    /// The leader's update.
    #[serde(skip)]
    pub stackelberg: StackelbergConfig,
    /// Follower steps per leader step.
    pub unroll: usize,
    /// Updates from one step of the target networks to the next.
    pub target_update_interval: u64,
    /// Engine.
    pub engine: EngineKind,
    /// Device.
    pub device: DeviceKind,
}

impl Default for OffPolicyConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            critic_learning_rate: None,
            optimizer: OptimizerKind::Adam,
            gamma: 0.99,
            tau: 0.005,
            batch_size: 100,
            buffer_size: 1_000_000,
            learning_starts: 1_000,
            random_steps: 10_000,
            train_freq: TrainFreq::Steps(50),
            gradient_steps: 50,
            use_sde: false,
            sde_sample_freq: -1,
            use_sde_at_warmup: false,
            noise_std: 0.1,
            ent_coef: NumberOrAuto::Number(0.2),
            target_entropy: NumberOrAuto::auto(),
            policy_kwargs: PolicyKwargs::default(),
            target_policy: TargetPolicy::Current,
            update_order: UpdateOrder::Simultaneous,
            leader: None,
            stackelberg: StackelbergConfig::default(),
            unroll: 1,
            target_update_interval: 1,
            engine: EngineKind::Auto,
            device: DeviceKind::Cpu,
        }
    }
}

impl OffPolicyConfig {
    /// Checks every range.
    pub fn validate(&self) -> Result<()> {
        positive("learning_rate", self.learning_rate)?;
        if let Some(rate) = self.critic_learning_rate {
            positive("critic_learning_rate", rate)?;
        }
        within("gamma", self.gamma, 0.0..=1.0)?;
        within("tau", self.tau, 0.0..=1.0)?;
        at_least_one("batch_size", self.batch_size)?;
        at_least_one("buffer_size", self.buffer_size)?;
        at_most("batch_size", self.batch_size, 1_000_000)?;
        at_most("buffer_size", self.buffer_size, 1_000_000_000)?;
        at_least_one("train_freq", self.train_freq.count())?;
        at_least_one("unroll", self.unroll)?;
        at_least_one("target_update_interval", self.target_update_interval)?;
        if self.gradient_steps < -1 || self.gradient_steps == 0 {
            let reason = "it must be at least 1, or -1 for one update per environment step";
            return Err(Error::config("gradient_steps", self.gradient_steps, reason));
        }
        not_negative("noise_std", self.noise_std)?;
        validate_sample_freq(self.sde_sample_freq)?;
        validate_temperature(self)?;
        self.stackelberg.validate()?;
        self.policy_kwargs.validate()?;
        if self.leader.is_some() && self.target_policy == TargetPolicy::Target {
            let reason = "a leader needs `current`: the averaged policy does not depend on the actor's \
                          parameters, which makes the implicit term zero";
            return Err(Error::config("target_policy", "target", reason));
        }
        if self.leader == Some(Role::Critic) {
            self.stackelberg.refuse_gauss_newton()?;
        }
        Ok(())
    }

    /// Environment steps with uniformly random actions.
    pub(super) fn uniform_steps(&self) -> u64 {
        if self.use_sde && self.use_sde_at_warmup { 0 } else { self.random_steps }
    }

    /// What the fused engine has no closed form of.
    pub(crate) fn not_fused(&self) -> Option<&'static str> {
        self.use_sde.then_some("noise that depends on the state (`use_sde`)")
    }

    /// Step size of `role`.
    pub fn learning_rate(&self, role: Role) -> f64 {
        match role {
            Role::Actor => self.learning_rate,
            Role::Critic => self.critic_learning_rate.unwrap_or(self.learning_rate),
        }
    }
}

/// Checks `ent_coef` and `target_entropy`.
fn validate_temperature(config: &OffPolicyConfig) -> Result<()> {
    match &config.ent_coef {
        NumberOrAuto::Number(coefficient) => not_negative("ent_coef", *coefficient)?,
        NumberOrAuto::Auto(word) => match NumberOrAuto::start(word, 1.0) {
            Some(start) if start > 0.0 && start.is_finite() => {}
            _ => {
                let reason = "it must be a number, `auto`, or `auto_` and the positive number it starts from";
                return Err(Error::config("ent_coef", word, reason));
            }
        },
    }
    match &config.target_entropy {
        NumberOrAuto::Number(entropy) if entropy.is_finite() => Ok(()),
        NumberOrAuto::Auto(word) if word == "auto" => Ok(()),
        NumberOrAuto::Number(entropy) => {
            Err(Error::config("target_entropy", entropy, "it must be finite"))
        }
        NumberOrAuto::Auto(word) => {
            let reason = "it must be a number or `auto`, which is minus the action dimension";
            Err(Error::config("target_entropy", word, reason))
        }
    }
}
