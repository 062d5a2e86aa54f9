//! The measures of a game, and its diagnostics.

use crate::error::Result;
use crate::game::spectrum::hessian_extremes;
use crate::game::{Game, Norms, Player, Solve};
use crate::metrics::{Means, Metrics};
use crate::rng::Rng;

/// Lanczos steps at most per spectrum, and the accuracy of each end at which they stop.
const STEPS: usize = 100;
const ACCURACY: f64 = 1e-2;

/// Extreme eigenvalues of `D22 f2` and `D11 f1`.
pub(super) fn spectra(game: &mut dyn Game<f32>, rng: &mut Rng) -> Result<Metrics> {
    let follower = hessian_extremes(game, Player::Follower, rng, STEPS, ACCURACY)?;
    let leader = hessian_extremes(game, Player::Leader, rng, STEPS, ACCURACY)?;
    Ok(vec![
        ("game/follower_eig_min", follower.min),
        ("game/follower_eig_max", follower.max),
        ("game/leader_eig_min", leader.min),
        ("game/leader_eig_max", leader.max),
    ])
}

/// The measures of a game (`game/*`) and the count of its failed solves.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct GameMeasures {
    fallbacks: u64,
}

impl GameMeasures {
    /// Adds the measures of one update to `means`. The first failed solve is warned about, the
    /// others are counted.
    pub(super) fn record(
        &mut self,
        means: &mut Means,
        update: u64,
        norms: &Norms,
        solve: Option<Solve>,
        lambda: f64,
    ) {
        means.add("game/leader_grad_norm", norms.leader);
        means.add("game/follower_grad_norm", norms.follower);
        let Some(solve) = solve else { return };
        if solve.fallback {
            self.fallbacks += 1;
            if self.fallbacks == 1 {
                tracing::warn!(
                    update,
                    residual = solve.residual,
                    "a Stackelberg solve failed; that update takes the plain gradient (further ones are counted in game/fallbacks)"
                );
            }
        }
        for (tag, value) in [
            ("game/individual_grad_norm", norms.individual),
            ("game/implicit_grad_norm", norms.implicit),
            ("game/implicit_ratio", norms.ratio()),
            ("game/cosine", norms.cosine),
            ("game/lambda", lambda),
            ("game/solver_residual", solve.residual),
            ("game/solver_iterations", solve.iterations as f64),
            ("game/negative_curvature", f64::from(u8::from(solve.negative_curvature))),
        ] {
            means.add(tag, value);
        }
        means.replace("game/fallbacks", self.fallbacks as f64);
    }
}
