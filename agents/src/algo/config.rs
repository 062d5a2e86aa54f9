//! Settings that algorithms share. Keys carry Stable-Baselines3's names where it has one.

use crate::engine::Role;
use crate::error::{Error, Result};
use crate::game::{StackelbergConfig, UpdateOrder};
use crate::nn::Activation;
use crate::optim::OptimizerKind;
use crate::settings::Record;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of every algorithm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(title = "All algorithms")]
pub struct Common {
    /// The networks.
    pub policy_kwargs: Networks,
    /// Step size of both players.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub learning_rate: f64,
    /// Step size of the critic, where it differs.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub critic_learning_rate: Option<f64>,
    /// Optimiser of both players.
    pub optimizer: OptimizerKind,
    /// Discount factor γ.
    #[schemars(range(min = 0, max = 1))]
    pub gamma: f64,
    /// Who leads; the algorithm's name says it.
    pub leader: Option<Role>,
    /// A control, of baselines: the gradient keeps its direction and takes the norm that a leader's total
    /// derivative would have, which tells direction from step size.
    pub step_match: bool,
    /// A control, of baselines: a leader's implicit term with a random sign for each coordinate, which tells what it
    /// knows from what noise of its norm does.
    pub noise_match: bool,
    /// What computes gradients.
    pub engine: EngineKind,
    /// Where gradients are computed.
    pub device: DeviceKind,
    /// The leader's update.
    #[serde(skip)]
    pub stackelberg: StackelbergConfig,
}

/// Shape of both networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Networks {
    /// Widths of the hidden layers of both networks.
    #[schemars(length(max = 100), inner(range(min = 1, max = 16_384)))]
    pub net_arch: Vec<usize>,
    /// What hidden layers apply.
    pub activation_fn: Activation,
}

impl Networks {
    /// Whether networks of this shape are piecewise linear.
    pub fn is_piecewise_linear(&self) -> bool {
        self.activation_fn == Activation::Relu || self.net_arch.is_empty()
    }
}

impl Default for Networks {
    fn default() -> Self {
        Self { net_arch: vec![256, 256], activation_fn: Activation::Relu }
    }
}

impl Default for Common {
    fn default() -> Self {
        Self {
            policy_kwargs: Networks::default(),
            learning_rate: 1e-3,
            critic_learning_rate: None,
            optimizer: OptimizerKind::Adam,
            gamma: 0.99,
            leader: None,
            step_match: false,
            noise_match: false,
            engine: EngineKind::Auto,
            device: DeviceKind::Cpu,
            stackelberg: StackelbergConfig::default(),
        }
    }
}

impl Record for Common {}

impl Common {
    /// The keys of the controls, which need a leader's settings to stand beside it.
    pub const CONTROLS: [&str; 2] = ["step_match", "noise_match"];

    /// The key of the control that is on.
    ///
    /// # Errors
    /// [`Error::Config`] if both are.
    pub fn control(&self) -> Result<Option<&'static str>> {
        let [step, noise] = Self::CONTROLS;
        match (self.step_match, self.noise_match) {
            (true, true) => Err(Error::config(
                noise,
                true,
                "`step_match` is another control; take one at a time",
            )),
            (true, false) => Ok(Some(step)),
            (false, true) => Ok(Some(noise)),
            (false, false) => Ok(None),
        }
    }
}

/// Length of a rollout: a number of steps of each environment, or `[number, unit]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "it must be a number of steps, or a number and `step` or `episode`")]
pub enum TrainFreq {
    /// So many steps of each environment.
    Steps(#[schemars(range(min = 1))] u64),
    /// So many of a unit.
    Of(#[schemars(range(min = 1))] u64, Unit),
}

/// What `train_freq` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Steps of each environment.
    Step,
    /// Finished episodes.
    Episode,
}

impl TrainFreq {
    /// Whether a rollout of so many steps of each environment and so many episodes is complete.
    pub(crate) fn due(self, steps: u64, episodes: u64) -> bool {
        match self {
            Self::Steps(count) | Self::Of(count, Unit::Step) => steps >= count,
            Self::Of(count, Unit::Episode) => episodes >= count,
        }
    }
}

/// Where networks are differentiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// The processor.
    Cpu,
    /// The first CUDA device.
    Cuda,
}

/// Settings of the off-policy algorithms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(title = "Off-policy algorithms")]
pub struct OffPolicyConfig {
    /// Those of every algorithm.
    #[serde(skip)]
    pub common: Common,
    /// Weight of the new parameters in the Polyak average (1 - polyak).
    #[schemars(range(min = 0, max = 1))]
    pub tau: f64,
    /// Transitions per update.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub batch_size: usize,
    /// Transitions remembered.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub buffer_size: usize,
    /// Environment steps without updates at the start: they begin at the end of the first rollout that
    /// goes beyond.
    pub learning_starts: u64,
    /// Environment steps with uniformly random actions at the start.
    pub random_steps: u64,
    /// Length of a rollout, after which a round of updates comes: so many steps of each environment, or
    /// `[number, step]` or `[number, episode]`.
    pub train_freq: TrainFreq,
    /// Updates per round.
    #[schemars(extend("anyOf" = [
        {"minimum": 1},
        {"const": -1, "description": "one update per environment step"},
    ]))]
    pub gradient_steps: i64,
    /// In which order the players step.
    pub update_order: UpdateOrder,
    /// Follower steps per leader step, m.
    #[schemars(range(min = 1))]
    pub unroll: usize,
}

impl Default for OffPolicyConfig {
    fn default() -> Self {
        Self {
            common: Common::default(),
            tau: 0.005,
            batch_size: 100,
            buffer_size: 1_000_000,
            // At step 1,000, with rollouts of 50.
            learning_starts: 999,
            random_steps: 10_000,
            train_freq: TrainFreq::Steps(50),
            gradient_steps: 50,
            update_order: UpdateOrder::Sequential,
            unroll: 1,
        }
    }
}

impl Record for OffPolicyConfig {}
