//! Gauss-Newton in the space of the batch: `K = J J'` and `J D2 f1` layer by layer, without `J`.
//!
//! `J` is the Jacobian of critic `b` at the actions of the batch, `J~` that at the policy's actions. Their rows consist of
//! the layers' outer products `d_li [a_li, 1]'`. The leader's gradient is `D2 f1 = J~' u` with `u_j = -1/B`, over the rows
//! `j` where critic `b` is the minimum. Then
//!
//! ```text
//! K       = sum_l K_l,        K_l      = (A_l A_l' + 1) o (D_l D_l')
//! J D2 f1 = sum_l K~_l u,     K~_l     = (A_l A~_l' + 1) o (D_l D~_l')
//!                             K~_l u   = rowsum (D_l o (A_l V_l' + 1 v_l'))
//!         with the gradient   [V_l, v_l] = (u o D~_l)' [A~_l, 1]
//! ```
//!
//! Of the two forms of `K~_l u` the cheaper one is used: the second for narrow layers.

use super::batch_slice::BatchSlice;
use super::matrix::{product, rows, symmetric};
use super::pass::layer_gradient;
use super::spec::Spec;
use crate::flat::{self, Scalar, vectorised};
use crate::nn::Layer;
use faer::Accum;
use std::ops::Range;

/// The rows of `K` and `J D2 f1`, of every block, that belong to the samples of one slice.
#[derive(Clone, Default)]
pub(super) struct GramRows<T> {
    pub samples: Range<usize>,
    /// Rows of `K` up to the diagonal, block by block.
    pub k: Vec<Vec<T>>,
    /// `J D2 f1`, block by block.
    pub outputs: Vec<Vec<T>>,
    /// `A A'` and `D D'` of one layer, and the sum of `K~_l`: rows of this slice, columns of another.
    aa: Vec<T>,
    dd: Vec<T>,
    chosen: Vec<T>,
    /// `u` of the other slice.
    u: Vec<T>,
    /// `[V, v]`, and `u o D~` or `A V' + 1 v'`.
    gradient: Vec<T>,
    tangent: Vec<T>,
}

impl<T: Scalar> GramRows<T> {
    /// Work space for rows `samples` of a batch whose slices have at most `widest` samples.
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

    /// Computes the rows of slice `own` against the samples of all `slices`.
    pub fn compute(&mut self, spec: &Spec, slices: &[BatchSlice<T>], own: usize) {
        let batch: usize = slices.iter().map(|slice| slice.samples.len()).sum();
        for block in 0..spec.critics {
            self.outputs[block].fill(T::zero());
            for (number, slice) in slices.iter().enumerate() {
                if number <= own {
                    self.add_taken(spec, &slices[own], slice, block, number == own);
                }
                self.add_chosen(spec, &slices[own], slice, block, batch);
            }
        }
    }

    /// Rows `own` and columns `other` of `K`, up to the diagonal if they are the `same` slice.
    fn add_taken(
        &mut self,
        spec: &Spec,
        own: &BatchSlice<T>,
        other: &BatchSlice<T>,
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

    /// Adds to rows `own` of `J D2 f1` what the policy's actions in `other` contribute.
    fn add_chosen(
        &mut self,
        spec: &Spec,
        own: &BatchSlice<T>,
        other: &BatchSlice<T>,
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
                let scaled = &mut tangent[..n * layer.outputs];
                layer_gradient(layer, other, (l, u), scaled, (v, bias));
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

/// Whether `K~_l u`, of `m` rows and `n` columns, is cheaper through the gradient than through `K~_l`:
/// `(m + n) inputs outputs` against `m n (inputs + outputs)` multiply-adds.
fn by_gradient(layer: &Layer, m: usize, n: usize) -> bool {
    (m + n) * layer.inputs * layer.outputs < m * n * (layer.inputs + layer.outputs)
}

/// `k = (aa + 1) o dd` for the `first` layer, `k += (aa + 1) o dd` for later ones, in rows of length `n`.
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
