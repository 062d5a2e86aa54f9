//! Closed-form passes of one perceptron over the rows of a batch:
//!
//! ```text
//! forward              z_l = a_l W_l' + b_l,        a_{l+1} = phi(z_l)
//! backward             d_l = (d_{l+1} W_{l+1}) o phi'(z_l)
//! gradient             D W_l = (u o d_l)' a_l,      D b_l = (u o d_l)' 1
//! tangent, along V     z^_l = a^_l W_l' + a_l V_l' + v_l,     a^_{l+1} = phi'(z_l) o z^_l
//! tangent, backward    d^_l = (d^_{l+1} W_{l+1} + d_{l+1} V_{l+1}) o phi'(z_l)
//!                             + (d_{l+1} W_{l+1}) o phi''(z_l) o z^_l
//! tangent, gradient    D^ W_l = (u^ o d_l + u o d^_l)' a_l + (u o d_l)' a^_l
//! ```
//!
//! Row `i` of `d_l` is the derivative by `z_l` of a scalar that depends on that row only. A loss is a sum of such scalars
//! with weights `u_i`. `x^` (`x_t` in the code) is the derivative of `x` along a direction of parameters or inputs: the
//! R-operator of Pearlmutter (1994). Both activations give their derivatives from their values: `phi' = 1[a > 0]` and
//! `phi'' = 0` for ReLU, `phi' = 1 - a^2` and `phi'' = -2 a phi'` for tanh.

use super::matrix::{add_rows, product, rows};
use crate::flat::{Scalar, vectorised};
use crate::nn::{Activation, Layer, Mlp};
use faer::{Accum, MatRef};
use std::ops::Range;

/// A perceptron with its parameters, or with a direction in parameter space.
#[derive(Clone, Copy)]
pub(super) struct Net<'a, T> {
    pub shape: &'a Mlp,
    pub params: &'a [T],
}

impl<'a, T: Scalar> Net<'a, T> {
    pub fn weight(self, layer: &Layer) -> MatRef<'a, T> {
        rows(&self.params[layer.weight.clone()], layer.inputs)
    }

    fn bias(self, layer: &Layer) -> &'a [T] {
        &self.params[layer.bias.clone()]
    }
}

/// Work space for a fixed number of rows: each pass reads what earlier passes have written.
#[derive(Clone, Default)]
pub(super) struct Pass<T> {
    /// `a_l`: inputs of each layer and, last, the network's output.
    pub a: Vec<Vec<T>>,
    /// `d_l`
    pub d: Vec<Vec<T>>,
    /// `u o d_l`
    pub scaled: Vec<Vec<T>>,
    /// `a^_l`
    pub a_t: Vec<Vec<T>>,
    /// `z^_l`
    z_t: Vec<Vec<T>>,
    /// `d^_l`
    pub d_t: Vec<Vec<T>>,
    /// `u^ o d_l + u o d^_l`
    pub scaled_t: Vec<Vec<T>>,
    /// Whether `d^` is zero, so that it is neither computed nor read.
    pub second_order_zero: bool,
    /// The layer whose tangents [`super::last_hidden`] computes.
    last_hidden: Option<usize>,
}

impl<T: Scalar> Pass<T> {
    /// Work space for `count` rows. The tangent passes allocate theirs when they first run.
    pub fn new(shape: &Mlp, count: usize) -> Self {
        let outputs = outputs(shape, count);
        let mut a = outputs.clone();
        a.insert(0, vec![T::zero(); count * shape.inputs()]);
        Self { a, d: outputs.clone(), scaled: outputs, ..Self::default() }
    }

    /// Moves the rows that `kept` selects to the front; later passes are over these rows only.
    pub fn keep(&mut self, shape: &Mlp, kept: impl Fn(usize) -> bool) {
        let mut count = 0;
        for row in (0..self.output().len() / shape.outputs()).filter(|&row| kept(row)) {
            for (a, width) in self.a.iter_mut().zip(widths(shape)) {
                a.copy_within(row * width..(row + 1) * width, count * width);
            }
            count += 1;
        }
        self.resize(shape, count);
    }

