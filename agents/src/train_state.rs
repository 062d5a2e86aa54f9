//! What a player owns: parameters, their Polyak average, and the optimiser's state.

use crate::flat::{self, Scalar};
use crate::optim::{Optimizer, OptimizerKind};
use serde::{Deserialize, Serialize};

/// One player's parameters and what moves them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainState<T> {
    /// The parameters, flat.
    pub params: Vec<T>,
    /// Their Polyak average; empty where nobody asks for it.
    pub target: Vec<T>,
    /// The optimiser and its moments.
    pub optimizer: Optimizer<T>,
}

/// A step would leave the finite numbers, and was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFinite;

/// A step of one parameter may not be longer than this, or it is tried on a copy first. Shorter ones do not reach the
/// largest float32, 3e38, within any run.
const LONGEST: f64 = 1e28;

/// Adam's longest step in units of the learning rate, with room: `(1 - b1) / sqrt(1 - b2) = 3.2`.
const ADAM: f64 = 10.0;

impl<T: Scalar> TrainState<T> {
    /// From the first parameters.
    pub fn new(params: Vec<T>, optimizer: OptimizerKind, has_target: bool) -> Self {
        Self {
            target: if has_target { params.clone() } else { Vec::new() },
            optimizer: Optimizer::new(optimizer, params.len()),
            params,
        }
    }

    /// How long its vectors are, and those of its optimiser: two states of the same player agree.
    pub(crate) fn lens(&self) -> [usize; 4] {
        let [m, v] = match &self.optimizer {
            Optimizer::Adam { m, v, .. } => [m.len(), v.len()],
            Optimizer::Sgd => [0; 2],
        };
        [self.params.len(), self.target.len(), m, v]
    }

    /// Whether all its numbers are finite.
    pub(crate) fn all_finite(&self) -> bool {
        let moments = match &self.optimizer {
            Optimizer::Adam { m, v, .. } => [m.as_slice(), v],
            Optimizer::Sgd => [[].as_slice(); 2],
        };
        [&self.params, &self.target].into_iter().all(|numbers| flat::all_finite(numbers))
            && moments.into_iter().all(flat::all_finite)
    }

    /// One step along `gradient`, whose norm is `norm`; with `tau`, the Polyak average follows in the same pass.
    ///
    /// # Errors
    /// [`NotFinite`] if the gradient is not finite or a parameter would not be; nothing has changed then.
    pub fn step(
        &mut self,
        learning_rate: f64,
        gradient: &[T],
        norm: T,
        tau: Option<T>,
        threads: usize,
    ) -> Result<(), NotFinite> {
        let length = match self.optimizer {
            Optimizer::Adam { .. } => ADAM,
            Optimizer::Sgd => norm.as_f64(),
        };
        if !norm.is_finite() {
            return Err(NotFinite);
        }
        if learning_rate * length < LONGEST {
            self.descend(learning_rate, gradient, tau, threads);
            return Ok(());
        }
        let mut tried = self.clone();
        tried.descend(learning_rate, gradient, tau, threads);
        if !flat::all_finite(&tried.params) {
            return Err(NotFinite);
        }
        *self = tried;
        Ok(())
    }

    fn descend(&mut self, learning_rate: f64, gradient: &[T], tau: Option<T>, threads: usize) {
        let Self { params, target, optimizer } = self;
        let average = tau.filter(|_| !target.is_empty()).map(|tau| (tau, &mut target[..]));
        optimizer.step_and_average(learning_rate, gradient, params, average).run(threads);
    }

    /// `target <- (1 - tau) target + tau params`
    pub fn average(&mut self, tau: T) {
        flat::polyak(tau, &self.params, &mut self.target);
    }
}
