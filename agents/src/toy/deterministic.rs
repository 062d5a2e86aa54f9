//! The actor plays `theta` itself.

use super::{Point, REWARD, START, Toy};
use crate::error::Result;
use crate::game::{Game, Player};

/// The hidden structure of AC and DDPG (Section 3.2), as losses:
///
/// ```text
/// f1 = -J = -w theta
/// f2 =  L = (w theta + theta^2/5)^2
/// ```
#[derive(Clone, Debug)]
pub struct Deterministic {
    /// The actor's parameter, its action.
    pub theta: f64,
    /// The critic's parameter.
    pub w: f64,
}

impl Default for Deterministic {
    /// At the start.
    fn default() -> Self {
        let (theta, w) = START;
        Self { theta, w }
    }
}

impl Toy for Deterministic {
    fn parameters(&mut self) -> [&mut [f64]; 2] {
        [&mut self.theta, &mut self.w].map(std::slice::from_mut)
    }

    fn point(&self) -> Point {
        Point { theta: self.theta, sigma: 0.0, w: self.w }
    }
}

impl Game<f64> for Deterministic {
    fn dim(&self, _player: Player) -> usize {
        1
    }

    fn gradient(&mut self, of: Player, wrt: Player, out: &mut [f64]) -> Result<()> {
        let Self { theta, w } = *self;
        // e = Q_w(theta) - R(theta)
        let e = w * theta + REWARD * theta * theta;
        out.fill(match (of, wrt) {
            (Player::Leader, Player::Leader) => -w,
            (Player::Leader, Player::Follower) => -theta,
            (Player::Follower, Player::Leader) => 2.0 * e * (w + 2.0 * REWARD * theta),
            (Player::Follower, Player::Follower) => 2.0 * e * theta,
        });
        Ok(())
    }

    fn follower_hvp(&mut self, v: &[f64], out: &mut [f64]) -> Result<()> {
        // D22 f2 = 2 theta^2
        out.fill(2.0 * self.theta * self.theta * v[0]);
        Ok(())
    }

    fn cross_vjp(&mut self, x: &[f64], out: &mut [f64]) -> Result<()> {
        let Self { theta, w } = *self;
        // D12 f2 = D1 (2 e theta) = 4 w theta + 6/5 theta^2
        out.fill((4.0 * w * theta + 6.0 * REWARD * theta * theta) * x[0]);
        Ok(())
    }

    fn leader_hvp(&mut self, _v: &[f64], out: &mut [f64]) -> Result<()> {
        out.fill(0.0);
        Ok(())
    }

    fn objective(&mut self, of: Player) -> Result<f64> {
        let Self { theta, w } = *self;
        Ok(match of {
            Player::Leader => -w * theta,
            Player::Follower => (w * theta + REWARD * theta * theta).powi(2),
        })
    }
}
