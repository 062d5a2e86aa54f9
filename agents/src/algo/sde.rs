//! Generalised state-dependent exploration (gSDE; Raffin et al., 2021): noise `s' theta` is a linear
//! function of the features `s` that an actor's last layer sees, with one matrix
//! `theta_ij ~ N(0, sigma_ij^2)` for several steps. Over matrices, it is `N(0, diag(s^2' sigma^2))`.
//!
//! `log pi` is differentiated through the features too, as in Stable-Baselines3's SAC, so that scores
//! are whole derivatives; its A2C holds features there.

use crate::flat::{self, Scalar};
use crate::nn::Mlp;
use crate::params::TensorPlace;
use crate::rng::Rng;
use crate::settings::Record;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Keeps the variance of a state without features above zero, as in Stable-Baselines3.
const EPSILON: f64 = 1e-6;

/// Settings of noise that depends on the state (gSDE), which runs on `autograd` alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(title = "State-dependent exploration")]
pub struct SdeConfig {
    /// The networks.
    pub policy_kwargs: SdeKwargs,
    /// Whether the policy's noise is a function s'θ of the actor's last features (gSDE).
    pub use_sde: bool,
    /// With `use_sde`: steps of each environment per matrix θ.
    #[schemars(extend("anyOf" = [
        {"minimum": 1},
        {"const": -1, "description": "one matrix per rollout"},
    ]))]
    pub sde_sample_freq: i64,
}

/// What such noise adds to the networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SdeKwargs {
    /// Initial log-deviation: of the exploration matrix with `use_sde`, else of a Gaussian policy that
    /// has one for all states (AC).
    #[schemars(range(min = -20, max = 2))]
    pub log_std_init: f64,
    /// With `use_sde`: whether deviations above 1 grow like a logarithm.
    pub use_expln: bool,
}

impl Default for SdeKwargs {
    fn default() -> Self {
        Self { log_std_init: -3.0, use_expln: false }
    }
}

impl Default for SdeConfig {
    fn default() -> Self {
        Self { policy_kwargs: SdeKwargs::default(), use_sde: false, sde_sample_freq: -1 }
    }
}

impl Record for SdeConfig {}

impl SdeConfig {
    /// The noise behind an actor of this network, if it is wanted.
    pub(super) fn of(&self, network: &Mlp) -> Option<Sde> {
        let SdeKwargs { log_std_init, use_expln } = self.policy_kwargs;
        self.use_sde.then(|| Sde::new(network, log_std_init, use_expln, self.sde_sample_freq))
    }
}

/// The parameters `log sigma` (features x actions, row-major), behind those of an actor's network.
#[derive(Clone, Debug)]
pub struct Sde {
    start: usize,
    features: usize,
    actions: usize,
    log_std_init: f64,
    use_expln: bool,
    sample_freq: i64,
}

impl Sde {
    /// Behind the parameters of `network`. `log sigma` begins with `log_std_init`; with `use_expln`,
    /// `sigma(x) = 1 + log(1 + x)` above `x = 0` and `exp x` below. A matrix lasts for `sample_freq`
    /// steps of each environment; if that is not positive, for a rollout.
    pub fn new(network: &Mlp, log_std_init: f64, use_expln: bool, sample_freq: i64) -> Self {
        Self {
            start: network.dim(),
            features: network.layers.last().map_or(0, |layer| layer.inputs),
            actions: network.outputs(),
            log_std_init,
            use_expln,
            sample_freq,
        }
    }

    /// Number of parameters, and of draws per matrix.
    pub fn dim(&self) -> usize {
        self.features * self.actions
    }

    /// Appends the initial `log sigma` to a network's parameters.
    pub fn init<T: Scalar>(&self, params: &mut Vec<T>) {
        params.resize(self.start + self.dim(), T::of(self.log_std_init));
    }

    /// Name, shape and place of `log sigma`.
    pub fn tensor(&self) -> TensorPlace {
        TensorPlace {
            name: "log_std".into(),
            shape: vec![self.features, self.actions],
            range: self.start..self.start + self.dim(),
        }
    }

    /// `sigma`, features x actions, of an actor's flat parameters.
    fn sigma(&self, params: &Tensor) -> Tensor {
        let log_std = params
            .narrow(0, self.start as i64, self.dim() as i64)
            .view([self.features as i64, self.actions as i64]);
        if self.use_expln {
            log_std.clamp_max(0.0).exp() + log_std.relu().log1p()
        } else {
            log_std.exp()
        }
    }

    /// `s' theta` with `theta = sigma o epsilon`: `B x actions` from features `B x features` and
    /// standard normal draws `epsilon` (features x actions, in any shape).
    pub fn noise(&self, params: &Tensor, features: &Tensor, epsilon: &Tensor) -> Tensor {
        let sigma = self.sigma(params);
        features.matmul(&(epsilon.view_as(&sigma) * sigma))
    }

    /// The logarithm of the noise's deviation, `B x actions`: `1/2 log(s^2' sigma^2 + 1e-6)`.
    pub fn log_deviation(&self, params: &Tensor, features: &Tensor) -> Tensor {
        (features.square().matmul(&self.sigma(params).square()) + EPSILON).log() * 0.5
    }
}

/// The matrices `theta` that an agent explores with: one per environment, actions x features.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct NoiseMatrices(Vec<f32>);

impl NoiseMatrices {
    /// Draws one for each of `envs` environments, if due `steps` steps into a rollout.
    pub(crate) fn renew(
        &mut self,
        sde: &Sde,
        params: &[f32],
        steps: usize,
        envs: usize,
        rng: &mut Rng,
    ) {
        let due = match usize::try_from(sde.sample_freq) {
            Ok(freq) if freq > 0 => steps.is_multiple_of(freq),
            _ => steps == 0,
        };
        if !due && self.0.len() == envs * sde.dim() {
            return;
        }
        let log_std = &params[sde.start..sde.start + sde.dim()];
        self.0.clear();
        for _ in 0..envs {
            for action in 0..sde.actions {
                self.0.extend(log_std.iter().skip(action).step_by(sde.actions).map(|&x| {
                    let sigma =
                        if sde.use_expln { x.min(0.0).exp() + x.max(0.0).ln_1p() } else { x.exp() };
                    sigma * rng.normal::<f32>()
                }));
            }
        }
    }

    /// `s' theta` of environment `env`.
    pub(crate) fn noise(&self, sde: &Sde, env: usize, features: &[f32], out: &mut [f32]) {
        let columns = self.0[env * sde.dim()..].chunks_exact(sde.features);
        for (out, column) in out.iter_mut().zip(columns) {
            *out = flat::dot(column, features);
        }
    }
}
