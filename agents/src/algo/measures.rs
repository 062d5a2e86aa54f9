//! Running means of an agent's measures, and its diagnostics.

use crate::agent::Metrics;
use crate::error::Result;
use crate::game::spectrum::hessian_extremes;
use crate::game::{Game, Player};
use crate::rng::Rng;

/// Means by tag since they were last taken, in order of first appearance.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Means(Vec<(&'static str, f64, u64)>);

impl Means {
    /// Adds one observation of `tag`.
    pub(super) fn add(&mut self, tag: &'static str, value: f64) {
        match self.0.iter_mut().find(|(t, ..)| *t == tag) {
            Some((_, sum, count)) => {
                *sum += value;
                *count += 1;
            }
            None => self.0.push((tag, value, 1)),
        }
    }

    /// The means, leaving the tags without observations.
    pub(super) fn take(&mut self) -> Metrics {
        let observed = self.0.iter_mut().filter(|(.., count)| *count > 0);
        observed
            .map(|(tag, sum, count)| (*tag, std::mem::take(sum) / std::mem::take(count) as f64))
            .collect()
    }
}

/// Lanczos steps at most per spectrum, and the accuracy at which they end, in units of the
/// eigenvalue largest in magnitude.
const STEPS: usize = 60;
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
