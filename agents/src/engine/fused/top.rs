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

use super::matrix::{product, rows};
use super::pass::{Net, Pass, add_weighed, weigh};
use super::sums::{Stretch, for_each_stretch};
use crate::flat::{Scalar, vectorised};
use crate::nn::{Activation, Layer, Mlp};
use faer::Accum;

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

    /// Computes `m' [u o a, u]`, summed over `rows`, unless it is there: it is the same for every direction.
    pub fn reach_constant<'p>(
        &mut self,
        threads: usize,
        layer: &Layer,
        rows: impl Iterator<Item = &'p TopRows<T>> + Clone + Sync,
    ) {
        if self.has_constant {
            return;
        }
        self.has_constant = true;
        self.constant.resize(layer.weight.len() + layer.bias.len(), T::zero());
        let layers = std::slice::from_ref(layer);
        for_each_stretch(threads, layers, &mut self.constant, &|mut stretch| {
            sum(&mut stretch, rows.clone().map(|r| [&*r.mask, &*r.scaled, &*r.u]));
        });
    }

    /// The derivative of the gradient along `direction` in a stretch of the layer, summed over `rows`, after
    /// [`Top::reach_constant`].
    pub fn gradient_tangent<'p>(
        &self,
        [net, direction]: [Net<'_, T>; 2],
        rows: impl Iterator<Item = &'p TopRows<T>> + Clone,
        mut stretch: Stretch<'_, T>,
    ) {
        sum(&mut stretch, rows.map(|r| [&*r.mask, &*r.scaled_t, &*r.u_t]));

        // rows of [D^ W, D^ b] = w_j (m' [u^ o a + u o a^, u^])_j + v_j (m' [u o a, u])_j
        let ((layer, w), (_, v)) =
            (layer_and_output(net, stretch.l), layer_and_output(direction, stretch.l));
        let (constant, constant_bias) = self.constant.split_at(layer.weight.len());
        let rows = stretch.rows.clone().zip(stretch.weight.chunks_exact_mut(layer.inputs));
        let constant = constant.chunks_exact(layer.inputs).skip(stretch.rows.start);
        vectorised(|| {
            for ((j, weight), constant) in rows.zip(constant) {
                for (weight, &constant) in weight.iter_mut().zip(constant) {
                    *weight = w[j] * *weight + v[j] * constant;
                }
            }
        });
        let scales = w.iter().zip(v).zip(constant_bias);
        for (bias, ((&w, &v), &constant)) in stretch.bias.iter_mut().zip(scales) {
            *bias = w * *bias + v * constant;
        }
    }
}

/// `[m' x, m' u]` in `stretch`, summed over `(m, x, u)`.
fn sum<'p, T: Scalar>(
    stretch: &mut Stretch<'_, T>,
    parts: impl Iterator<Item = [&'p [T]; 3]> + Clone,
) {
    let layer = stretch.layer;
    let of = |mask, x, width| [rows(mask, layer.outputs), rows(x, width)];
    stretch.sum_products(parts.clone().map(|[mask, x, _]| of(mask, x, layer.inputs)));
    if !stretch.bias.is_empty() {
        let mut add = Accum::Replace;
        for [mask, _, u] in parts {
            let [mask, u] = of(mask, u, 1);
            product(stretch.bias, add, mask.transpose(), u);
            add = Accum::Add;
        }
    }
}
