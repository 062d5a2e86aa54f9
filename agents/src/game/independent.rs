//! Factors of the implicit term estimated from batches of their own.

use super::{Composite, Game, Player};
use crate::error::Result;
use crate::flat::Scalar;

/// A game whose implicit term may be a product of independent estimates, so that its expectation is the product of their
/// expectations (Appendix D).
pub struct IndependentBatches<G> {
    /// `D1 f1` and `D2 f2`, and all the rest where nothing else is given.
    pub whole: G,
    /// Games on other batches.
    pub parts: Parts<G>,
}

/// The games that the factors come from.
pub enum Parts<G> {
    /// The whole.
    Same,
    /// Games of their own.
    Own {
        /// `D2 f1`, if not of the whole.
        response: Option<G>,
        /// `D22 f2`
        hessian: G,
        /// `D12 f2`
        cross: G,
    },
    /// There were too few samples for three.
    Missing,
}

impl<T: Scalar, G: Game<T>> Game<T> for IndependentBatches<G> {
    fn dim(&self, player: Player) -> usize {
        self.whole.dim(player)
    }

    fn gradient(&mut self, of: Player, wrt: Player, out: &mut [T]) -> Result<()> {
        match (&mut self.parts, of, wrt) {
            (Parts::Own { response: Some(own), .. }, Player::Leader, Player::Follower) => {
                own.gradient(of, wrt, out)
            }
            _ => self.whole.gradient(of, wrt, out),
        }
    }

    fn follower_hvp(&mut self, v: &[T], out: &mut [T]) -> Result<()> {
        match &mut self.parts {
            Parts::Own { hessian, .. } => hessian.follower_hvp(v, out),
            _ => self.whole.follower_hvp(v, out),
        }
    }

    fn cross_vjp(&mut self, x: &[T], out: &mut [T]) -> Result<()> {
        match &mut self.parts {
            Parts::Own { cross, .. } => cross.cross_vjp(x, out),
            _ => self.whole.cross_vjp(x, out),
        }
    }

    fn leader_hvp(&mut self, v: &[T], out: &mut [T]) -> Result<()> {
        self.whole.leader_hvp(v, out)
    }

    fn objective(&mut self, of: Player) -> Result<f64> {
        self.whole.objective(of)
    }

    /// With games of their own it gives Gauss-Newton products, but not `woodbury`, which takes all factors from one Gram
    /// matrix.
    fn composite(&mut self) -> Option<&mut dyn Composite<T>> {
        match &mut self.parts {
            Parts::Own { hessian, .. } => hessian.composite(),
            _ => self.whole.composite(),
        }
    }

    fn has_implicit_term(&self) -> bool {
        !matches!(self.parts, Parts::Missing)
    }
}
