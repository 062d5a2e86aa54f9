//! Rows of the Jacobian of the actions before `tanh`, `x_ik`, by the actor's parameters, and their Gram matrix. Row `(i, k)`
//! consists of the layers' outer products `d_l [a_l, 1]'`, with `a_l` of sample `i` and
//!
//! ```text
//! d_L = D_z x_ik,       d_{l-1} = (d_l W_l) o phi'(z_{l-1})
//! K   = sum_l (A_l A_l' + 1) o (D_l D_l')
//! ```
//!
//! where `A_l` has a row per sample, so that its products are taken once for all components.

use super::batch_slice::BatchSlice;
use super::matrix::{product, product_above, rows};
use super::pass::{Net, times_derivative};
use super::soft_value::SoftValue;
use super::spec::Spec;
use crate::flat::{self, Scalar, vectorised};
use faer::Accum;

/// The rows of one slice of the batch. Numbers of rows vary from update to update; there is room for all.
#[derive(Clone, Default)]
pub(super) struct ActorRows<T> {
    /// Which rows, and their `d_l`.
    computed: Rows<T>,
    /// `K_rr` of these.
    diagonal: Vec<T>,
    /// Those of them that count.
    kept: Rows<T>,
}

/// Work space for one slice's share of the Gram matrix: `A A'` and `D D'` of one layer against other slices, and a row of the
/// first as wide as one of the second.
#[derive(Clone, Default)]
pub(super) struct GramSpace<T> {
    aa: Vec<T>,
    dd: Vec<T>,
    wide: Vec<T>,
}

#[derive(Clone, Default)]
struct Rows<T> {
    /// Sample and component in one number, `i m + k`, within the slice.
    index: Vec<usize>,
    d: Vec<Vec<T>>,
}

impl<T: Scalar> ActorRows<T> {
    /// Forgets everything.
    pub fn reset(&mut self) {
        self.computed.index.clear();
        self.kept.index.clear();
    }

    /// How many count.
    pub fn len(&self) -> usize {
        self.kept.index.len()
    }

    /// Computes `d_l` of `own` rows.
    pub fn compute(
        &mut self,
        spec: &Spec,
        actor: &[T],
        now: &SoftValue<T>,
        own: impl Iterator<Item = usize>,
    ) {
        let Rows { index, d } = &mut self.computed;
        let (layers, m) = (&spec.actor.layers, spec.action_dim());
        let room = now.policy.actions.len();
        index.clear();
        index.reserve(room);
        index.extend(own);
        d.resize_with(layers.len(), Vec::new);
        for (d, layer) in d.iter_mut().zip(layers) {
            d.reserve((room * layer.outputs).saturating_sub(d.len()));
            d.resize(index.len() * layer.outputs, T::zero());
        }
        if let (Some(last), Some(layer)) = (d.last_mut(), layers.last()) {
            last.fill(T::zero());
            for (row, &at) in last.chunks_exact_mut(layer.outputs).zip(&*index) {
                now.policy.by_output(at, row);
            }
        }
        let net = Net { shape: &spec.actor, params: actor };
        for (l, layer) in layers.iter().enumerate().skip(1).rev() {
            // d_{l-1} = (d_l W_l) o phi'(z_{l-1})
            let (before, after) = d.split_at_mut(l);
            let (before, after) = (&mut before[l - 1], &after[0]);
            product(before, Accum::Replace, rows(after, layer.outputs), net.weight(layer));
            let a = &now.actor.a[l];
            for (before, &at) in before.chunks_exact_mut(layer.inputs).zip(&*index) {
                let sample = at / m;
                let a = &a[sample * layer.inputs..(sample + 1) * layer.inputs];
                times_derivative(spec.actor.activation, before, a);
            }
        }
    }

    /// Computes `K_rr = sum_l (|a_l|^2 + 1) |d_l|^2`.
    pub fn reach_diagonal(&mut self, spec: &Spec, now: &SoftValue<T>) {
        let Rows { index, d } = &self.computed;
        self.diagonal.clear();
        self.diagonal.resize(index.len(), T::zero());
        for (l, layer) in spec.actor.layers.iter().enumerate() {
            let (mut of, mut squared) = (usize::MAX, T::zero());
            let rows = index.iter().zip(d[l].chunks_exact(layer.outputs));
            for (k, (&at, d)) in self.diagonal.iter_mut().zip(rows) {
                let sample = at / spec.action_dim();
                if sample != of {
                    let a = &now.actor.a[l][sample * layer.inputs..(sample + 1) * layer.inputs];
                    (of, squared) = (sample, flat::dot(a, a) + T::one());
                }
                *k += squared * flat::dot(d, d);
            }
        }
    }

