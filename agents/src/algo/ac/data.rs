//! A batch of trajectories on the device, and the sums over time that the objectives take.

use crate::error::Result;
use tch::{Kind, Tensor};

/// Trajectories as tensors, ready for the objectives.
#[derive(Debug)]
pub struct Data {
    /// Number of rows, `B`.
    pub size: usize,
    pub(super) obs: Tensor,
    pub(super) actions: Tensor,
    /// What the critic takes.
    pub(super) inputs: Tensor,
    pub(super) returns: Tensor,
    /// Coefficients of the scores in the actor's loss, normalised.
    pub(super) advantages: Tensor,
    /// What advantages were divided by.
    pub(super) scale: f64,
    /// Coefficients of the scores in the gradients of returns.
    pub(super) scores: Tensor,
    /// `V(s)` when the batch was made.
    pub(super) values: Tensor,
    pub(super) remaining: Tensor,
    pub(super) longest: usize,
}

impl Data {
    /// `y_t = sum_l gamma^l x_{t+l}` to the end of each trajectory, by doubling: after `k` rounds the
    /// first `2^k` terms are in.
    pub(super) fn discounted_sum(&self, x: &Tensor, gamma: f64) -> Tensor {
        let (mut sum, mut terms) = (x.shallow_clone(), 1);
        while terms < self.longest {
            let further = terms as i64;
            let rest = sum.narrow(0, further, self.size as i64 - further);
            let inside = self.remaining.gt(further).to_kind(x.kind());
            sum = &sum + rest.constant_pad_nd([0, further]) * inside * gamma.powi(terms as i32);
            terms *= 2;
        }
        sum
    }

    /// `x` in the first row, zeros below.
    pub(super) fn at_first_row(&self, x: Tensor) -> Tensor {
        x.view([1]).constant_pad_nd([0, self.size as i64 - 1])
    }

    /// These rows, each a trajectory of its own: enough for each player's own Hessian.
    pub fn select(&self, rows: &[i64]) -> Self {
        let rows = Tensor::from_slice(rows).to_device(self.obs.device());
        let take = |x: &Tensor| x.index_select(0, &rows);
        Self {
            size: rows.numel(),
            obs: take(&self.obs),
            actions: take(&self.actions),
            inputs: take(&self.inputs),
            returns: take(&self.returns),
            advantages: take(&self.advantages),
            scale: self.scale,
            scores: take(&self.scores),
            values: take(&self.values),
            remaining: rows.ones_like(),
            longest: 1,
        }
    }

    /// `1 - Var(R - V) / Var(R)`; NaN where returns do not vary.
    pub fn explained_variance(&self) -> Result<f64> {
        let residuals = &self.returns - &self.values;
        let variance = |x: &Tensor| f64::try_from(x.var(false).to_kind(Kind::Double));
        Ok(1.0 - variance(&residuals)? / variance(&self.returns)?)
    }
}
