//! Actor-critic on trajectories and, with the actor as leader, STAC: networks and objectives.
//! `docs/stac.md` derives what stands here.

mod data;

pub use data::Data;

use crate::algo::algorithm::{Algorithm, Batches, Draw, Noise, Readings};
use crate::algo::config::{Common, Networks};
use crate::algo::distribution::Distribution;
use crate::algo::sde::{Sde, SdeConfig};
use crate::algo::temperature::Temperature;
use crate::engine::Role;
use crate::engine::autograd::{
    Element, Factors, Losses, Objectives, TensorMlp, TensorPoint, copy_to, to_device,
};
use crate::engine::fused::Spec;
use crate::error::{Error, Result};
use crate::flat;
use crate::game::Parts;
use crate::memory::{Batch, Normalizer, Rollout, Trajectories};
use crate::metrics::RunningMean;
use crate::nn::Mlp;
use crate::params::{NamedTensor, TensorPlace, linear_tensors, sequential_tensors};
use crate::rng::Rng;
use crate::settings::Record;
use crate::spaces::Spaces;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

/// Settings that AC alone has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(title = "AC")]
pub struct AcConfig {
    /// λ of generalised advantage estimation.
    #[schemars(range(min = 0, max = 1))]
    pub gae_lambda: f64,
    /// Whether advantages are brought to mean 0 and deviation 1, and the actor's loss with them.
    pub normalize_advantage: bool,
    /// Weight of the policy's entropy in its objective.
    #[schemars(range(min = 0))]
    pub ent_coef: f64,
    /// What the critic estimates.
    pub critic: CriticKind,
    /// How the critic's loss depends on the policy.
    pub surrogate: Surrogate,
}

/// What the critic estimates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CriticKind {
    /// V_w(s): Proposition 1.
    V,
    /// Q_w(s, a): Theorem 1.
    Q,
}

/// How the critic's loss depends on the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Surrogate {
    /// Trajectory by trajectory, as Proposition 1 and Theorem 1 say.
    Proposition1,
    /// One product of means at the first state of the batch, as in the authors' code.
    Reference,
}

impl Default for AcConfig {
    fn default() -> Self {
        Self {
            gae_lambda: 0.97,
            normalize_advantage: true,
            ent_coef: 0.0,
            critic: CriticKind::V,
            surrogate: Surrogate::Proposition1,
        }
    }
}

impl Record for AcConfig {
    fn check(&self) -> Result<()> {
        if self.critic == CriticKind::Q && self.surrogate == Surrogate::Reference {
            let reason = "the authors' form exists for `critic: v` alone; take `proposition1`";
            return Err(Error::config("surrogate", "reference", reason));
        }
        Ok(())
    }
}

/// A policy `pi_theta(a|s)` and a critic `V_w(s)` or `Q_w(s, a)`.
#[derive(Clone, Debug)]
pub struct ActorCritic {
    /// The policy's distribution.
    pub distribution: Distribution,
    /// The noise of a Gaussian policy, where it depends on the state.
    pub sde: Option<Sde>,
    actor: TensorMlp,
    critic: TensorMlp,
    /// Its own settings.
    pub config: AcConfig,
    gamma: f64,
    log_std_init: f64,
    device: Device,
}

/// Rows of the last batch that eigenvalues are estimated on.
const SPECTRUM_ROWS: usize = 256;

/// Tensors of a batch take megabytes. glibc gives such memory back to the system when it is freed, and takes it anew page
/// by page, a quarter of an update's time; having freed a block of this size once, it keeps as much (mallopt(3),
/// `M_MMAP_THRESHOLD`).
fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(31 << 20)));
}

impl ActorCritic {
    /// For these spaces, on `device`.
    pub fn new(
        common: &Common,
        (own, sde): &(AcConfig, SdeConfig),
        spaces: &Spaces,
        device: Device,
    ) -> Self {
        keep_freed_memory();
        let Common { policy_kwargs: Networks { net_arch, activation_fn }, gamma, .. } = common;
        let distribution = Distribution::new(&spaces.action);
        let critic_inputs = match own.critic {
            CriticKind::V => spaces.obs_dim,
            CriticKind::Q => spaces.obs_dim + distribution.outputs(),
        };
        let actor = Mlp::new(spaces.obs_dim, net_arch, distribution.outputs(), *activation_fn);
        Self {
            sde: sde.of(&actor),
            actor: TensorMlp(actor),
            critic: TensorMlp(Mlp::new(critic_inputs, net_arch, 1, *activation_fn)),
            distribution,
            config: own.clone(),
            gamma: *gamma,
            log_std_init: sde.policy_kwargs.log_std_init,
            device,
        }
    }