    /// Writes `K_rr` of the computed rows to their places among all of the slice.
    pub fn copy_diagonal(&self, out: &mut [T]) {
        for (&at, &k) in self.computed.index.iter().zip(&self.diagonal) {
            out[at] = k;
        }
    }

    /// Lets `own` rows count, in increasing order.
    pub fn keep(
        &mut self,
        spec: &Spec,
        actor: &[T],
        now: &SoftValue<T>,
        own: impl Iterator<Item = usize> + Clone,
    ) {
        let known = own.clone().all(|row| self.computed.index.binary_search(&row).is_ok());
        if !known {
            self.compute(spec, actor, now, own.clone());
        }
        let Self { computed, kept, .. } = self;
        kept.index.clear();
        kept.index.reserve(now.policy.actions.len());
        kept.index.extend(own);
        kept.d.resize_with(computed.d.len(), Vec::new);
        for ((kept_d, d), layer) in kept.d.iter_mut().zip(&computed.d).zip(&spec.actor.layers) {
            kept_d.clear();
            kept_d.reserve(now.policy.actions.len() * layer.outputs);
            let mut wanted = kept.index.iter().peekable();
            for (row, d) in computed.index.iter().zip(d.chunks_exact(layer.outputs)) {
                if wanted.next_if_eq(&row).is_some() {
                    kept_d.extend_from_slice(d);
                }
            }
        }
    }

    /// Rows of slice `own` of `K`, in the columns on and above the diagonal, from the kept rows of all slices.
    pub fn gram(
        spec: &Spec,
        slices: &[BatchSlice<T>],
        all: &[Self],
        own: usize,
        space: &mut GramSpace<T>,
        k: &mut [T],
    ) {
        let columns: usize = all.iter().map(Self::len).sum();
        let before: usize = all[..own].iter().map(Self::len).sum();
        let rows_own = &all[own].kept;
        if rows_own.index.is_empty() {
            return;
        }
        // Columns from the first row's own on.
        let width = columns - before;
        let (m, samples) = (spec.action_dim(), slices[own].samples.len());
        let others = || slices[own..].iter().zip(&all[own..]);
        let batch: usize = others().map(|(slice, _)| slice.samples.len()).sum();
        let GramSpace { aa, dd, wide } = space;
        for (own, len, room) in [
            (&mut *aa, samples * batch, samples * batch),
            (&mut *dd, rows_own.index.len() * width, samples * m * batch * m),
            (&mut *wide, width, batch * m),
        ] {
            own.reserve(room - own.len().min(room));
            own.resize(len, T::zero());
        }
        for (l, layer) in spec.actor.layers.iter().enumerate() {
            let a = rows(&slices[own].now.actor.a[l], layer.inputs);
            let d = rows(&rows_own.d[l], layer.outputs);
            let (mut at_sample, mut at_row) = (0, 0);
            for (number, (slice, other)) in others().enumerate() {
                let a_other = rows(&slice.now.actor.a[l], layer.inputs);
                product_above((aa, batch, at_sample), number == 0, a, a_other);
                at_sample += slice.samples.len();
                if other.len() > 0 {
                    let d_other = rows(&other.kept.d[l], layer.outputs);
                    product_above((dd, width, at_row), number == 0, d, d_other);
                }
                at_row += other.len();
            }
            // K_l = (A A' + 1) o (D D')
            let mut of = usize::MAX;
            for (r, &at) in rows_own.index.iter().enumerate() {
                let sample = at / m;
                if sample != of {
                    of = sample;
                    let row = &aa[sample * batch..(sample + 1) * batch];
                    let mut first = 0;
                    let mut at_wide = 0;
                    for (slice, other) in others() {
                        for &column in &other.kept.index {
                            let column = first + column / m;
                            // Below the diagonal of A A' nothing is computed, and nothing is needed.
                            wide[at_wide] = if column < sample { T::zero() } else { row[column] };
                            at_wide += 1;
                        }
                        first += slice.samples.len();
                    }
                }
                let k = &mut k[r * columns + before + r..(r + 1) * columns];
                let parts = wide[r..].iter().zip(&dd[r * width + r..(r + 1) * width]);
                vectorised(|| {
                    for (k, (&aa, &dd)) in k.iter_mut().zip(parts) {
                        let sum = if l == 0 { T::zero() } else { *k };
                        *k = sum + (aa + T::one()) * dd;
                    }
                });
            }
        }
    }
}