    /// Changes the number of rows to `count`, at most as many as at first.
    pub fn resize(&mut self, shape: &Mlp, count: usize) {
        for buffers in [&mut self.a, &mut self.a_t] {
            for (buffer, width) in buffers.iter_mut().zip(widths(shape)) {
                buffer.resize(count * width, T::zero());
            }
        }
        let of_outputs =
            [&mut self.d, &mut self.scaled, &mut self.z_t, &mut self.d_t, &mut self.scaled_t];
        for buffers in of_outputs {
            for (buffer, width) in buffers.iter_mut().zip(widths(shape).skip(1)) {
                buffer.resize(count * width, T::zero());
            }
        }
    }

    /// The network's output.
    pub fn output(&self) -> &[T] {
        self.a.last().map_or(&[], |a| a)
    }

    /// From `a_0` to the output.
    pub fn forward(&mut self, net: Net<'_, T>) {
        let last = net.shape.layers.len() - 1;
        for (l, layer) in net.shape.layers.iter().enumerate() {
            // z = a W' + b;  a = phi(z)
            let (a, z) = neighbours(&mut self.a, l);
            product(z, Accum::Replace, rows(a, layer.inputs), net.weight(layer).transpose());
            let bias = net.bias(layer);
            match net.shape.activation {
                _ if l == last => map_rows(z, bias, |z, b| z + b),
                // Written so that NaN stays NaN.
                Activation::Relu => map_rows(z, bias, |z, b| {
                    let z = z + b;
                    if z < T::zero() { T::zero() } else { z }
                }),
                Activation::Tanh => {
                    map_rows(z, bias, |z, b| z + b);
                    net.shape.activation.apply(z);
                }
            }
        }
    }

    /// The derivatives `d_l` of the network's only output.
    pub fn differentiate_output(&mut self, net: Net<'_, T>) {
        if let Some(d) = self.d.last_mut() {
            d.fill(T::one());
        }
        self.backward(net);
    }

    /// From `d` of the last layer to `d_0`.
    pub fn backward(&mut self, net: Net<'_, T>) {
        for (l, layer) in net.shape.layers.iter().enumerate().skip(1).rev() {
            // d_{l-1} = (d_l W_l) o phi'(z_{l-1})
            let (before, d) = neighbours(&mut self.d, l - 1);
            product(before, Accum::Replace, rows(d, layer.outputs), net.weight(layer));
            times_derivative(net.shape.activation, before, &self.a[l]);
        }
    }

    /// Derivatives of each row's scalar by the inputs in `columns`: `d_0 W_0`.
    pub fn by_inputs(&self, net: Net<'_, T>, columns: Range<usize>, out: &mut [T]) {
        through_inputs(net, &self.d[0], columns, out);
    }

    /// The tangent of [`Pass::by_inputs`], `d^_0 W_0`. If it is zero, returns false and writes nothing.
    pub fn by_inputs_tangent(&self, net: Net<'_, T>, columns: Range<usize>, out: &mut [T]) -> bool {
        if !self.second_order_zero {
            through_inputs(net, &self.d_t[0], columns, out);
        }
        !self.second_order_zero
    }

    /// `u o d_l`, for the gradient of `sum_i u_i (scalar of row i)`.
    pub fn scale_rows(&mut self, u: &[T]) {
        for (scaled, d) in self.scaled.iter_mut().zip(&self.d) {
            scale_rows(scaled, d, u);
        }
    }

    /// Along `direction` in the parameters, and with `inputs` along `a^_0`.
    pub fn tangent(&mut self, net: Net<'_, T>, direction: Option<Net<'_, T>>, inputs: bool) {
        self.grow();
        let last = net.shape.layers.len() - 1;
        for (l, layer) in net.shape.layers.iter().enumerate() {
            // z^ = a^ W' + a V' + v
            let z_t = &mut self.z_t[l];
            let mut add = Accum::Replace;
            if l > 0 || inputs {
                let a_t = rows(&self.a_t[l], layer.inputs);
                product(z_t, add, a_t, net.weight(layer).transpose());
                add = Accum::Add;
            }
            if let Some(v) = direction {
                product(z_t, add, rows(&self.a[l], layer.inputs), v.weight(layer).transpose());
                map_rows(z_t, v.bias(layer), |z_t, v| z_t + v);
            }
            // a^ = phi'(z) o z^
            let activation = (l < last).then_some(net.shape.activation);
            through_activation(activation, &self.a[l + 1], z_t, &mut self.a_t[l + 1]);
        }
    }