    /// Number of parameters of `role`.
    pub fn dim(&self, role: Role) -> usize {
        match role {
            Role::Actor => self.actor.0.dim() + self.log_stds(),
            Role::Critic => self.critic.0.dim(),
        }
    }

    /// Number of the policy's log-deviations.
    fn log_stds(&self) -> usize {
        self.sde.as_ref().map_or(self.distribution.log_stds(), Sde::dim)
    }

    /// Initial parameters of `role`; the policy's log-deviations lie behind its network's.
    pub fn init<T: Element>(&self, role: Role, rng: &mut Rng) -> Vec<T> {
        match role {
            Role::Actor => {
                let mut params = self.actor.0.init(rng);
                params.resize(self.dim(role), T::of(self.log_std_init));
                params
            }
            Role::Critic => self.critic.0.init(rng),
        }
    }

    /// The output `z` of the policy's network for one observation.
    pub fn forward(&self, actor: &[f32], obs: &[f32], scratch: &mut [Vec<f32>; 2], z: &mut [f32]) {
        self.actor.0.forward(actor, obs, scratch, z);
    }

    /// `log sigma` within the actor's parameters.
    pub fn log_std<'a>(&self, actor: &'a [f32]) -> &'a [f32] {
        &actor[self.actor.0.dim()..]
    }

    /// The baseline of each state in the rows of `obs`: `V_w(s)`; of a critic `Q_w`, its mean under a policy
    /// over choices and its value at the mean of a Gaussian one.
    pub fn values<T: Element>(&self, actor: &[T], critic: &[T], obs: &[T]) -> Result<Vec<T>> {
        let tensor = |values: &[T]| to_device(values, self.device);
        let (actor, critic) = (tensor(actor)?, tensor(critic)?);
        let obs = tensor(obs)?.f_view([-1, self.actor.0.inputs() as i64])?;
        let critic = |inputs: Tensor| self.critic.forward(&critic, inputs).squeeze_dim(1);
        let z = || self.actor.forward(&actor, obs.shallow_clone());
        let values = match (self.config.critic, &self.distribution) {
            (CriticKind::V, _) => critic(obs),
            (CriticKind::Q, Distribution::DiagGaussian { .. }) => {
                critic(Tensor::cat(&[&obs, &z()], 1))
            }
            (CriticKind::Q, Distribution::Categorical { n }) => {
                // sum_k pi(k|s) Q_w(s, k)
                let weights = z().softmax(-1, None);
                let terms = (0..*n as i64).map(|k| {
                    let choice = self.distribution.encode(&obs.narrow(1, 0, 1).full_like(k));
                    critic(Tensor::cat(&[&obs, &choice], 1)) * weights.select(1, k)
                });
                terms.sum()
            }
        };
        let mut out = vec![T::zero(); values.numel()];
        copy_to(&values, &mut out)?;
        Ok(out)
    }

    /// Brings a batch to the device.
    pub fn data<T: Element>(&self, batch: &Trajectories<T>) -> Result<Data> {
        let rows = batch.size as i64;
        let vector = |values: &[T]| to_device(values, self.device);
        let obs = vector(&batch.obs)?.f_view([rows, -1])?;
        let actions = vector(&batch.actions)?.f_view([rows, -1])?;
        let inputs = match self.config.critic {
            CriticKind::V => obs.shallow_clone(),
            CriticKind::Q => Tensor::cat(&[&obs, &self.distribution.encode(&actions)], 1),
        };
        let remaining: Vec<i64> = batch.remaining.iter().map(|&steps| steps as i64).collect();

        // (A - mean A) / (sigma_A + 1e-8)
        let advantages = vector(&batch.advantages)?;
        let (centred, scale) = if self.config.normalize_advantage && batch.size > 1 {
            let scale = f64::try_from(advantages.std(false))? + 1e-8;
            (&advantages - advantages.mean(None), scale)
        } else {
            (advantages.shallow_clone(), 1.0)
        };
        Ok(Data {
            size: batch.size,
            obs,
            actions,
            inputs,
            returns: vector(&batch.returns)?,
            advantages: &centred / scale,
            scale,
            scores: match self.config.surrogate {
                Surrogate::Proposition1 => advantages,
                Surrogate::Reference => centred,
            },
            values: vector(&batch.values)?,
            remaining: Tensor::f_from_slice(&remaining)?.f_to_device(self.device)?,
            longest: batch.remaining.iter().copied().max().unwrap_or(0),
        })
    }

    fn value_with_factors(&self, critic: &Tensor, data: &Data) -> (Tensor, Factors) {
        let (value, factors) =
            self.critic.forward_with_factors(critic, data.inputs.shallow_clone());
        (value.squeeze_dim(1), factors)
    }

    /// Names, shapes and places of `role`'s tensors, as in Stable-Baselines3's `ActorCriticPolicy`.
    pub fn tensors(&self, role: Role) -> Vec<TensorPlace> {
        let (network, hidden, last) = match role {
            Role::Actor => (&self.actor.0, "mlp_extractor.policy_net", "action_net"),
            Role::Critic => (&self.critic.0, "mlp_extractor.value_net", "value_net"),
        };
        let (layers, rest) = network.layers.split_at(network.layers.len() - 1);
        let mut places = sequential_tensors(layers, hidden, 0);
        places.extend(rest.iter().flat_map(|layer| linear_tensors(layer, &[last], 0)));
        let log_stds = self.distribution.log_stds();
        if let (Role::Actor, Some(sde)) = (role, &self.sde) {
            places.push(sde.tensor());
        } else if role == Role::Actor && log_stds > 0 {
            places.push(TensorPlace {
                name: "log_std".into(),
                shape: vec![log_stds],
                range: network.dim()..network.dim() + log_stds,
            });
        }
        places
    }
}

