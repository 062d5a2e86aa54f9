//! Sums over the rows of a batch: gradients from the scaled rows of passes, and their tangents.
//!
//! The result is split into spans of parameters, one per thread, that end between rows of weights. Each span is summed in
//! the order of the batch slices. The split is fixed, so results do not depend on timing.

use super::matrix::{add_rows, product, rows};
use super::pass::Pass;
use crate::flat::Scalar;
use crate::nn::Layer;
use crate::threads;
use faer::{Accum, MatRef};
use std::ops::Range;

/// Some rows of one layer's weights; with the last row, the biases too.
pub(super) struct RowSpan<'a, T> {
    pub block: usize,
    /// Index of the layer.
    pub l: usize,
    pub layer: &'a Layer,
    pub rows: Range<usize>,
    pub weight: &'a mut [T],
    /// Empty unless the last row is among `rows`.
    pub bias: &'a mut [T],
}

/// Runs `f` on all of `out`, the parameters of one or more networks with these `layers`. `threads` threads get about the
/// same number of parameters each.
pub(super) fn for_each_span<T: Scalar>(
    threads: usize,
    layers: &[Layer],
    out: &mut [T],
    f: &(impl Fn(RowSpan<'_, T>) + Sync),
) {
    split(threads, layers, 0, out, f);
}

/// The same, where `out` begins at parameter `start`.
fn split<T: Scalar>(
    threads: usize,
    layers: &[Layer],
    start: usize,
    out: &mut [T],
    f: &(impl Fn(RowSpan<'_, T>) + Sync),
) {
    if threads <= 1 {
        return walk(layers, start, out, f);
    }
    let first = threads / 2;
    let middle = start + out.len() * first / threads;
    let Some(place) = Place::of(layers, middle) else { return };
    let (one, two) = out.split_at_mut((middle - start).saturating_sub(place.beyond_row()));
    let middle = start + one.len();
    threads::join(
        threads,
        || split(first, layers, start, one, f),
        || split(threads - first, layers, middle, two, f),
    );
}

fn walk<T: Scalar>(
    layers: &[Layer],
    mut start: usize,
    mut out: &mut [T],
    f: &impl Fn(RowSpan<'_, T>),
) {
    while let Some(Place { block, l, layer, within }) =
        Place::of(layers, start).filter(|_| !out.is_empty())
    {
        let len = (layer.weight.len() + layer.bias.len() - within).min(out.len());
        let (own, rest) = out.split_at_mut(len);
        let (weight, bias) = own.split_at_mut(layer.weight.len().saturating_sub(within).min(len));
        let first = within.min(layer.weight.len()) / layer.inputs;
        let rows = first..first + weight.len() / layer.inputs;
        f(RowSpan { block, l, layer, rows, weight, bias });
        (start, out) = (start + len, rest);
    }
}

/// The position of a parameter.
struct Place<'a> {
    block: usize,
    l: usize,
    layer: &'a Layer,
    /// Offset within the layer.
    within: usize,
}

impl<'a> Place<'a> {
    fn of(layers: &'a [Layer], at: usize) -> Option<Self> {
        let first = layers.first()?.weight.start;
        let len = layers.last()?.bias.end - first;
        let (block, at) = (at / len, first + at % len);
        let l = layers.iter().position(|layer| at < layer.bias.end)?;
        let layer = &layers[l];
        Some(Self { block, l, layer, within: at - layer.weight.start })
    }

    /// Offset within the row of weights, or within the biases.
    fn beyond_row(&self) -> usize {
        match self.within.checked_sub(self.layer.weight.len()) {
            Some(in_bias) => in_bias,
            None => self.within % self.layer.inputs,
        }
    }
}

impl<T: Scalar> RowSpan<'_, T> {
    /// `W = sum x' y` over the pairs `(x, y)` in `parts`, in these rows.
    pub fn sum_products<'p>(&mut self, parts: impl Iterator<Item = [MatRef<'p, T>; 2]>) {
        if self.rows.is_empty() {
            return;
        }
        let mut add = Accum::Replace;
        for [x, y] in parts {
            let x = x.subcols(self.rows.start, self.rows.len());
            product(self.weight, add, x.transpose(), y);
            add = Accum::Add;
        }
        if add == Accum::Replace {
            self.weight.fill(T::zero());
        }
    }

    /// `b = sum x' 1` over the `x` in `parts`, row-major.
    pub fn sum_rows<'p>(&mut self, parts: impl Iterator<Item = &'p [T]>) {
        if self.bias.is_empty() {
            return;
        }
        self.bias.fill(T::zero());
        parts.for_each(|x| add_rows(x, self.bias));
    }

    /// The gradient after [`Pass::scale_rows`], summed over `passes`.
    pub fn gradient<'p>(&mut self, passes: impl Iterator<Item = &'p Pass<T>> + Clone) {
        // D W = (u o d)' a;  D b = (u o d)' 1
        let (l, layer) = (self.l, self.layer);
        let of = |p: &'p Pass<T>| [rows(&p.scaled[l], layer.outputs), rows(&p.a[l], layer.inputs)];
        self.sum_products(passes.clone().map(of));
        self.sum_rows(passes.map(|p| &*p.scaled[l]));
    }

    /// The tangent of the gradient after [`Pass::scale_rows_tangent`], summed over `passes`. Not for a layer that
    /// [`super::last_hidden`] sums. `inputs` as in [`Pass::tangent`].
    pub fn gradient_tangent<'p>(
        &mut self,
        passes: impl Iterator<Item = &'p Pass<T>> + Clone,
        inputs: bool,
    ) {
        // D^ W = (u^ o d + u o d^)' a + (u o d)' a^;  D^ b = (u^ o d + u o d^)' 1
        let (l, layer) = (self.l, self.layer);
        let parts = passes.clone().flat_map(|p| {
            let of = |x, y| [rows(x, layer.outputs), rows(y, layer.inputs)];
            let first = (!p.second_order_zero).then(|| of(&p.scaled_t[l], &p.a[l]));
            let second = (l > 0 || inputs).then(|| of(&p.scaled[l], &p.a_t[l]));
            first.into_iter().chain(second)
        });
        self.sum_products(parts);
        self.sum_rows(passes.filter(|p| !p.second_order_zero).map(|p| &*p.scaled_t[l]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Activation, Mlp};
    use std::sync::Mutex;

    /// For any number of threads, every parameter lies in exactly one span, at the position that the span says.
    #[test]
    fn spans_cover_all_parameters_once() {
        let shape = Mlp::new(3, &[5, 4], 2, Activation::Relu);
        for (blocks, threads) in [(1, 1), (1, 2), (2, 2), (2, 3), (3, 8), (1, 100)] {
            let mut out = vec![0.0_f64; blocks * shape.dim()];
            let starts = Mutex::new(Vec::new());
            for_each_span(threads, &shape.layers, &mut out, &|s| {
                assert_eq!(s.weight.len(), s.rows.len() * s.layer.inputs);
                assert!(s.bias.is_empty() || s.bias.len() == s.layer.outputs);
                let weights = s.block * shape.dim() + s.layer.weight.start;
                let first = weights + s.rows.start * s.layer.inputs;
                let bias = s.block * shape.dim() + s.layer.bias.start;
                s.weight.iter_mut().zip(first..).for_each(|(x, at)| *x += at as f64);
                s.bias.iter_mut().zip(bias..).for_each(|(x, at)| *x += at as f64);
                if let Ok(mut starts) = starts.lock() {
                    starts.push(first);
                }
            });
            assert!(out.iter().zip(0..).all(|(&x, at)| x == f64::from(at)), "{blocks} {threads}");
            assert!(starts.into_inner().is_ok_and(|s| s.len() >= blocks * shape.layers.len()));
        }
    }
}
