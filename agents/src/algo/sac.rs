//! Soft actor-critic (Haarnoja et al., 2018) and, with a leader, STSAC.

use super::config::OffPolicyConfig;
use super::off_policy::Family;
use super::sde::Sde;
use crate::engine::LOG_STD;
use crate::engine::autograd::{Losses, Objectives, TensorMlp, TensorPoint};
use crate::engine::fused::Spec;
use crate::nn::Mlp;
use crate::params::{TensorPlace, linear_tensors, sequential_tensors};
use std::f64::consts::{LN_2, TAU};
use tch::Tensor;

/// Networks and objectives: a squashed Gaussian policy in the unit box and critics `Q_b(s, a)`, two
/// unless told otherwise.
///
/// The actor's network puts out means and log standard deviations, one after the other; with gSDE it
/// puts out means alone.
#[derive(Clone)]
pub struct Sac {
    actor: TensorMlp,
    sde: Option<Sde>,
    clip_mean: f64,
    critic: TensorMlp,
    critics: usize,
    gamma: f64,
}

/// How many critics, unless told otherwise.
const TWINS: usize = 2;

impl Sac {
    /// For observations and actions of these dimensions.
    pub fn new(config: &OffPolicyConfig, obs_dim: usize, action_dim: usize) -> Self {
        let kwargs = &config.policy_kwargs;
        let (hidden, activation) = (&kwargs.net_arch, kwargs.activation_fn);
        let outputs = if config.use_sde { action_dim } else { 2 * action_dim };
        let actor = Mlp::new(obs_dim, hidden, outputs, activation);
        Self {
            sde: config.use_sde.then(|| {
                Sde::new(&actor, kwargs.log_std_init, kwargs.use_expln, config.sde_sample_freq)
            }),
            clip_mean: kwargs.clip_mean,
            actor: TensorMlp(actor),
            critic: TensorMlp(Mlp::new(obs_dim + action_dim, hidden, 1, activation)),
            critics: kwargs.n_critics.unwrap_or(TWINS),
            gamma: config.gamma,
        }
    }

    /// `u = m + sigma epsilon`, `epsilon` and `log sigma`, each `B x action_dim`. With gSDE the noise is
    /// `s' theta`, and `epsilon` what it is in units of its deviation.
    fn gaussian(&self, params: &Tensor, obs: &Tensor, noise: &Tensor) -> [Tensor; 3] {
        let (output, mut factors) = self.actor.forward_with_factors(params, obs.shallow_clone());
        if let (Some(sde), Some((features, _))) = (&self.sde, factors.pop()) {
            let mean = match self.clip_mean {
                0.0 => output,
                bound => output.clamp(-bound, bound),
            };
            let noise = sde.noise(params, &features, noise);
            let log_std = sde.log_deviation(params, &features);
            return [mean + &noise, noise * (-&log_std).exp(), log_std];
        }
        let output = output.chunk(2, 1);
        let [mean, log_std] = [&output[0], &output[1]];
        let log_std = log_std.clamp(LOG_STD[0], LOG_STD[1]);
        let noise = noise.view_as(mean);
        [mean + log_std.exp() * &noise, noise, log_std]
    }

    /// `a = tanh(u)` (`B x action_dim`) and `log pi(a | s)` (`B`).
    fn sample(&self, params: &Tensor, obs: &Tensor, noise: &Tensor) -> (Tensor, Tensor) {
        let [u, noise, log_std] = self.gaussian(params, obs, noise);

        // log N(u; m, sigma) = -sum (epsilon^2 / 2 + log sigma + log(2 pi) / 2)
        // log pi(a) = log N(u) - sum log(1 - tanh(u)^2),
        // log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2 u))
        let gaussian: Tensor = noise.square() * 0.5 + log_std + 0.5 * TAU.ln();
        let squash: Tensor = (LN_2 - &u - (&u * -2.0).softplus()) * 2.0;
        let log_pi = -(gaussian + squash).sum_dim_intlist(1, false, None);
        (u.tanh(), log_pi)
    }

    /// `Q_b(s, a)` of all critics, with what their layers saw.
    fn twins(
        &self,
        params: &Tensor,
        obs: &Tensor,
        actions: &Tensor,
    ) -> Vec<(Tensor, Vec<(Tensor, Tensor)>)> {
        let input = Tensor::cat(&[obs, actions], 1);
        let one = |params: &Tensor| {
            let (q, factors) = self.critic.forward_with_factors(params, input.shallow_clone());
            (q.squeeze_dim(1), factors)
        };
        params.chunk(self.critics as i64, 0).iter().map(one).collect()
    }

    /// `min_b Q_b(s, a)`
    fn smaller(&self, params: &Tensor, obs: &Tensor, actions: &Tensor) -> Tensor {
        let twins = self.twins(params, obs, actions).into_iter().map(|(q, _)| q);
        twins.reduce(|smaller, q| smaller.minimum(&q)).unwrap_or_default()
    }
}

impl Objectives for Sac {
    fn losses(&self, p: &TensorPoint) -> Losses {
        let eta = p.ent_coef;

        // -J(theta, w) = E[eta log pi(a) - min_b Q_b(s, a)],  a ~ pi_theta(s)                (9)
        let (actions, log_pi) = self.sample(&p.actor, &p.obs, &p.noise);
        let q = self.smaller(&p.critic, &p.obs, &actions);
        let actor = (&log_pi * eta - q).mean(None);

        // y = r + gamma (1 - d) (min_b Q_0b(s', a') - eta log pi(a')),  a' ~ pi_theta(s'),
        // a function of theta through a' and through log pi                                 (10)
        let (next_actions, next_log_pi) = self.sample(&p.actor, &p.next_obs, &p.next_noise);
        let next_q = self.smaller(&p.target_critic, &p.next_obs, &next_actions);
        let soft = next_q - next_log_pi * eta;
        let targets = &p.rewards + self.gamma * (1.0 - &p.dones) * soft;

        Losses {
            actor,
            outputs: self.twins(&p.critic, &p.obs, &p.actions),
            targets,
            weights: None,
            actions,
            entropy: Some(-log_pi.mean(None)),
        }
    }
}

impl Family for Sac {
    fn spec(&self) -> Spec {
        Spec {
            actor: self.actor.0.clone(),
            critic: self.critic.0.clone(),
            critics: self.critics,
            gamma: self.gamma,
            stochastic: true,
            current_policy: true,
        }
    }

    fn actor(&self) -> &Mlp {
        &self.actor.0
    }

    fn critic(&self) -> &Mlp {
        &self.critic.0
    }

    fn critics(&self) -> usize {
        self.critics
    }

    fn stochastic(&self) -> bool {
        true
    }

    fn sde(&self) -> Option<&Sde> {
        self.sde.as_ref()
    }

    fn action(&self, output: &[f32], noise: &[f32], action: &mut [f32]) {
        let (means, log_stds) = output.split_at(action.len());
        let bound = if self.clip_mean > 0.0 { self.clip_mean as f32 } else { f32::INFINITY };
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
                let mean = if self.clip_mean > 0.0 { "mu.0" } else { "mu" };
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
