//! The last hidden layer of a ReLU critic. Its part of a Hessian-vector product is cheaper than in the general tangent
//! passes.
//!
//! With one output `q = w a_{h+1} + c` and `m = 1[a_{h+1} > 0]`, the layer's derivatives are a mask with
//! scaled columns, `d_h = m o w`, and so are their tangents along `(V, v)`, `d^_h = m o v`. Therefore
//!
//! ```text
//! d^_h W_h + d_h V_h                         = m (diag(v) W_h + diag(w) V_h)
//! (u^ o d_h + u o d^_h)' a + (u o d_h)' a^   = diag(w) m' (u^ o a + u o a^) + diag(v) m' (u o a)
//! ```
//!
//! Each takes one matrix product per direction, where the general passes take two. The last product, `m' (u o a)`, is the
//! same for every direction.

use super::matrix::{product, rows};
use super::pass::{Net, Pass, add_scaled_rows, scale_rows};
use super::reduce::{RowSpan, for_each_span};
use crate::flat::{Scalar, vectorised};
use crate::nn::{Activation, Layer, Mlp};
use faer::Accum;

/// The layer in one critic: what is summed over samples, or does not depend on them.
#[derive(Clone, Default)]
pub(super) struct LastHidden<T> {
    /// `diag(v) W_h + diag(w) V_h`
    pub mixed: Vec<T>,
    /// `m' [u o a, u]`, cached.
    constant: Vec<T>,
    has_constant: bool,
}

/// The layer in one critic, for the samples of one slice.
#[derive(Clone, Default)]
pub(super) struct LastHiddenRows<T> {
    /// `m`
    pub mask: Vec<T>,
    /// `u o a` and `u`
    scaled: Vec<T>,
    u: Vec<T>,
    /// `u^ o a + u o a^` and `u^`
    scaled_t: Vec<T>,
    u_t: Vec<T>,
}

/// Index `h` of the layer, if `shape` has it.
pub(super) fn index(shape: &Mlp) -> Option<usize> {
    let one_output = shape.activation == Activation::Relu && shape.outputs() == 1;
    shape.layers.len().checked_sub(2).filter(|_| one_output)
}

/// Layer `h` of `net`, and the weights `w` of the output layer.
fn layer_and_output<'a, T>(net: Net<'a, T>, h: usize) -> (&'a Layer, &'a [T]) {
    let (layer, output) = (&net.shape.layers[h], &net.shape.layers[h + 1]);
    (layer, &net.params[output.weight.clone()])
}

impl<T: Scalar> LastHiddenRows<T> {
    /// Computes `m` for layer `h` in `pass`.
    pub fn set_mask(&mut self, h: usize, pass: &Pass<T>) {
        let after = &pass.a[h + 1];
        self.mask.resize(after.len(), T::zero());
        vectorised(|| {
            for (mask, &a) in self.mask.iter_mut().zip(after) {
                *mask = if a > T::zero() { T::one() } else { T::zero() };
            }
        });
    }

    /// Scales the rows by `u`, with tangents `u_t`.
    pub fn scale_rows(&mut self, h: usize, pass: &Pass<T>, u: &[T], u_t: &[T]) {
        let (a, a_t) = (&pass.a[h], &pass.a_t[h]);
        self.scaled.resize(a.len(), T::zero());
        self.scaled_t.resize(a.len(), T::zero());
        for (own, given) in [(&mut self.u, u), (&mut self.u_t, u_t)] {
            own.resize(u.len(), T::zero());
            own.copy_from_slice(given);
        }
        scale_rows(&mut self.scaled, a, u);
        scale_rows(&mut self.scaled_t, a_t, u);
        add_scaled_rows(&mut self.scaled_t, a, u_t);
    }
}

impl<T: Scalar> LastHidden<T> {
    /// Clears the cache.
    pub fn reset(&mut self) {
        self.has_constant = false;
    }

