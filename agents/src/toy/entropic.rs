//! The actor draws its action, and its entropy counts.

use super::{Point, REWARD, START, Toy};
use crate::error::Result;
use crate::flat;
use crate::game::{Game, Player};
use crate::rng::Rng;
use std::f64::consts::TAU;

/// Entropy coefficient.
pub const ETA: f64 = 0.2;
/// Samples of an update.
pub const SAMPLES: usize = 3;
/// The actor's deviation at the start.
const SIGMA: f64 = 1.0;

/// The hidden structure of SAC: a squashed Gaussian whose mean and deviation are learnt. With
/// `a_i = tanh(theta + sigma eps_i)`, means over the samples `i`:
///
/// ```text
/// f1 = mean eta log pi(a_i) - w a_i
/// f2 = mean (w a_i + a_i^2/5)^2
/// log pi(a_i) = -eps_i^2/2 - log(sigma sqrt(2 pi)) - log(1 - a_i^2)
/// ```
#[derive(Clone, Debug)]
pub struct Entropic {
    /// The actor's parameters, `(theta, sigma)`.
    pub actor: [f64; 2],
    /// The critic's parameter.
    pub w: f64,
    /// `eps`
    pub noise: [f64; SAMPLES],
    rng: Rng,
}

impl Entropic {
    /// At the start, with samples drawn by `rng`.
    pub fn new(rng: Rng) -> Self {
        let (theta, w) = START;
        let mut game = Self { actor: [theta, SIGMA], w, noise: [0.0; SAMPLES], rng };
        game.resample();
        game
    }

    /// Writes `mean k(a_i) (1 - a_i^2) (1, eps_i)`: the gradient by `(theta, sigma)` of a mean over actions whose terms
    /// have the derivative `k` by `a`.
    fn actor_gradient(&self, k: impl Fn(f64) -> f64, out: &mut [f64]) {
        out.fill(0.0);
        for (a, eps) in self.samples() {
            let step = k(a) * (1.0 - a * a) / SAMPLES as f64;
            flat::axpy(step, &[1.0, eps], out);
        }
    }

    /// `mean k(a_i)`
    fn mean(&self, k: impl Fn(f64) -> f64) -> f64 {
        self.samples().map(|(a, _)| k(a)).sum::<f64>() / SAMPLES as f64
    }

    /// `(a_i, eps_i)`
    fn samples(&self) -> impl Iterator<Item = (f64, f64)> {
        let [theta, sigma] = self.actor;
        self.noise.iter().map(move |&eps| ((theta + sigma * eps).tanh(), eps))
    }
}

impl Toy for Entropic {
    fn parameters(&mut self) -> [&mut [f64]; 2] {
        [&mut self.actor, std::slice::from_mut(&mut self.w)]
    }

    fn point(&self) -> Point {
        let [theta, sigma] = self.actor;
        Point { theta, sigma, w: self.w }
    }

    fn resample(&mut self) {
        self.noise = std::array::from_fn(|_| self.rng.normal());
    }
}

impl Game<f64> for Entropic {
    fn dim(&self, player: Player) -> usize {
        match player {
            Player::Leader => 2,
            Player::Follower => 1,
        }
    }

    fn gradient(&mut self, of: Player, wrt: Player, out: &mut [f64]) -> Result<()> {
        let w = self.w;
        // e = Q_w(a) - R(a)
        let e = |a: f64| w * a + REWARD * a * a;
        match (of, wrt) {
            (Player::Leader, Player::Leader) => {
                // D1 f1 = mean (2 eta a - w (1 - a^2)) (1, eps) - (0, eta/sigma)
                out.fill(0.0);
                for (a, eps) in self.samples() {
                    let slope = 2.0 * ETA * a - w * (1.0 - a * a);
                    flat::axpy(slope / SAMPLES as f64, &[1.0, eps], out);
                }
                out[1] -= ETA / self.actor[1];
            }
            (Player::Leader, Player::Follower) => out.fill(-self.mean(|a| a)),
            (Player::Follower, Player::Leader) => {
                self.actor_gradient(|a| 2.0 * e(a) * (w + 2.0 * REWARD * a), out);
            }
            (Player::Follower, Player::Follower) => out.fill(self.mean(|a| 2.0 * e(a) * a)),
        }
        Ok(())
    }

    fn follower_hvp(&mut self, v: &[f64], out: &mut [f64]) -> Result<()> {
        // D22 f2 = mean 2 a^2
        out.fill(self.mean(|a| 2.0 * a * a) * v[0]);
        Ok(())
    }

    fn cross_vjp(&mut self, x: &[f64], out: &mut [f64]) -> Result<()> {
        // D1 D2 f2 = D1 mean 2 e a = mean (4 w a + 6/5 a^2) (1 - a^2) (1, eps)
        let w = self.w;
        self.actor_gradient(|a| 4.0 * w * a + 6.0 * REWARD * a * a, out);
        flat::scale(x[0], out);
        Ok(())
    }

    fn leader_hvp(&mut self, v: &[f64], out: &mut [f64]) -> Result<()> {
        // D11 f1 = mean (2 eta + 2 w a) (1 - a^2) (1, eps) (1, eps)' + diag(0, eta/sigma^2)
        out.fill(0.0);
        for (a, eps) in self.samples() {
            let bend = (2.0 * ETA + 2.0 * self.w * a) * (1.0 - a * a);
            let along = v[0] + eps * v[1];
            flat::axpy(bend * along / SAMPLES as f64, &[1.0, eps], out);
        }
        out[1] += ETA / (self.actor[1] * self.actor[1]) * v[1];
        Ok(())
    }

    fn objective(&mut self, of: Player) -> Result<f64> {
        let ([_, sigma], w) = (self.actor, self.w);
        Ok(match of {
            Player::Follower => self.mean(|a| (w * a + REWARD * a * a).powi(2)),
            Player::Leader => {
                let log_pi = |(a, eps): (f64, f64)| {
                    -0.5 * eps * eps - (sigma * TAU.sqrt()).ln() - (1.0 - a * a).ln()
                };
                let terms = self.samples().map(|(a, eps)| ETA * log_pi((a, eps)) - w * a);
                terms.sum::<f64>() / SAMPLES as f64
            }
        })
    }
}
