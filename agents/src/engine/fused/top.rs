//! The last hidden layer of a ReLU critic, where Hessian-vector products are cheaper than by the general
//! tangent passes.
//!
//! With one output `q = w a_{h+1} + c` and `m = 1[a_{h+1} > 0]`, the layer's derivatives are a mask with
//! scaled columns, `d_h = m o w`, and so is their tangent along `(V, v)`, `d^_h = m o v`. Therefore
//!
//! ```text
//! d^_h W_h + d_h V_h                         = m (diag(v) W_h + diag(w) V_h)
//! (u^ o d_h + u o d^_h)' a + (u o d_h)' a^   = diag(w) m' (u^ o a + u o a^) + diag(v) m' (u o a)
//! ```
//!
//! with one product where the general passes have two: the last one is the same for every direction.

use super::matrix::{rows, sum_of_products};
use super::pass::{Net, Pass, add_weighed, weigh};
use crate::flat::{Scalar, vectorised};
use crate::nn::{Activation, Layer, Mlp};

/// The layer in one critic: what mixes samples.
#[derive(Clone, Default)]
pub(super) struct Top<T> {
    /// `diag(v) W_h + diag(w) V_h`
    pub mixed: Vec<T>,
    /// `m' [u o a, u]`, once it is computed.
    constant: Vec<T>,
    has_constant: bool,
}

/// The layer in one critic, for the samples of a shard.
#[derive(Clone, Default)]
pub(super) struct TopRows<T> {
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

/// The layer in `net` and the weights `w` of the output behind it.
fn layer_and_output<'a, T>(net: Net<'a, T>, h: usize) -> (&'a Layer, &'a [T]) {
    let (layer, output) = (&net.shape.layers[h], &net.shape.layers[h + 1]);
    (layer, &net.params[output.weight.clone()])
}

impl<T: Scalar> TopRows<T> {
    /// For layer `h` in `pass`.
    pub fn set_mask(&mut self, h: usize, pass: &Pass<T>) {
        let after = &pass.a[h + 1];
        self.mask.resize(after.len(), T::zero());
        vectorised(|| {
            for (mask, &a) in self.mask.iter_mut().zip(after) {
                *mask = if a > T::zero() { T::one() } else { T::zero() };
            }
        });
    }

    /// For weights `u` and their tangents.
    pub fn weigh(&mut self, h: usize, pass: &Pass<T>, u: &[T], u_t: &[T]) {
        let (a, a_t) = (&pass.a[h], &pass.a_t[h]);
        self.scaled.resize(a.len(), T::zero());
        self.scaled_t.resize(a.len(), T::zero());
        for (own, given) in [(&mut self.u, u), (&mut self.u_t, u_t)] {
            own.resize(u.len(), T::zero());
            own.copy_from_slice(given);
        }
        weigh(&mut self.scaled, a, u);
        weigh(&mut self.scaled_t, a_t, u);
        add_weighed(&mut self.scaled_t, a, u_t);
    }
}

impl<T: Scalar> Top<T> {
    /// Forgets what depends on the game.
    pub fn reset(&mut self) {
        self.has_constant = false;
    }

    /// `diag(v) W_h + diag(w) V_h` for `direction`.
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

    /// The layer's part of the derivative of the gradient along `direction`, summed over `rows`.
    pub fn gradient_tangent<'p>(
        &mut self,
        (threads, h): (usize, usize),
        [net, direction]: [Net<'_, T>; 2],
        rows: impl Iterator<Item = &'p TopRows<T>> + Clone + Sync,
        out: &mut [T],
    ) {
        let ((layer, w), (_, v)) = (layer_and_output(net, h), layer_and_output(direction, h));
        let out = &mut out[layer.weight.start..layer.bias.end];
        if !self.has_constant {
            self.constant.resize(out.len(), T::zero());
            let parts = rows.clone().map(|r| [&*r.mask, &*r.scaled, &*r.u]);
            sum(threads, layer, parts, &mut self.constant);
            self.has_constant = true;
        }
        sum(threads, layer, rows.map(|r| [&*r.mask, &*r.scaled_t, &*r.u_t]), out);

        // rows of [D^ W, D^ b] = w_j (m' [u^ o a + u o a^, u^])_j + v_j (m' [u o a, u])_j
        let (weight, bias) = out.split_at_mut(layer.weight.len());
        let (constant, constant_bias) = self.constant.split_at(layer.weight.len());
        vectorised(|| {
            let rows =
                weight.chunks_exact_mut(layer.inputs).zip(constant.chunks_exact(layer.inputs));
            for ((weight, constant), (&v, &w)) in rows.zip(v.iter().zip(w)) {
                for (weight, &constant) in weight.iter_mut().zip(constant) {
                    *weight = w * *weight + v * constant;
                }
            }
        });
        for ((bias, &constant), (&v, &w)) in bias.iter_mut().zip(constant_bias).zip(v.iter().zip(w))
        {
            *bias = w * *bias + v * constant;
        }
    }
}

/// `[m' x, m' u]`, summed over `(m, x, u)`.
fn sum<'p, T: Scalar>(
    threads: usize,
    layer: &Layer,
    parts: impl Iterator<Item = [&'p [T]; 3]> + Clone + Sync,
    out: &mut [T],
) {
    let (weight, bias) = out.split_at_mut(layer.weight.len());
    let of = |mask, x, width| [rows(mask, layer.outputs), rows(x, width)];
    sum_of_products(threads, weight, parts.clone().map(|[mask, x, _]| of(mask, x, layer.inputs)));
    sum_of_products(1, bias, parts.map(|[mask, _, u]| of(mask, u, 1)));
}
