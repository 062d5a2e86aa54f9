//! Gauss-Newton in the space of the batch: `K = J J'` and `J D2 f1` layer by layer, without `J`.
//!
//! Row `i` of the Jacobian `J` of critic `b` at the actions taken is made of the layers' outer products
//! `d_li [a_li, 1]'`; so is row `j` of `J~` at the policy's actions. The leader's loss weighs row `j` by
//! `u_j = -1/B`; rows where critic `b` is not the least are left out: `D2 f1 = J~' u`. Then
//!
//! ```text
//! K       = sum_l K_l,        K_l      = (A_l A_l' + 1) o (D_l D_l')
//! J D2 f1 = sum_l K~_l u,     K~_l     = (A_l A~_l' + 1) o (D_l D~_l')
//!                             K~_l u   = rowsum (D_l o (A_l V_l' + 1 v_l'))
//!         with the gradient   [V_l, v_l] = (u o D~_l)' [A~_l, 1]
//! ```
//!
//! Of the two forms of `K~_l u` the cheaper one is taken: the second for narrow layers.

use super::matrix::{product, rows, symmetric};
use super::pass::layer_gradient;
use super::shard::Shard;
use super::valuation::Stage;
use super::{FusedGame, Space, Spec, for_each};
use crate::error::{Error, Result};
use crate::flat::{self, Scalar, vectorised};
use crate::game::LeastSquares;
use crate::nn::Layer;
use faer::Accum;
use std::ops::Range;

/// Of every block, the rows of `K` and of `J D2 f1` that belong to the samples of one shard.
#[derive(Clone, Default)]
pub(super) struct GramRows<T> {
    samples: Range<usize>,
    /// Rows of `K` up to the diagonal, block by block.
    k: Vec<Vec<T>>,
    /// `J D2 f1`, block by block.
    outputs: Vec<Vec<T>>,
    /// `A A'` and `D D'` of one layer, and the sum of `K~_l`, for rows of this shard and columns of
    /// another.
    aa: Vec<T>,
    dd: Vec<T>,
    chosen: Vec<T>,
    /// `u` of the other shard.
    u: Vec<T>,
    /// `[V, v]`, and `u o D~` or `A V' + 1 v'`.
    gradient: Vec<T>,
    tangent: Vec<T>,
}

impl<T: Scalar> GramRows<T> {
    /// For rows `samples` of a batch whose shards have `widest` samples at most.
    pub fn new(spec: &Spec, samples: Range<usize>, widest: usize) -> Self {
        let zeros = |len: usize| vec![T::zero(); len];
        let layers = spec.critic.layers.iter();
        let (count, blocks) = (samples.len(), spec.critics);
        Self {
            k: vec![zeros(count * samples.end); blocks],
            outputs: vec![zeros(count); blocks],
            aa: zeros(count * widest),
            dd: zeros(count * widest),
            chosen: zeros(count * widest),
            u: zeros(widest),
            gradient: zeros(layers.clone().map(|l| l.bias.end - l.weight.start).max().unwrap_or(0)),
            tangent: zeros(layers.map(|l| widest * l.outputs).max().unwrap_or(0)),
            samples,
        }
    }

    /// Against the samples of all `shards`, of which this is number `own`.
    pub fn compute(&mut self, spec: &Spec, shards: &[Shard<T>], own: usize) {
        let batch: usize = shards.iter().map(|shard| shard.samples.len()).sum();
        for block in 0..spec.critics {
            self.outputs[block].fill(T::zero());
            for (number, shard) in shards.iter().enumerate() {
                if number <= own {
                    self.add_taken(spec, &shards[own], shard, block, number == own);
                }
                self.add_chosen(spec, &shards[own], shard, block, batch);
            }
        }
    }

    /// Rows `own` and columns `other` of `K`; if they are the same, up to the diagonal.
    fn add_taken(
        &mut self,
        spec: &Spec,
        own: &Shard<T>,
        other: &Shard<T>,
        block: usize,
        same: bool,
    ) {
        let (m, n) = (own.samples.len(), other.samples.len());
        let (aa, dd) = (&mut self.aa[..m * n], &mut self.dd[..m * n]);
        let (width, columns) = (self.samples.end, other.samples.clone());
        let (own, other) = (&own.taken[block], &other.taken[block]);
        for (l, layer) in spec.critic.layers.iter().enumerate() {
            // K_l = (A A' + 1) o (D D')
            let (a, d) = (rows(&own.a[l], layer.inputs), rows(&own.d[l], layer.outputs));
            if same {
                symmetric(aa, a);
                symmetric(dd, d);
            } else {
                product(aa, Accum::Replace, a, rows(&other.a[l], layer.inputs).transpose());
                product(dd, Accum::Replace, d, rows(&other.d[l], layer.outputs).transpose());
            }
            let k = self.k[block].chunks_exact_mut(width).map(|k| &mut k[columns.clone()]);
            set_or_add_hadamard(l == 0, [aa, dd], n, k);
        }
    }

