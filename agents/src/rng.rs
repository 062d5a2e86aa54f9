//! The run's own generators: one stream per purpose, all from one seed.

use crate::flat::Scalar;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

/// What a generator is for. Each purpose is a ChaCha stream of its own, so that drawing more of one
/// leaves the others untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Initial weights of the actor.
    Actor = 1,
    /// Initial weights of the critic.
    Critic = 2,
    /// Random actions and exploration noise.
    Exploration = 3,
    /// Sampling from the replay buffer.
    Replay = 4,
    /// Noise within updates: of reparameterised actions, and of the control that has random signs.
    Policy = 5,
    /// Minibatches and start vectors of eigenvalue estimates.
    Diagnostics = 6,
    /// Test matrices of randomised solvers.
    Solver = 7,
}

/// A seeded, serialisable generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// The generator of `seed` for `purpose`.
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(purpose as u64);
        Self(rng)
    }

    /// Uniform in `[low, high)`.
    pub fn uniform<T: Scalar>(&mut self, low: f64, high: f64) -> T {
        T::of(low + (high - low) * self.0.random::<f64>())
    }

    /// Standard normal.
    pub fn normal<T: Scalar>(&mut self) -> T {
        let x: f64 = self.0.sample(StandardNormal);
        T::of(x)
    }

    /// 1 or -1, with equal chances.
    pub fn signs<T: Scalar>(&mut self, out: &mut [T]) {
        for out in out.chunks_mut(u64::BITS as usize) {
            let bits: u64 = self.0.random();
            for (i, sign) in out.iter_mut().enumerate() {
                *sign = T::of(if bits >> i & 1 == 1 { 1.0 } else { -1.0 });
            }
        }
    }

    /// Uniform in `0..n`.
    pub fn index(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }
}
