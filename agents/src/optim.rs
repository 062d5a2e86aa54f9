//! First-order optimisers over flat vectors.

use crate::flat::{self, Scalar};
use serde::{Deserialize, Serialize};

/// Which optimiser a player uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Adam (Kingma & Ba, 2015) with PyTorch's defaults.
    Adam,
    /// Plain gradient descent.
    Sgd,
}

/// An optimiser and its state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Optimizer<T> {
    /// Adam: first and second moment, number of steps.
    Adam {
        /// Exponential mean of gradients.
        m: Vec<T>,
        /// Exponential mean of squared gradients.
        v: Vec<T>,
        /// Steps taken.
        t: i32,
    },
    /// Gradient descent has no state.
    Sgd,
}

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

impl<T: Scalar> Optimizer<T> {
    /// A fresh optimiser for `dim` parameters.
    pub fn new(kind: OptimizerKind, dim: usize) -> Self {
        match kind {
            OptimizerKind::Adam => {
                Self::Adam { m: vec![T::zero(); dim], v: vec![T::zero(); dim], t: 0 }
            }
            OptimizerKind::Sgd => Self::Sgd,
        }
    }

    /// Descends along `gradient` with step size `learning_rate`.
    pub fn step(&mut self, learning_rate: f64, gradient: &[T], params: &mut [T]) {
        match self {
            // x <- x - alpha g
            Self::Sgd => flat::axpy(T::of(-learning_rate), gradient, params),
            // m <- b1 m + (1 - b1) g;   v <- b2 v + (1 - b2) g^2
            // x <- x - alpha (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
            Self::Adam { m, v, t } => {
                *t = t.saturating_add(1);
                let (b1, b2) = (T::of(BETA1), T::of(BETA2));
                let (c1, c2) = (T::one() - b1, T::one() - b2);
                let alpha = T::of(learning_rate / (1.0 - BETA1.powi(*t)));
                let scale = T::of(1.0 / (1.0 - BETA2.powi(*t)).sqrt());
                let epsilon = T::of(EPSILON);
                flat::vectorised(|| {
                    for (((x, m), v), &g) in params.iter_mut().zip(m).zip(v).zip(gradient) {
                        *m = b1 * *m + c1 * g;
                        *v = b2 * *v + c2 * g * g;
                        *x -= alpha * *m / (num_traits::Float::sqrt(*v) * scale + epsilon);
                    }
                });
            }
        }
    }
}
