//! The generalised Gauss-Newton matrix `G = J' h'' J` (Schraudolph, 2002) of a follower `f2 = h(outputs)`: the Hessian
//! without the curvature of the outputs themselves.

use super::composite::Composite;
use crate::error::Result;
use crate::flat::Scalar;

/// `out = J' h'' J v`
pub(super) fn product<T: Scalar>(
    game: &mut dyn Composite<T>,
    v: &[T],
    outputs: &mut Vec<T>,
    out: &mut [T],
) -> Result<()> {
    outputs.resize(game.blocks() * game.rows(), T::zero());
    game.jacobian(v, outputs)?;
    game.times_outer_hessian(outputs)?;
    game.jacobian_transpose(outputs, out)
}
