//! Soft actor-critic (Haarnoja et al., 2018) and, with a leader, STSAC.

use super::algorithm::OffPolicy;
use super::config::{Common, Networks, OffPolicyConfig};
use super::critics::Critics;
use super::sde::{Sde, SdeConfig};
use super::temperature::Temperature;
use crate::engine::LOG_STD;
use crate::engine::autograd::{Factors, Losses, TensorMlp, TensorPoint, Transitions, saturated};
use crate::engine::fused::Spec;
use crate::error::{Error, Result};
use crate::nn::Mlp;
use crate::params::{TensorPlace, linear_tensors, sequential_tensors};
use crate::settings::{NumberOrAuto, Record};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::{LN_2, TAU};
use tch::Tensor;

/// Settings that SAC alone has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(title = "SAC")]
pub struct SacConfig {
    /// The networks.
    pub policy_kwargs: SacKwargs,
    /// Entropy coefficient η: a number, or learnt, from 1 (`auto`) or from a number (`auto_0.1`).
    #[schemars(extend("minimum" = 0))]
    pub ent_coef: NumberOrAuto,
    /// Entropy that a learnt coefficient aims at; `auto` for minus the action dimension.
    pub target_entropy: NumberOrAuto,
    /// Updates from one step of the target networks to the next.
    #[schemars(range(min = 1))]
    pub target_update_interval: u64,
    /// With `use_sde`: whether its noise takes the place of uniformly random actions at the start.
    pub use_sde_at_warmup: bool,
}

/// What SAC's networks alone have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SacKwargs {
    /// Number of critics, of which the smallest counts.
    #[schemars(range(min = 1, max = 100))]
    pub n_critics: usize,
    /// With `use_sde`: bound of the mean before tanh; 0 for none.
    #[schemars(range(min = 0))]
    pub clip_mean: f64,
}

impl Default for SacKwargs {
    fn default() -> Self {
        Self { n_critics: 2, clip_mean: 2.0 }
    }
}

impl Default for SacConfig {
    fn default() -> Self {
        Self {
            policy_kwargs: SacKwargs::default(),
            ent_coef: NumberOrAuto::Number(0.2),
            target_entropy: NumberOrAuto::auto(),
            target_update_interval: 1,
            use_sde_at_warmup: false,
        }
    }
}

impl Record for SacConfig {
    fn check(&self) -> Result<()> {
        if let NumberOrAuto::Auto(word) = &self.ent_coef
            && !NumberOrAuto::start(word, 1.0).is_some_and(|start| start > 0.0 && start.is_finite())
        {
            let reason =
                "it must be a number, `auto`, or `auto_` and the positive number it starts from";
            return Err(Error::config("ent_coef", word, reason));
        }
        if let NumberOrAuto::Auto(word) = &self.target_entropy
            && word != "auto"
        {
            let reason = "it must be a number or `auto`, which is minus the action dimension";
            return Err(Error::config("target_entropy", word, reason));
        }
        Ok(())
    }
}

/// Networks and objectives: a squashed Gaussian policy in the unit box and critics `Q_b(s, a)`, two
/// unless told otherwise.
///
/// The actor's network puts out means and log standard deviations, one after the other; with gSDE it
/// puts out means alone.
#[derive(Clone)]
pub struct Sac {
    actor: TensorMlp,
    sde: Option<Sde>,
    critics: Critics,
    gamma: f64,
    config: SacConfig,
    temperature: Temperature,
}

impl Sac {
    /// `u = m + sigma epsilon`, `epsilon` and `log sigma`, each `B x action_dim`, with what the actor's layers saw. With
    /// gSDE the noise is `s' theta`, and `epsilon` what it is in units of its deviation.
    fn gaussian(&self, params: &Tensor, obs: &Tensor, noise: &Tensor) -> ([Tensor; 3], Factors) {
        let (output, factors) = self.actor.forward_with_factors(params, obs.shallow_clone());
        if let (Some(sde), Some((features, _))) = (&self.sde, factors.last()) {
            let mean = match self.config.policy_kwargs.clip_mean {
                0.0 => output,
                bound => output.clamp(-bound, bound),
            };
            let noise = sde.noise(params, features, noise);
            let log_std = sde.log_deviation(params, features);
            return ([mean + &noise, noise * (-&log_std).exp(), log_std], factors);
        }
        let output = output.chunk(2, 1);
        let [mean, log_std] = [&output[0], &output[1]];
        let log_std = log_std.clamp(LOG_STD[0], LOG_STD[1]);
        let noise = noise.view_as(mean);
        ([mean + log_std.exp() * &noise, noise, log_std], factors)
    }

    /// `a = tanh(u)` (`B x action_dim`) and `log pi(a | s)` (`B`), with `u` and what the actor's layers saw.
    fn sample(
        &self,
        params: &Tensor,
        obs: &Tensor,
        noise: &Tensor,
    ) -> (Tensor, Tensor, (Tensor, Factors)) {
        let ([u, noise, log_std], factors) = self.gaussian(params, obs, noise);

        // log N(u; m, sigma) = -sum (epsilon^2 / 2 + log sigma + log(2 pi) / 2)
        // log pi(a) = log N(u) - sum log(1 - tanh(u)^2),
        // log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2 u))
        let gaussian: Tensor = noise.square() * 0.5 + log_std + 0.5 * TAU.ln();
        let squash: Tensor = (LN_2 - &u - (&u * -2.0).softplus()) * 2.0;
        let log_pi = -(gaussian + squash).sum_dim_intlist(1, false, None);
        (u.tanh(), log_pi, (u, factors))
    }
}

