//! Distributions over actions: how a network's output becomes actions and their log-probabilities.

use crate::rng::Rng;
use crate::spaces::ActionSpace;
use tch::{Kind, Tensor};

/// A distribution over actions. Actions are rows of `action_dim` numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Distribution {
    /// Over `n` choices: `pi(k|s) = exp z_k / sum_j exp z_j`.
    Categorical {
        /// How many.
        n: usize,
    },
    /// `N(z, diag(sigma^2))` with a deviation that does not depend on the state. The environment is
    /// sent the draw clipped to its bounds; probabilities are those of the draw.
    DiagGaussian {
        /// Lower bounds.
        low: Vec<f32>,
        /// Upper bounds.
        high: Vec<f32>,
    },
}

impl Distribution {
    /// The distribution that suits `space`.
    pub fn new(space: &ActionSpace) -> Self {
        match space {
            ActionSpace::Box { low, high } => {
                Self::DiagGaussian { low: low.clone(), high: high.clone() }
            }
            ActionSpace::Discrete { n } => Self::Categorical { n: *n },
        }
    }

    /// Width of the network's output `z`.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Categorical { n } => *n,
            Self::DiagGaussian { low, .. } => low.len(),
        }
    }

    /// Number of parameters `log sigma` besides the network's.
    pub fn log_stds(&self) -> usize {
        match self {
            Self::Categorical { .. } => 0,
            Self::DiagGaussian { low, .. } => low.len(),
        }
    }

    /// Draws an action.
    pub fn sample(&self, z: &[f32], log_std: &[f32], rng: &mut Rng, action: &mut [f32]) {
        match self {
            Self::Categorical { .. } => {
                // The first k at which the cumulated weights exceed a uniform share of their sum.
                let largest = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let weights = z.iter().map(|z| (z - largest).exp());
                let mut left = rng.uniform::<f32>(0.0, 1.0) * weights.clone().sum::<f32>();
                let chosen = weights.into_iter().position(|weight| {
                    left -= weight;
                    left < 0.0
                });
                action[0] = chosen.unwrap_or(z.len() - 1) as f32;
            }
            Self::DiagGaussian { .. } => {
                for ((a, &z), &log_std) in action.iter_mut().zip(z).zip(log_std) {
                    *a = z + log_std.exp() * rng.normal::<f32>();
                }
            }
        }
    }

    /// The most likely action.
    pub fn mode(&self, z: &[f32], action: &mut [f32]) {
        match self {
            Self::Categorical { .. } => {
                let best = (1..z.len()).fold(0, |best, k| if z[k] > z[best] { k } else { best });
                action[0] = best as f32;
            }
            Self::DiagGaussian { .. } => action.copy_from_slice(z),
        }
    }

    /// What the environment is sent for `action`, in place.
    pub fn clip(&self, action: &mut [f32]) {
        if let Self::DiagGaussian { low, high } = self {
            for (a, (&low, &high)) in action.iter_mut().zip(low.iter().zip(high)) {
                *a = a.clamp(low, high);
            }
        }
    }

    /// Which components of `actions` the environment is sent clipped; none where they are choices.
    pub fn clipped(&self, actions: &Tensor) -> Option<Tensor> {
        let Self::DiagGaussian { low, high } = self else { return None };
        let bound = |bound: &[f32]| {
            Tensor::from_slice(bound).to_kind(actions.kind()).to_device(actions.device())
        };
        Some(actions.lt_tensor(&bound(low)).logical_or(&actions.gt_tensor(&bound(high))))
    }

    /// `log pi(a|s)`, length `B`, of actions `B x action_dim` under outputs `B x outputs`. Deviations are
    /// `action_dim`, or `B x action_dim` where they depend on the state.
    pub fn log_prob(&self, z: &Tensor, log_std: &Tensor, actions: &Tensor) -> Tensor {
        match self {
            Self::Categorical { .. } => {
                let chosen = actions.to_kind(Kind::Int64);
                z.log_softmax(-1, None).gather(1, &chosen, false).squeeze_dim(1)
            }
            // -sum_j [ (a_j - z_j)^2 / (2 sigma_j^2) + log sigma_j + log(2 pi) / 2 ]
            Self::DiagGaussian { .. } => {
                let standard = (actions - z) * (-log_std).exp();
                let terms = standard.square() * 0.5 + log_std + 0.5 * std::f64::consts::TAU.ln();
                -terms.sum_dim_intlist(-1, false, None)
            }
        }
    }

    /// `-E[log pi]`, averaged over the rows of `z`.
    pub fn entropy(&self, z: &Tensor, log_std: &Tensor) -> Tensor {
        match self {
            Self::Categorical { .. } => {
                let log_probs = z.log_softmax(-1, None);
                -(log_probs.exp() * log_probs).sum_dim_intlist(-1, false, None).mean(None)
            }
            // sum_j [ log sigma_j + log(2 pi e) / 2 ]
            Self::DiagGaussian { .. } => (log_std + 0.5 * (1.0 + std::f64::consts::TAU.ln()))
                .sum_dim_intlist(-1, false, None)
                .mean(None),
        }
    }

    /// Actions as a critic `Q_w(s, a)` takes them, `B x outputs`: one-hot where they are choices.
    pub fn encode(&self, actions: &Tensor) -> Tensor {
        match self {
            Self::Categorical { n } => actions
                .squeeze_dim(1)
                .to_kind(Kind::Int64)
                .one_hot(*n as i64)
                .to_kind(actions.kind()),
            Self::DiagGaussian { .. } => actions.shallow_clone(),
        }
    }
}