impl<T: Element> Objectives<T> for ActorCritic {
    type Batch = Data;
    type Tensors<'a> = &'a Data;

    fn tensors<'a>(&self, batch: &'a Data, _device: Device) -> Result<&'a Data> {
        Ok(batch)
    }

    fn losses(&self, p: &TensorPoint<&Data>) -> Losses {
        let TensorPoint { actor, critic, batch: data, .. } = p;
        let (z, mut factors) = self.actor.forward_with_factors(actor, data.obs.shallow_clone());
        let log_std = match (&self.sde, factors.pop()) {
            (Some(sde), Some((features, _))) => sde.log_deviation(actor, &features),
            _ => actor.slice(0, self.actor.0.dim() as i64, None, 1),
        };
        let log_prob = self.distribution.log_prob(&z, &log_std, &data.actions);
        let entropy = self.distribution.entropy(&z, &log_std);
        let (value, factors) = self.value_with_factors(critic, data);

        // -J(theta, w) = -E[log pi(a|s) A + V_w(s)] / sigma_A - ent_coef H                   (2), (3)
        // V counts for its derivative in w alone.
        let policy_gain = (&log_prob * &data.advantages).mean(None);
        let value_gain = (&value - value.detach()).mean(None) / data.scale;
        let actor = -policy_gain - value_gain - self.config.ent_coef * &entropy;

        // log pi(a|s) minus itself: no value, but the score as its derivative.
        let score = &log_prob - log_prob.detach();
        let gains = &score * &data.scores;
        let targets = &data.returns
            + match (self.config.critic, self.config.surrogate) {
                // D V(s_t) = E sum_{l >= 0} gamma^l D log pi(a_{t+l}|s_{t+l}) Q(s_{t+l}, a_{t+l})   (21)
                (CriticKind::V, Surrogate::Proposition1) => data.discounted_sum(&gains, self.gamma),
                // D Q(s_t, a_t): the same from l = 1 on                                          (19)
                (CriticKind::Q, _) => data.discounted_sum(&gains, self.gamma) - &gains,
                (CriticKind::V, Surrogate::Reference) => data.at_first_row(gains.sum(None)),
            };
        // E_{a ~ pi}: the score of the action that Q_w is fitted at              (Theorem 1)
        let weights = (self.config.critic == CriticKind::Q).then(|| score.exp());

        Losses {
            weights,
            saturated: self.distribution.clipped(&data.actions),
            entropy: Some(entropy),
            ..Losses::new(actor, vec![(value, factors)], targets)
        }
    }

    /// All that further critic steps need.
    fn critic_losses(&self, p: &TensorPoint<&Data>) -> Losses {
        let data = p.batch;
        let actor = data.returns.new_zeros([] as [i64; 0], (data.returns.kind(), self.device));
        let outputs = vec![self.value_with_factors(&p.critic, data)];
        Losses::new(actor, outputs, data.returns.shallow_clone())
    }
}

