//! The follower's Hessian itself.

use crate::error::Result;
use crate::flat::Scalar;
use crate::game::Game;

/// `out = D22 f2 v`
pub(super) fn product<T: Scalar>(game: &mut dyn Game<T>, v: &[T], out: &mut [T]) -> Result<()> {
    game.follower_hvp(v, out)
}