    /// From `d^` of the last layer to `d^_0`, after [`Pass::tangent`] along the same direction. `last`:
    /// whether the caller has set `d^` of the last layer; otherwise it is zero.
    pub fn tangent_backward(&mut self, net: Net<'_, T>, direction: Option<Net<'_, T>>, last: bool) {
        // phi'' = 0: along its inputs a ReLU network is piecewise linear, so d is constant.
        self.last_hidden = None;
        self.second_order_zero =
            !last && direction.is_none() && net.shape.activation == Activation::Relu;
        if self.second_order_zero {
            return;
        }
        for (l, layer) in net.shape.layers.iter().enumerate().skip(1).rev() {
            // d^_{l-1} = (d^_l W_l + d_l V_l) o phi'(z) + (d_l W_l) o phi''(z) o z^
            let (before, d_t) = neighbours(&mut self.d_t, l - 1);
            product(before, Accum::Replace, rows(d_t, layer.outputs), net.weight(layer));
            if let Some(v) = direction {
                product(before, Accum::Add, rows(&self.d[l], layer.outputs), v.weight(layer));
            }
            times_derivative(net.shape.activation, before, &self.a[l]);
            if net.shape.activation == Activation::Tanh {
                // (d_l W_l) o phi'' o z^ = d_{l-1} o (-2 a) o z^
                let factors = self.d[l - 1].iter().zip(&self.a[l]).zip(&self.z_t[l - 1]);
                for (d_t, ((&d, &a), &z_t)) in before.iter_mut().zip(factors) {
                    *d_t -= T::of(2.0) * a * z_t * d;
                }
            }
        }
    }

    /// The same along `direction`, starting at the last hidden layer, `h`, of a ReLU network.
    pub fn tangent_backward_from_last_hidden(
        &mut self,
        net: Net<'_, T>,
        direction: Net<'_, T>,
        h: usize,
        [mask, mixed]: [&[T]; 2],
    ) {
        (self.second_order_zero, self.last_hidden) = (false, Some(h));
        for (l, layer) in net.shape.layers.iter().enumerate().take(h + 1).skip(1).rev() {
            let (before, d_t) = neighbours(&mut self.d_t, l - 1);
            if l == h {
                product(
                    before,
                    Accum::Replace,
                    rows(mask, layer.outputs),
                    rows(mixed, layer.inputs),
                );
            } else {
                product(before, Accum::Replace, rows(d_t, layer.outputs), net.weight(layer));
                product(
                    before,
                    Accum::Add,
                    rows(&self.d[l], layer.outputs),
                    direction.weight(layer),
                );
            }
            times_derivative(net.shape.activation, before, &self.a[l]);
        }
    }

    /// `u o d` and `u^ o d + u o d^`; without `u_t`, `u^` is zero.
    pub fn scale_rows_tangent(&mut self, u: &[T], u_t: Option<&[T]>) {
        for l in (0..self.d.len()).filter(|&l| self.last_hidden != Some(l)) {
            scale_rows(&mut self.scaled[l], &self.d[l], u);
            if !self.second_order_zero {
                scale_rows(&mut self.scaled_t[l], &self.d_t[l], u);
            }
            if let Some(u_t) = u_t {
                add_scaled_rows(&mut self.scaled_t[l], &self.d[l], u_t);
            }
        }
    }

    /// The tangent of the output.
    pub fn output_t(&self) -> &[T] {
        self.a_t.last().map_or(&[], |a| a)
    }

    /// `a^_0`, zero until it is written.
    pub fn inputs_t(&mut self) -> &mut [T] {
        self.grow();
        &mut self.a_t[0]
    }

    /// Allocates the work space of the tangent passes, for as many rows as at first.
    fn grow(&mut self) {
        let like = |buffers: &[Vec<T>]| {
            let zeros = |buffer: &Vec<T>| {
                let mut zeros = Vec::with_capacity(buffer.capacity());
                zeros.resize(buffer.len(), T::zero());
                zeros
            };
            buffers.iter().map(zeros).collect::<Vec<_>>()
        };
        if self.a_t.is_empty() {
            self.a_t = like(&self.a);
            for tangent in [&mut self.z_t, &mut self.d_t, &mut self.scaled_t] {
                *tangent = like(&self.d);
            }
        }
    }
}