    /// The part of `J D2 f1` in rows `own` that comes from the policy's actions in `other`.
    fn add_chosen(
        &mut self,
        spec: &Spec,
        own: &Shard<T>,
        other: &Shard<T>,
        block: usize,
        batch: usize,
    ) {
        // Only rows j with u_j != 0.
        let (m, n) = (own.samples.len(), other.now.least_rows(block));
        if n == 0 {
            return;
        }
        let Self { aa, dd, chosen, u, gradient, tangent, .. } = self;
        let (aa, dd, chosen) = (&mut aa[..m * n], &mut dd[..m * n], &mut chosen[..m * n]);
        let (u, outputs) = (&mut u[..n], &mut self.outputs[block]);
        u.fill(T::of(-1.0 / batch as f64));
        let (own, other) = (&own.taken[block], &other.now.critics[block]);

        let mut first = true;
        for (l, layer) in spec.critic.layers.iter().enumerate() {
            let (a, d) = (rows(&own.a[l], layer.inputs), &own.d[l]);
            if by_gradient(layer, m, n) {
                // K~_l u = rowsum (D o (A V' + 1 v'))
                let (v, bias) = gradient.split_at_mut(layer.weight.len());
                let bias = &mut bias[..layer.outputs];
                let weighted = &mut tangent[..n * layer.outputs];
                layer_gradient(layer, other, (l, u), weighted, (v, bias));
                let tangent = &mut tangent[..m * layer.outputs];
                product(tangent, Accum::Replace, a, rows(v, layer.inputs).transpose());
                let rows = d.chunks_exact(layer.outputs).zip(tangent.chunks_exact(layer.outputs));
                for (out, (d, tangent)) in outputs.iter_mut().zip(rows) {
                    let [term] = flat::dots([d, tangent, bias], |[d, z, v]| [d * (z + v)]);
                    *out += term;
                }
            } else {
                // K~_l = (A A~' + 1) o (D D~')
                product(aa, Accum::Replace, a, rows(&other.a[l], layer.inputs).transpose());
                let d_other = rows(&other.d[l], layer.outputs).transpose();
                product(dd, Accum::Replace, rows(d, layer.outputs), d_other);
                let first = std::mem::take(&mut first);
                set_or_add_hadamard(first, [aa, dd], n, chosen.chunks_exact_mut(n));
            }
        }
        if !first {
            for (out, row) in outputs.iter_mut().zip(chosen.chunks_exact(n)) {
                *out += flat::dot(row, u);
            }
        }
    }
}

/// Whether `K~_l u`, for `m` rows against `n`, is cheaper through the gradient than through `K~_l`:
/// `m + n` products of `inputs x outputs` against `m n` of `inputs + outputs`.
fn by_gradient(layer: &Layer, m: usize, n: usize) -> bool {
    (m + n) * layer.inputs * layer.outputs < m * n * (layer.inputs + layer.outputs)
}

/// `k = (aa + 1) o dd`, or `k += ..` if it is not the `first`, in rows of length `n`.
fn set_or_add_hadamard<'k, T: Scalar>(
    first: bool,
    [aa, dd]: [&[T]; 2],
    n: usize,
    k: impl Iterator<Item = &'k mut [T]>,
) {
    let rows = k.zip(aa.chunks_exact(n).zip(dd.chunks_exact(n)));
    vectorised(|| {
        for (k, (aa, dd)) in rows {
            for (k, (&aa, &dd)) in k.iter_mut().zip(aa.iter().zip(dd)) {
                let before = if first { T::zero() } else { *k };
                *k = before + (aa + T::one()) * dd;
            }
        }
    });
}

impl<T: Scalar> FusedGame<'_, T> {
    fn grams(&mut self) -> &[GramRows<T>] {
        if !self.space.has_grams {
            if !self.space.shards.iter().all(Shard::has_derivatives) {
                self.each(Shard::reach_taken);
            }
            self.reach_now(Stage::Criticised);
            let Space { shards, grams, .. } = &mut *self.space;
            let (spec, shards) = (self.spec, &*shards);
            for_each(grams, &|own, gram: &mut GramRows<T>| gram.compute(spec, shards, own));
            self.space.has_grams = true;
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
        if block >= self.blocks() {
            let reason = "there is no such block of follower outputs";
            return Err(Error::config("solver", block, reason));
        }
        let n = self.samples();
        for gram in self.grams() {
            let rows = gram.k[block].chunks_exact(gram.samples.end);
            for (i, row) in gram.samples.clone().zip(rows) {
                k[i * n..=i * n + i].copy_from_slice(&row[..=i]);
            }
        }
        for i in 0..n {
            for j in 0..i {
                k[j * n + i] = k[i * n + j];
            }
        }
        Ok(())
    }

    fn jacobian_leader_gradient(&mut self, out: &mut [T]) -> Result<()> {
        for (block, out) in out.chunks_exact_mut(self.space.samples).enumerate() {
            for gram in self.grams() {
                out[gram.samples.clone()].copy_from_slice(&gram.outputs[block]);
            }
        }
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
        self.sum_gradient(&self.spec.critic, |shard, b| &shard.taken[b], out);
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
