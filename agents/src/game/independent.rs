//! Factors of the implicit term estimated from minibatches of their own.

use super::{Game, LeastSquares, Player};
use crate::error::Result;
use crate::flat::Scalar;

/// A game whose implicit term is a product of independent estimates, so that its expectation is the
/// product of their expectations (Appendix D): gradients from one minibatch, the follower's Hessian
/// from a second, the cross derivative from a third.
pub struct Independent<'a, T> {
    /// `D1 f1`, `D2 f1`, `D2 f2`
    pub gradients: &'a mut dyn Game<T>,
    /// `D22 f2`
    pub hessian: &'a mut dyn Game<T>,
    /// `D12 f2`
    pub cross: &'a mut dyn Game<T>,
}

impl<T: Scalar> Game<T> for Independent<'_, T> {
    fn dim(&self, player: Player) -> usize {
        self.gradients.dim(player)
    }

    fn gradient(&mut self, of: Player, wrt: Player, out: &mut [T]) -> Result<()> {
        self.gradients.gradient(of, wrt, out)
    }

    fn follower_hvp(&mut self, v: &[T], out: &mut [T]) -> Result<()> {
        self.hessian.follower_hvp(v, out)
    }

    fn cross_vjp(&mut self, x: &[T], out: &mut [T]) -> Result<()> {
        self.cross.cross_vjp(x, out)
    }

    fn leader_hvp(&mut self, v: &[T], out: &mut [T]) -> Result<()> {
        self.gradients.leader_hvp(v, out)
    }

    /// Of the Hessian's minibatch: it gives Gauss-Newton products, but not `woodbury`, which takes
    /// all factors from one Gram matrix.
    fn least_squares(&mut self) -> Option<&mut dyn LeastSquares<T>> {
        self.hessian.least_squares()
    }
}