/// `[weight, bias] = (u o d)' [a, 1]` of layer `l`, that is `layer`, over the rows of `pass`.
pub(super) fn layer_gradient<T: Scalar>(
    layer: &Layer,
    pass: &Pass<T>,
    (l, u): (usize, &[T]),
    scratch: &mut [T],
    (weight, bias): (&mut [T], &mut [T]),
) {
    scale_rows(scratch, &pass.d[l], u);
    let scaled = rows(scratch, layer.outputs).transpose();
    product(weight, Accum::Replace, scaled, rows(&pass.a[l], layer.inputs));
    bias.fill(T::zero());
    add_rows(scratch, bias);
}

/// Widths of the input and of every layer's output.
fn widths(shape: &Mlp) -> impl Iterator<Item = usize> + '_ {
    std::iter::once(shape.inputs()).chain(shape.layers.iter().map(|layer| layer.outputs))
}

fn outputs<T: Scalar>(shape: &Mlp, count: usize) -> Vec<Vec<T>> {
    shape.layers.iter().map(|layer| vec![T::zero(); count * layer.outputs]).collect()
}

/// Elements `l` and `l + 1`.
fn neighbours<T>(buffers: &mut [Vec<T>], l: usize) -> (&mut [T], &mut [T]) {
    let (first, second) = buffers.split_at_mut(l + 1);
    (&mut first[l], &mut second[0])
}

/// `x_ij <- f(x_ij, y_j)`
fn map_rows<T: Scalar>(x: &mut [T], y: &[T], f: impl Fn(T, T) -> T) {
    vectorised(|| {
        for row in x.chunks_exact_mut(y.len()) {
            for (x, &y) in row.iter_mut().zip(y) {
                *x = f(*x, y);
            }
        }
    });
}

/// `x^ = phi'(z) o z^`, from `a = phi(z)`; without an activation `x^ = z^`.
fn through_activation<T: Scalar>(
    activation: Option<Activation>,
    a: &[T],
    z_t: &[T],
    x_t: &mut [T],
) {
    let elements = x_t.iter_mut().zip(z_t.iter().zip(a));
    vectorised(|| match activation {
        None => elements.for_each(|(x_t, (&z_t, _))| *x_t = z_t),
        Some(Activation::Relu) => elements.for_each(|(x_t, (&z_t, &a))| {
            *x_t = if a > T::zero() { z_t } else { T::zero() };
        }),
        Some(Activation::Tanh) => elements.for_each(|(x_t, (&z_t, &a))| {
            *x_t = (T::one() - a * a) * z_t;
        }),
    });
}

/// `x <- x o phi'(z)`, from `a = phi(z)`.
pub(super) fn times_derivative<T: Scalar>(activation: Activation, x: &mut [T], a: &[T]) {
    vectorised(|| match activation {
        Activation::Relu => {
            for (x, &a) in x.iter_mut().zip(a) {
                *x = if a > T::zero() { *x } else { T::zero() };
            }
        }
        Activation::Tanh => {
            for (x, &a) in x.iter_mut().zip(a) {
                *x *= T::one() - a * a;
            }
        }
    });
}

/// `out_ij = u_i d_ij`
pub(super) fn scale_rows<T: Scalar>(out: &mut [T], d: &[T], u: &[T]) {
    let width = out.len().checked_div(u.len()).unwrap_or(1);
    vectorised(|| {
        let d = d.chunks_exact(width);
        for ((out, d), &u) in out.chunks_exact_mut(width).zip(d).zip(u) {
            for (out, &d) in out.iter_mut().zip(d) {
                *out = u * d;
            }
        }
    });
}

/// `out_ij += u_i d_ij`
pub(super) fn add_scaled_rows<T: Scalar>(out: &mut [T], d: &[T], u: &[T]) {
    let width = out.len().checked_div(u.len()).unwrap_or(1);
    vectorised(|| {
        let d = d.chunks_exact(width);
        for ((out, d), &u) in out.chunks_exact_mut(width).zip(d).zip(u) {
            for (out, &d) in out.iter_mut().zip(d) {
                *out += u * d;
            }
        }
    });
}

/// `d W_0`, restricted to the inputs in `columns`.
fn through_inputs<T: Scalar>(net: Net<'_, T>, d: &[T], columns: Range<usize>, out: &mut [T]) {
    if let Some(layer) = net.shape.layers.first() {
        let weight = net.weight(layer).subcols(columns.start, columns.len());
        product(out, Accum::Replace, rows(d, layer.outputs), weight);
    }
}