impl OffPolicy for Sac {
    type Config = (SacConfig, SdeConfig);

    fn new(
        config: &OffPolicyConfig,
        (own, sde): &Self::Config,
        obs_dim: usize,
        action_dim: usize,
    ) -> Self {
        let Common { policy_kwargs: Networks { net_arch, activation_fn }, gamma, .. } =
            &config.common;
        let outputs = if sde.use_sde { action_dim } else { 2 * action_dim };
        let actor = Mlp::new(obs_dim, net_arch, outputs, *activation_fn);
        let SacConfig { ent_coef, target_entropy, .. } = own;
        Self {
            temperature: Temperature::new(ent_coef, target_entropy, &config.common, action_dim),
            sde: sde.of(&actor),
            actor: TensorMlp(actor),
            critics: Critics::new(
                obs_dim + action_dim,
                net_arch,
                *activation_fn,
                own.policy_kwargs.n_critics,
            ),
            gamma: *gamma,
            config: own.clone(),
        }
    }

    fn not_fused((_, sde): &Self::Config) -> Option<&'static str> {
        sde.use_sde.then_some("noise that depends on the state (`use_sde`)")
    }

    fn temperature(&self) -> Option<Temperature> {
        Some(self.temperature.clone())
    }

    fn target_update_interval(&self) -> u64 {
        self.config.target_update_interval
    }

    fn starts_at_random(&self) -> bool {
        !(self.sde.is_some() && self.config.use_sde_at_warmup)
    }

    fn losses(&self, p: &TensorPoint<Transitions>) -> Losses {
        let (b, eta) = (&p.batch, p.ent_coef);

        // -J(theta, w) = E[eta log pi(a) - min_b Q_b(s, a)],  a ~ pi_theta(s)                (9)
        let (actions, log_pi, (u, factors)) = self.sample(&p.actor, &b.obs, &b.noise);
        let q = self.critics.least(&p.critic, &b.obs, &actions);
        let actor = (&log_pi * eta - q).mean(None);

        // y = r + gamma (1 - d) (min_b Q_0b(s', a') - eta log pi(a')),  a' ~ pi_theta(s'),
        // a function of theta through a' and through log pi                                 (10)
        let (next_actions, next_log_pi, _) = self.sample(&p.actor, &b.next_obs, &b.next_noise);
        let next_q = self.critics.least(&p.target_critic, &b.next_obs, &next_actions);
        let soft = next_q - next_log_pi * eta;
        let targets = &b.rewards + self.gamma * (1.0 - &b.dones) * soft;

        // Noise that depends on the state depends on the parameters beside `u`.
        let actions_before = self.critics.outputs_of_actor(u, factors);
        Losses {
            actions: actions_before.filter(|_| self.sde.is_none()),
            saturated: Some(saturated(&actions)),
            entropy: Some(-log_pi.mean(None)),
            ..Losses::new(actor, self.critics.values(&p.critic, &b.obs, &b.actions), targets)
        }
    }

    fn spec(&self) -> Option<Spec> {
        // Noise that depends on the state has no closed form there.
        self.sde.is_none().then(|| Spec {
            actor: self.actor.0.clone(),
            critic: self.critic().clone(),
            critics: self.critics(),
            gamma: self.gamma,
            stochastic: true,
            current_policy: true,
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
        true
    }

    fn sde(&self) -> Option<&Sde> {
        self.sde.as_ref()
    }

    fn action(&self, output: &[f32], noise: &[f32], action: &mut [f32]) {
        let (means, log_stds) = output.split_at(action.len());
        let clip_mean = self.config.policy_kwargs.clip_mean;
        let bound = if clip_mean > 0.0 { clip_mean as f32 } else { f32::INFINITY };
        for (i, (a, (&mean, &noise))) in action.iter_mut().zip(means.iter().zip(noise)).enumerate()
        {
            *a = match log_stds.get(i) {
                // a = tanh(m + sigma epsilon)
                Some(log_std) => {
                    mean + log_std.clamp(LOG_STD[0] as f32, LOG_STD[1] as f32).exp() * noise
                }
                // a = tanh(m + s' theta)
                None => mean.clamp(-bound, bound) + noise,
            }
            .tanh();
        }
    }

    fn actor_tensors(&self) -> Vec<TensorPlace> {
        let Some((last, hidden)) = self.actor.0.layers.split_last() else { return Vec::new() };
        let mut tensors = sequential_tensors(hidden, "latent_pi", 0);
        match &self.sde {
            None => tensors.extend(linear_tensors(last, &["mu", "log_std"], 0)),
            Some(sde) => {
                // Stable-Baselines3's bound is a layer of its own behind the affine one.
                let mean = if self.config.policy_kwargs.clip_mean > 0.0 { "mu.0" } else { "mu" };
                tensors.extend(linear_tensors(last, &[mean], 0));
                tensors.push(sde.tensor());
            }
        }
        tensors
    }

    fn has_target_actor(&self) -> bool {
        false
    }
}
