//! Settings of the off-policy algorithms, checked.

use super::Settings;
use crate::engine::Role;
use crate::error::{Error, Result};
use crate::game::solvers::{Curvature, SolverConfig, SolverKind};
use crate::nn::Activation;
use crate::optim::OptimizerKind;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// Shape of both networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyKwargs {
    /// Widths of the hidden layers.
    pub net_arch: Vec<usize>,
    /// Activation of the hidden layers.
    pub activation_fn: Activation,
}

impl Default for PolicyKwargs {
    fn default() -> Self {
        Self { net_arch: vec![256, 256], activation_fn: Activation::Relu }
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

/// How the damping `lam` evolves with environment steps `t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LambdaDecay {
    /// It stays.
    None,
    /// `lam exp(-t / 1e5)`
    Exponential,
}

/// Where networks are differentiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// The fastest that covers the networks and the device.
    Auto,
    /// libtorch's automatic differentiation.
    Autograd,
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
    /// Environment steps before the first update.
    pub learning_starts: u64,
    /// Environment steps with uniformly random actions at the start.
    pub random_steps: u64,
    /// Environment steps between rounds of updates.
    pub train_freq: u64,
    /// Updates per round; -1 for as many as environment steps since the last.
    pub gradient_steps: i64,
    /// Standard deviation of DDPG's exploration noise, in units of the action's half range.
    pub noise_std: f64,
    /// Networks.
    pub policy_kwargs: PolicyKwargs,
    /// Which policy acts in the critic's target (DDPG).
    pub target_policy: TargetPolicy,
    /// In which order the players step.
    pub update_order: UpdateOrder,
    /// Who leads; nobody in the baselines.
    pub leader: Option<Role>,
    /// How the leader's linear system is solved.
    pub solver: SolverKind,
    /// Which matrix stands for the follower's Hessian.
    pub curvature: Curvature,
    /// Damping lambda; 0.1 for `woodbury` and 100 for the other solvers if not given.
    pub lam: Option<f64>,
    /// How lambda evolves.
    pub lam_decay: LambdaDecay,
    /// Follower steps per leader step.
    pub unroll: usize,
    /// Iterations of `cg` and `neumann` at most.
    pub cg_iterations: usize,
    /// Relative residual at which `cg` and `neumann` stop.
    pub cg_tolerance: f64,
    /// Rank of `nystrom`'s approximation, at most.
    pub solver_rank: usize,
    /// Whether the solver stops at the first direction of non-positive curvature.
    pub curvature_stop: bool,
    /// Whether the solver starts from its last solution.
    pub warm_start: bool,
    /// Bound of the implicit term's norm, in units of the individual gradient's.
    pub norm_ratio_clamp: Option<f64>,
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
            train_freq: 50,
            gradient_steps: 50,
            noise_std: 0.1,
            policy_kwargs: PolicyKwargs::default(),
            target_policy: TargetPolicy::Current,
            update_order: UpdateOrder::Simultaneous,
            leader: None,
            solver: SolverKind::Cg,
            curvature: Curvature::Hessian,
            lam: None,
            lam_decay: LambdaDecay::None,
            unroll: 1,
            cg_iterations: 10,
            cg_tolerance: 1e-6,
            solver_rank: 10,
            curvature_stop: true,
            warm_start: false,
            norm_ratio_clamp: None,
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
        at_least_one("train_freq", self.train_freq)?;
        at_least_one("unroll", self.unroll)?;
        at_least_one("cg_iterations", self.cg_iterations)?;
        at_least_one("solver_rank", self.solver_rank)?;
        if self.batch_size > self.buffer_size {
            let reason =
                format!("a batch cannot be larger than `buffer_size` ({})", self.buffer_size);
            return Err(Error::config("batch_size", self.batch_size, reason));
        }
        if self.gradient_steps < -1 || self.gradient_steps == 0 {
            let reason = "it must be at least 1, or -1 for one update per environment step";
            return Err(Error::config("gradient_steps", self.gradient_steps, reason));
        }
        not_negative("noise_std", self.noise_std)?;
        not_negative("cg_tolerance", self.cg_tolerance)?;
        if let Some(lam) = self.lam {
            not_negative("lam", lam)?;
            if lam == 0.0 && self.solver == SolverKind::Nystrom {
                let reason =
                    "`nystrom` needs it above 0: its low-rank matrix has no inverse without";
                return Err(Error::config("lam", lam, reason));
            }
        }
        if let Some(clamp) = self.norm_ratio_clamp {
            positive("norm_ratio_clamp", clamp)?;
        }
        for &width in &self.policy_kwargs.net_arch {
            at_least_one("policy_kwargs.net_arch", width)?;
        }
        if self.leader.is_some() && self.target_policy == TargetPolicy::Target {
            let reason = "a leader needs `current`: the averaged policy does not depend on the actor's \
                          parameters, which makes the implicit term zero";
            return Err(Error::config("target_policy", "target", reason));
        }
        let needs_targets =
            self.solver == SolverKind::Woodbury || self.curvature == Curvature::GaussNewton;
        if self.leader == Some(Role::Critic) && needs_targets {
            let reason = "Gauss-Newton needs a follower that fits targets, and the actor does not; take `cg` \
                          with `curvature: hessian`";
            let woodbury = self.solver == SolverKind::Woodbury;
            let (key, value) =
                if woodbury { ("solver", "woodbury") } else { ("curvature", "gauss_newton") };
            return Err(Error::config(key, value, reason));
        }
        Ok(())
    }

    /// Step size of `role`.
    pub fn learning_rate(&self, role: Role) -> f64 {
        match role {
            Role::Actor => self.learning_rate,
            Role::Critic => self.critic_learning_rate.unwrap_or(self.learning_rate),
        }
    }

    /// Lambda after `t` environment steps.
    pub fn lambda(&self, t: u64) -> f64 {
        let lambda = self.lam.unwrap_or(match self.solver {
            SolverKind::Woodbury => 0.1,
            _ => 100.0,
        });
        match self.lam_decay {
            LambdaDecay::None => lambda,
            // lambda_t = lambda exp(-t / 1e5)
            LambdaDecay::Exponential => lambda * (-(t as f64) / 1e5).exp(),
        }
    }

    /// The solver's share of the settings; `seed` is the run's.
    pub fn solver_config(&self, seed: u64) -> SolverConfig {
        SolverConfig {
            kind: self.solver,
            curvature: self.curvature,
            iterations: self.cg_iterations,
            tolerance: self.cg_tolerance,
            curvature_stop: self.curvature_stop,
            warm_start: self.warm_start,
            rank: self.solver_rank,
            seed,
        }
    }
}

/// Reads typed settings; an error names the key.
pub(super) fn parse<C: DeserializeOwned>(settings: &Settings) -> Result<C> {
    let whole = serde_json::Value::Object(settings.clone());
    serde_path_to_error::deserialize(whole.clone()).map_err(|error| {
        let key = error.path().to_string();
        let pointer = format!("/{}", key.replace('.', "/"));
        let value = whole.pointer(&pointer).map_or_else(String::new, ToString::to_string);
        Error::config(key, value, error.into_inner().to_string())
    })
}

fn not_negative(key: &str, value: f64) -> Result<()> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::config(key, value, "it must be a finite number, 0 or more"))
}

fn positive(key: &str, value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::config(key, value, "it must be a finite number above 0"))
}

fn within(key: &str, value: f64, range: RangeInclusive<f64>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(Error::config(
        key,
        value,
        format!("it must be between {} and {}", range.start(), range.end()),
    ))
}

fn at_least_one<N: PartialOrd + From<u8> + ToString>(key: &str, value: N) -> Result<()> {
    if value >= N::from(1) {
        return Ok(());
    }
    Err(Error::config(key, value, "it must be at least 1"))
}
