//! Gauss-Newton in the space of the batch: `K = J J'` and `J D2 f1` layer by layer, without `J`.
//!
//! Row `i` of the Jacobian `J` of critic `b` at the actions taken is made of the layers' outer products
//! `d_li [a_li, 1]'`; so is row `j` of `Jt` at the policy's actions, with `d~` and `a~`. With `c_bj` 1
//! where the actor's loss takes critic `b`, and 0 elsewhere,
//!
//! ```text
//! K  = J J'  = sum_l (A_l A_l'  + 1) o (D_l D_l')
//! Kt = J Jt' = sum_l (A_l A~_l' + 1) o (D_l D~_l')
//! J D2 f1    = -(1/B) Kt c_b
//! ```

use super::matrix::{product, rows, symmetric};
use super::shard::Shard;
use super::valuation::Stage;
use super::{FusedGame, Spec};
use crate::error::{Error, Result};
use crate::flat::{Scalar, vectorised};
use crate::game::LeastSquares;
use faer::Accum;

/// `K` and `J D2 f1` of every block.
#[derive(Clone, Default)]
pub(super) struct Grams<T> {
    ready: bool,
    /// `K`, block by block.
    k: Vec<Vec<T>>,
    /// `J D2 f1`, block by block.
    outputs: Vec<T>,
    /// `-(1/B) c_b`
    shares: Vec<T>,
    /// `A A'` and `D D'` of one layer.
    aa: Vec<T>,
    dd: Vec<T>,
}

impl<T: Scalar> Grams<T> {
    /// For a batch of `samples`.
    pub fn new(samples: usize, blocks: usize) -> Self {
        let square = vec![T::zero(); samples * samples];
        Self {
            ready: false,
            k: vec![square.clone(); blocks],
            outputs: vec![T::zero(); blocks * samples],
            shares: vec![T::zero(); samples],
            aa: square.clone(),
            dd: square,
        }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.ready = false;
    }

    fn compute(&mut self, spec: &Spec, shard: &Shard<T>) {
        let Self { k, outputs, shares, aa, dd, .. } = self;
        let samples = shares.len();
        let blocks = k.iter_mut().zip(outputs.chunks_exact_mut(samples));
        for (b, (k, outputs)) in blocks.enumerate() {
            shard.now.shares(b, T::of(-1.0 / samples as f64), shares);
            k.fill(T::zero());
            outputs.fill(T::zero());
            let (taken, chosen) = (&shard.taken[b], &shard.now.critics[b]);
            for (l, layer) in spec.critic.layers.iter().enumerate() {
                let (a, d) = (rows(&taken.a[l], layer.inputs), rows(&taken.d[l], layer.outputs));
                let (a_chosen, d_chosen) =
                    (rows(&chosen.a[l], layer.inputs), rows(&chosen.d[l], layer.outputs));

                // K += (A A' + 1) o (D D'), below the diagonal
                symmetric(aa, a);
                symmetric(dd, d);
                add_hadamard(aa, dd, k);

                // J D2 f1 += -(1/B) ((A A~' + 1) o (D D~')) c
                product(aa, Accum::Replace, a, a_chosen.transpose());
                product(dd, Accum::Replace, d, d_chosen.transpose());
                add_weighted_rows(aa, dd, shares, outputs);
            }
            mirror(k, samples);
        }
    }
}

/// `k += (aa + 1) o dd`
fn add_hadamard<T: Scalar>(aa: &[T], dd: &[T], k: &mut [T]) {
    vectorised(|| {
        for ((k, &aa), &dd) in k.iter_mut().zip(aa).zip(dd) {
            *k += (aa + T::one()) * dd;
        }
    });
}

/// `out += ((aa + 1) o dd) u`
fn add_weighted_rows<T: Scalar>(aa: &[T], dd: &[T], u: &[T], out: &mut [T]) {
    let rows = aa.chunks_exact(u.len()).zip(dd.chunks_exact(u.len()));
    for (out, (aa, dd)) in out.iter_mut().zip(rows) {
        let terms = aa.iter().zip(dd).zip(u);
        *out += terms.map(|((&aa, &dd), &u)| (aa + T::one()) * dd * u).sum::<T>();
    }
}

/// Copies what is below the diagonal to above it.
fn mirror<T: Copy>(k: &mut [T], n: usize) {
    for i in 0..n {
        for j in 0..i {
            k[j * n + i] = k[i * n + j];
        }
    }
}

impl<T: Scalar> FusedGame<'_, T> {
    fn grams(&mut self) -> &Grams<T> {
        if !self.space.grams.ready {
            self.each(|shard, spec, point| {
                shard.reach_taken(spec, point);
                shard.reach_now(Stage::Criticised, spec, point);
            });
            let space = &mut *self.space;
            for shard in &space.shards {
                space.grams.compute(self.spec, shard);
            }
            space.grams.ready = true;
        }
        &self.space.grams
    }
}

impl<T: Scalar> LeastSquares<T> for FusedGame<'_, T> {
    fn samples(&self) -> usize {
        self.space.samples
    }

    fn blocks(&self) -> usize {
        self.spec.critics
    }

    fn gram(&mut self, block: usize, k: &mut [T]) -> Result<()> {
        let Some(gram) = self.grams().k.get(block) else {
            let reason = "there is no such block of follower outputs";
            return Err(Error::config("solver", block, reason));
        };
        k.copy_from_slice(gram);
        Ok(())
    }

    fn jacobian_leader_gradient(&mut self, out: &mut [T]) -> Result<()> {
        out.copy_from_slice(&self.grams().outputs);
        Ok(())
    }

    fn jacobian(&mut self, v: &[T], out: &mut [T]) -> Result<()> {
        self.each(|shard, spec, point| shard.jacobian(spec, point, v));
        for (b, out) in out.chunks_exact_mut(self.space.samples).enumerate() {
            for shard in &self.space.shards {
                out[shard.samples.clone()].copy_from_slice(shard.taken[b].output_t());
            }
        }
        Ok(())
    }

    fn jacobian_transpose(&mut self, u: &[T], out: &mut [T]) -> Result<()> {
        let samples = self.space.samples;
        self.each(|shard, spec, point| {
            shard.reach_taken(spec, point);
            shard.weigh_taken(|shard, b, i| u[b * samples + shard.samples.start + i]);
        });
        self.sum_taken(out);
        Ok(())
    }

    fn cross_vjp_of_outputs(&mut self, u: &[T], out: &mut [T]) -> Result<()> {
        // (2/B) sum_bi u_bi (-D_theta y_i)
        let (samples, two) = (self.space.samples, self.over_samples(2.0));
        let u = |shard: &Shard<T>, b, i| -two * u[b * samples + shard.samples.start + i];
        self.targets_vjp(u, out);
        Ok(())
    }
}
