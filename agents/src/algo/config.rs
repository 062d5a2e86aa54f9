//! Settings of the off-policy algorithms, checked.

use super::Settings;
use super::sde;
use super::stackelberg::StackelbergConfig;
use super::temperature::{self, NumberOrAuto};
use crate::engine::Role;
use crate::error::{Error, Result};
use crate::nn::Activation;
use crate::optim::OptimizerKind;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::RangeInclusive;

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
    pub(super) fn resolve(self, device: DeviceKind, lacking: Option<&str>) -> Result<Self> {
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
        sde::validate_sample_freq(self.sde_sample_freq)?;
        temperature::validate(self)?;
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
    pub(super) fn not_fused(&self) -> Option<&'static str> {
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

/// Reads typed settings over `defaults`, nested objects key by key; an error names the key.
pub(super) fn parse<C: DeserializeOwned + Serialize>(
    defaults: &C,
    settings: &Settings,
) -> Result<C> {
    let unreadable = |key: String, value: String, error: &serde_json::Error| {
        Error::config(key, value, error.to_string())
    };
    let mut whole = serde_json::to_value(defaults)
        .map_err(|error| unreadable(String::new(), String::new(), &error))?;
    merge(&mut whole, &Value::Object(settings.clone()));
    serde_path_to_error::deserialize(whole.clone()).map_err(|error| {
        let key = error.path().to_string();
        let pointer = format!("/{}", key.replace('.', "/"));
        let value = whole.pointer(&pointer).map_or_else(String::new, ToString::to_string);
        unreadable(key, value, error.inner())
    })
}

/// Writes `over` over `base`, key by key where both are objects.
fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => base.clone_from(over),
    }
}

pub(super) fn not_negative(key: &str, value: f64) -> Result<()> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::config(key, value, "it must be a finite number, 0 or more"))
}

pub(super) fn positive(key: &str, value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::config(key, value, "it must be a finite number above 0"))
}

pub(super) fn within(key: &str, value: f64, range: RangeInclusive<f64>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(Error::config(
        key,
        value,
        format!("it must be between {} and {}", range.start(), range.end()),
    ))
}

/// More than any machine can hold is a slip of the keyboard.
pub(super) fn at_most(key: &str, value: usize, limit: usize) -> Result<()> {
    if value <= limit {
        return Ok(());
    }
    Err(Error::config(key, value, format!("it must be at most {limit}")))
}

/// Checks the widths of hidden layers.
pub(super) fn hidden_layers(net_arch: &[usize]) -> Result<()> {
    let key = "policy_kwargs.net_arch";
    at_most(key, net_arch.len(), 100)?;
    net_arch.iter().try_for_each(|&width| {
        at_least_one(key, width)?;
        at_most(key, width, 16_384)
    })
}

pub(super) fn at_least_one<N: PartialOrd + From<u8> + ToString>(key: &str, value: N) -> Result<()> {
    if value >= N::from(1) {
        return Ok(());
    }
    Err(Error::config(key, value, "it must be at least 1"))
}