impl Algorithm for ActorCritic {
    type Memory = Rollout;
    const UNIT_BOX: bool = false;

    fn spec(&self) -> Option<Spec> {
        None
    }

    fn init(&self, role: Role, rng: &mut Rng) -> Vec<f32> {
        Self::init(self, role, rng)
    }

    fn has_targets(&self) -> bool {
        false
    }

    fn named_tensors(&self) -> Vec<NamedTensor> {
        let named = [Role::Actor, Role::Critic].into_iter().flat_map(|role| {
            let places = Self::tensors(self, role).into_iter();
            places.map(move |place| NamedTensor { place, role, target: false })
        });
        named.collect()
    }

    fn actor(&self) -> &Mlp {
        &self.actor.0
    }

    fn sde(&self) -> Option<&Sde> {
        self.sde.as_ref()
    }

    fn draw(&self, actor: &[f32], output: &[f32], noise: Noise<'_>, action: &mut [f32]) {
        match noise {
            Noise::None => self.distribution.mode(output, action),
            Noise::Draw(rng) => self.distribution.sample(output, self.log_std(actor), rng, action),
            // a = z + s' theta
            Noise::Given(noise) => {
                action.copy_from_slice(noise);
                flat::axpy(1.0, output, action);
            }
        }
    }

    /// The weight of the entropy is a constant of the actor's loss.
    fn temperature(&self) -> Option<Temperature> {
        None
    }

    fn batches(
        &self,
        memory: &mut Rollout,
        draw: Draw<'_>,
        batches: &mut Option<Batches<Data>>,
    ) -> Result<()> {
        let [actor, critic] = draw.players;
        let values = &mut |obs: &[f32]| self.values(actor, critic, obs);
        let all: Trajectories<f32> = memory.take(self.gamma, self.config.gae_lambda, values)?;
        let parts = if draw.independent {
            let [response, hessian, cross]: [_; 3] = all.deal();
            if [&response, &hessian, &cross].iter().any(|part| part.size == 0) {
                Parts::Missing
            } else {
                let response = Some(self.data(&response)?);
                Parts::Own { response, hessian: self.data(&hessian)?, cross: self.data(&cross)? }
            }
        } else {
            Parts::Same
        };
        *batches = Some(Batches { whole: self.data(&all)?, parts });
        memory.last = Some(all);
        Ok(())
    }

    /// Some rows of the last update's batch.
    fn probe(
        &self,
        memory: &Rollout,
        _size: usize,
        _normalizer: Option<&Normalizer>,
        rng: &mut Rng,
    ) -> Result<Option<Data>> {
        let Some(last) = &memory.last else { return Ok(None) };
        let count = SPECTRUM_ROWS.min(last.size);
        let rows: Vec<i64> = (0..count).map(|_| rng.index(last.size) as i64).collect();
        Ok(Some(self.data(last)?.select(&rows)))
    }

    fn record(&self, readings: &Readings, batch: &Data, metrics: &mut RunningMean) -> Result<()> {
        let entropy = readings.entropy.unwrap_or_default();
        // The loss without the entropy's share, as Stable-Baselines3 logs it.
        let policy_loss = readings.actor_loss.map(|loss| loss + self.config.ent_coef * entropy);
        metrics.add_some("train/policy_loss", policy_loss);
        metrics.add_some("train/value_loss", readings.critic_loss);
        metrics.add("train/entropy_loss", -entropy);
        metrics.add("train/explained_variance", batch.explained_variance()?);
        Ok(())
    }

    fn given<'b>(&self, _batch: &'b Batch<f32>) -> Result<&'b Data> {
        Err(Error::NoMinibatch)
    }
}
