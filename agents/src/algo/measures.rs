//! Running means of an agent's measures, the measures of a game, and its diagnostics.

use crate::agent::Metrics;
use crate::error::Result;
use crate::game::spectrum::hessian_extremes;
use crate::game::{Game, LeaderNorms, Player, Solve};
use crate::rng::Rng;

/// Means by tag since they were last taken, in order of first appearance.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Means(Vec<(&'static str, f64, u64)>);

impl Means {
    /// Adds one observation of `tag`. What is not finite (a failed solve's residual, the ratio to a
    /// gradient of zero) has no mean and is left out.
    pub(super) fn add(&mut self, tag: &'static str, value: f64) {
        if !value.is_finite() {
            return;
        }
        match self.0.iter_mut().find(|(t, ..)| *t == tag) {
            Some((_, mean, count)) => {
                *count += 1;
                *mean += (value - *mean) / *count as f64;
            }
            None => self.0.push((tag, value, 1)),
        }
    }

    /// The latest value of `tag`, a running total, takes the place of its mean.
    fn replace(&mut self, tag: &'static str, value: f64) {
        match self.0.iter_mut().find(|(t, ..)| *t == tag) {
            Some((_, last, count)) => (*last, *count) = (value, 1),
            None => self.0.push((tag, value, 1)),
        }
    }

    /// The means, leaving the tags without observations.
    pub(super) fn take(&mut self) -> Metrics {
        let observed = self.0.iter_mut().filter(|(.., count)| *count > 0);
        observed
            .map(|(tag, mean, count)| {
                *count = 0;
                (*tag, std::mem::take(mean))
            })
            .collect()
    }
}

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

/// Norms of an update's gradients.
pub(super) struct Norms {
    pub(super) individual: f64,
    pub(super) implicit: f64,
    pub(super) leader: f64,
    pub(super) follower: f64,
    pub(super) cosine: f64,
}

impl Norms {
    /// From the leader's, and the follower's.
    pub(super) fn new(leader: LeaderNorms<f32>, follower: f32) -> Self {
        let LeaderNorms { individual, implicit, total, cosine } = leader;
        let [individual, implicit, leader] = [individual, implicit, total].map(f64::from);
        Self { individual, implicit, leader, follower: follower.into(), cosine: cosine.into() }
    }

    /// `|implicit| / |individual|`; 0 where a saturated policy makes both vanish.
    pub(super) fn ratio(&self) -> f64 {
        if self.implicit == 0.0 { 0.0 } else { self.implicit / self.individual }
    }
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