    /// Computes `diag(v) W_h + diag(w) V_h` for `direction`.
    pub fn mix(&mut self, h: usize, [net, direction]: [Net<'_, T>; 2]) {
        let ((layer, w), (_, v)) = (layer_and_output(net, h), layer_and_output(direction, h));
        self.mixed.resize(layer.weight.len(), T::zero());
        let weights = net.params[layer.weight.clone()].chunks_exact(layer.inputs);
        let directions = direction.params[layer.weight.clone()].chunks_exact(layer.inputs);
        let scales = v.iter().zip(w);
        let mixed = self.mixed.chunks_exact_mut(layer.inputs);
        vectorised(|| {
            for (mixed, ((weight, direction), (&v, &w))) in
                mixed.zip(weights.zip(directions).zip(scales))
            {
                for (mixed, (&weight, &direction)) in
                    mixed.iter_mut().zip(weight.iter().zip(direction))
                {
                    *mixed = v * weight + w * direction;
                }
            }
        });
    }

    /// Computes `m' [u o a, u]`, summed over `rows`, unless it is cached: it is the same for every direction.
    pub fn reach_constant<'p>(
        &mut self,
        threads: usize,
        layer: &Layer,
        rows: impl Iterator<Item = &'p LastHiddenRows<T>> + Clone + Sync,
    ) {
        if self.has_constant {
            return;
        }
        self.has_constant = true;
        self.constant.resize(layer.weight.len() + layer.bias.len(), T::zero());
        let layers = std::slice::from_ref(layer);
        for_each_span(threads, layers, &mut self.constant, &|mut span| {
            sum(&mut span, rows.clone().map(|r| [&*r.mask, &*r.scaled, &*r.u]));
        });
    }

    /// The tangent of the gradient along `direction` in `span`, summed over `rows`, after
    /// [`LastHidden::reach_constant`].
    pub fn gradient_tangent<'p>(
        &self,
        [net, direction]: [Net<'_, T>; 2],
        rows: impl Iterator<Item = &'p LastHiddenRows<T>> + Clone,
        mut span: RowSpan<'_, T>,
    ) {
        sum(&mut span, rows.map(|r| [&*r.mask, &*r.scaled_t, &*r.u_t]));

        // rows of [D^ W, D^ b] = w_j (m' [u^ o a + u o a^, u^])_j + v_j (m' [u o a, u])_j
        let ((layer, w), (_, v)) =
            (layer_and_output(net, span.l), layer_and_output(direction, span.l));
        let (constant, constant_bias) = self.constant.split_at(layer.weight.len());
        let rows = span.rows.clone().zip(span.weight.chunks_exact_mut(layer.inputs));
        let constant = constant.chunks_exact(layer.inputs).skip(span.rows.start);
        vectorised(|| {
            for ((j, weight), constant) in rows.zip(constant) {
                for (weight, &constant) in weight.iter_mut().zip(constant) {
                    *weight = w[j] * *weight + v[j] * constant;
                }
            }
        });
        let scales = w.iter().zip(v).zip(constant_bias);
        for (bias, ((&w, &v), &constant)) in span.bias.iter_mut().zip(scales) {
            *bias = w * *bias + v * constant;
        }
    }
}

/// `[m' x, m' u]` in `span`, summed over `(m, x, u)`.
fn sum<'p, T: Scalar>(
    span: &mut RowSpan<'_, T>,
    parts: impl Iterator<Item = [&'p [T]; 3]> + Clone,
) {
    let layer = span.layer;
    let of = |mask, x, width| [rows(mask, layer.outputs), rows(x, width)];
    span.sum_products(parts.clone().map(|[mask, x, _]| of(mask, x, layer.inputs)));
    if !span.bias.is_empty() {
        let mut add = Accum::Replace;
        for [mask, _, u] in parts {
            let [mask, u] = of(mask, u, 1);
            product(span.bias, add, mask.transpose(), u);
            add = Accum::Add;
        }
    }
}
