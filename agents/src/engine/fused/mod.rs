//! Closed-form kernels for actor-critics with perceptrons, on the CPU. They compute the same as the autograd engine,
//! their specification, without what an update does not need.
//!
//! The two objectives of DDPG, TD3 and SAC are sums over samples of scalars that the networks give,
//!
//! ```text
//! f_actor  = -(1/B) sum_i V(s_i),                     V(s) = min_b Q_b(s, pi(s)) - eta log pi
//! f_critic = (1/B) sum_bi (q_bi - y_i)^2,             q_bi = Q_b(s_i, a_i)
//! y_i      = r_i + gamma (1 - d_i) V_0(s'_i)
//! ```
//!
//! so every derivative is a pass over the rows of the batch (`pass`, `policy`, `soft_value`, `batch_slice`) and then one
//! sum over rows, a matrix product (`reduce`, `matrix`). A frozen game (`game`) computes only what it is asked for, and
//! caches each part.

mod actor_outputs;
mod actor_rows;
mod batch_slice;
mod game;
mod gram;
mod last_hidden;
mod matrix;
mod outputs;
mod pass;
mod policy;
mod reduce;
mod soft_value;
mod spec;

pub use game::FusedGame;
pub use matrix::{Products, products};
pub use spec::Spec;

use super::{Engine, Point, Role};
use crate::error::Result;
use crate::flat::Scalar;
use crate::memory::Batch;
use crate::threads;
use game::Space;

/// The engine and the work space of its games.
#[derive(Clone)]
pub struct Fused<T> {
    spec: Spec,
    threads: usize,
    space: Space<T>,
}

impl<T: Scalar> Fused<T> {
    /// An engine for the algorithm that `spec` describes, on [`threads::count`] threads.
    pub fn new(spec: Spec) -> Self {
        Self { spec, threads: threads::count(), space: Space::default() }
    }

    /// The same engine with batches split into `threads` slices, each computed by one thread. Results depend on
    /// `threads` in the last digits, and never on timing.
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads, space: Space::default(), ..self }
    }
}

impl<T: Scalar> Engine<T, Batch<T>> for Fused<T> {
    type Frozen<'a>
        = FusedGame<'a, T>
    where
        Self: 'a;

    fn freeze<'a>(
        &'a mut self,
        point: Point<'a, T, Batch<T>>,
        leader: Role,
    ) -> Result<FusedGame<'a, T>> {
        let samples = point.batch.size;
        if self.space.samples != samples {
            self.space = Space::new(&self.spec, samples, self.threads);
        }
        self.space.reset();
        Ok(FusedGame { spec: &self.spec, space: &mut self.space, point, leader })
    }
}
