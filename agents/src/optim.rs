//! First-order optimisers over flat vectors.

use crate::flat::{self, Scalar};
use crate::threads;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which optimiser a player uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
        self.step_and_average(learning_rate, gradient, params, None).run(1);
    }

    /// The same step, still to be run, followed by the Polyak average `(tau, target)` of the parameters.
    pub fn step_and_average<'a>(
        &'a mut self,
        learning_rate: f64,
        gradient: &'a [T],
        params: &'a mut [T],
        average: Option<(T, &'a mut [T])>,
    ) -> StepAndAverage<'a, T> {
        let (rule, moments) = match self {
            // x <- x - alpha g
            Self::Sgd => (Rule::Sgd { alpha: T::of(learning_rate) }, [&mut [][..], &mut []]),
            // x <- x - alpha / (1 - b1^t) m / (sqrt v / sqrt (1 - b2^t) + eps)
            Self::Adam { m, v, t } => {
                *t = t.saturating_add(1);
                let alpha = T::of(learning_rate / (1.0 - BETA1.powi(*t)));
                let scale = T::of(1.0 / (1.0 - BETA2.powi(*t)).sqrt());
                (Rule::Adam { alpha, scale }, [&mut m[..], v])
            }
        };
        StepAndAverage { rule, gradient, params, moments, average }
    }
}

/// What a step computes from its number and step size.
#[derive(Clone, Copy)]
enum Rule<T> {
    Adam { alpha: T, scale: T },
    Sgd { alpha: T },
}

/// An optimiser step of some parameters, then an update of their Polyak average.
pub struct StepAndAverage<'a, T> {
    rule: Rule<T>,
    gradient: &'a [T],
    params: &'a mut [T],
    /// Empty without Adam.
    moments: [&'a mut [T]; 2],
    average: Option<(T, &'a mut [T])>,
}

/// With fewer parameters than this, one thread does everything.
const SHARED: usize = 8192;

impl<T: Scalar> StepAndAverage<'_, T> {
    /// Runs it on `threads` threads. The result does not depend on their number.
    pub fn run(mut self, threads: usize) {
        if threads <= 1 || self.params.len() < SHARED {
            return self.run_here();
        }
        let middle = self.params.len() * (threads / 2) / threads;
        let [first, second] = self.split_at(middle);
        threads::join(threads, || first.run(threads / 2), || second.run(threads.div_ceil(2)));
    }

    fn split_at(&mut self, middle: usize) -> [StepAndAverage<'_, T>; 2] {
        let Self { rule, gradient, params, moments: [m, v], average } = self;
        let (m, v) = (m.split_at_mut(middle.min(m.len())), v.split_at_mut(middle.min(v.len())));
        let (gradient, params) = (gradient.split_at(middle), params.split_at_mut(middle));
        let average = match average {
            None => (None, None),
            Some((tau, target)) => {
                let (first, second) = target.split_at_mut(middle);
                (Some((*tau, first)), Some((*tau, second)))
            }
        };
        let rule = *rule;
        [
            StepAndAverage {
                rule,
                gradient: gradient.0,
                params: params.0,
                moments: [m.0, v.0],
                average: average.0,
            },
            StepAndAverage {
                rule,
                gradient: gradient.1,
                params: params.1,
                moments: [m.1, v.1],
                average: average.1,
            },
        ]
    }

    fn run_here(self) {
        let Self { rule, gradient, params, moments: [m, v], average } = self;
        match rule {
            Rule::Adam { alpha, scale } => adam(alpha, scale, gradient, [&mut *params, m, v]),
            Rule::Sgd { alpha } => flat::axpy(-alpha, gradient, params),
        }
        if let Some((tau, target)) = average {
            flat::polyak(tau, params, target);
        }
    }
}

/// One step of Adam for all of `x`.
fn adam<T: Scalar>(alpha: T, scale: T, gradient: &[T], [x, m, v]: [&mut [T]; 3]) {
    let (b1, b2, epsilon) = (T::of(BETA1), T::of(BETA2), T::of(EPSILON));
    let (c1, c2) = (T::one() - b1, T::one() - b2);
    flat::vectorised(|| {
        for (((x, m), v), &g) in x.iter_mut().zip(m).zip(v).zip(gradient) {
            // m <- b1 m + (1 - b1) g;   v <- b2 v + (1 - b2) g^2
            *m = b1 * *m + c1 * g;
            *v = b2 * *v + c2 * g * g;
            // x <- x - alpha m / (scale sqrt v + eps)
            *x -= alpha * *m / (num_traits::Float::sqrt(*v) * scale + epsilon);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, Rng};

    /// For any number of threads, each parameter takes the same step as alone, and then its average does.
    #[test]
    fn each_parameter_takes_its_step_and_then_its_average() {
        let mut rng = Rng::new(0, Purpose::Diagnostics);
        let dim = 2 * SHARED + 7;
        for (kind, threads) in
            [(OptimizerKind::Adam, 1), (OptimizerKind::Adam, 3), (OptimizerKind::Sgd, 2)]
        {
            let mut normals = || (0..dim).map(|_| rng.normal()).collect::<Vec<f64>>();
            let (mut params, mut target) = (normals(), normals());
            let (mut alone, mut average) = (params.clone(), target.clone());
            let mut optimizer = Optimizer::new(kind, dim);
            let mut of_one = vec![Optimizer::new(kind, 1); dim];
            for gradient in [normals(), normals()] {
                optimizer
                    .step_and_average(0.1, &gradient, &mut params, Some((0.3, &mut target)))
                    .run(threads);
                for (i, one) in of_one.iter_mut().enumerate() {
                    one.step(0.1, &gradient[i..=i], &mut alone[i..=i]);
                    average[i] += 0.3 * (alone[i] - average[i]);
                }
            }
            assert_eq!(params, alone);
            assert_eq!(target, average);
        }
    }
}
