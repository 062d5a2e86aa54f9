//! Multilayer perceptrons over a flat parameter vector.

use crate::flat::{self, Scalar};
use crate::rng::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What hidden layers apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// `max(0, z)`
    Relu,
    /// `tanh z`
    Tanh,
}

impl Activation {
    /// Applies the activation in place.
    pub fn apply<T: Scalar>(self, z: &mut [T]) {
        match self {
            Self::Relu => {
                for z in z {
                    *z = if *z > T::zero() { *z } else { T::zero() };
                }
            }
            Self::Tanh => {
                for z in z {
                    *z = num_traits::Float::tanh(*z);
                }
            }
        }
    }
}

/// One affine layer `z = W a + b` within the flat vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Columns of `W`.
    pub inputs: usize,
    /// Rows of `W`.
    pub outputs: usize,
    /// Where `W` (`outputs x inputs`, row-major) lies.
    pub weight: Range<usize>,
    /// Where `b` lies: right behind `W`.
    pub bias: Range<usize>,
}

/// Shape of a perceptron: affine layers with an activation between them, none after the last. The
/// parameters are the layers' weights and biases, one after the other, in PyTorch's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mlp {
    /// The affine layers, first to last.
    pub layers: Vec<Layer>,
    /// Applied after every layer but the last.
    pub activation: Activation,
}

impl Mlp {
    /// A perceptron from `inputs` through `hidden` to `outputs`.
    pub fn new(inputs: usize, hidden: &[usize], outputs: usize, activation: Activation) -> Self {
        let mut offset = 0;
        let mut fan_in = inputs;
        let layers = hidden
            .iter()
            .chain([&outputs])
            .map(|&fan_out| {
                let weight = offset..offset + fan_in * fan_out;
                let bias = weight.end..weight.end + fan_out;
                offset = bias.end;
                Layer {
                    inputs: std::mem::replace(&mut fan_in, fan_out),
                    outputs: fan_out,
                    weight,
                    bias,
                }
            })
            .collect();
        Self { layers, activation }
    }

    /// Whether the output is piecewise linear in the input.
    pub fn is_piecewise_linear(&self) -> bool {
        self.activation == Activation::Relu || self.layers.len() == 1
    }

    /// Number of parameters.
    pub fn dim(&self) -> usize {
        self.layers.last().map_or(0, |l| l.bias.end)
    }

    /// Width of the input.
    pub fn inputs(&self) -> usize {
        self.layers.first().map_or(0, |l| l.inputs)
    }

    /// Width of the output.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |l| l.outputs)
    }

    /// Weights and biases uniform in `+-1/sqrt(fan-in)`, PyTorch's default for linear layers.
    pub fn init<T: Scalar>(&self, rng: &mut Rng) -> Vec<T> {
        let mut params = Vec::with_capacity(self.dim());
        for layer in &self.layers {
            let bound = 1.0 / (layer.inputs as f64).sqrt();
            params.extend(
                (0..layer.weight.len() + layer.bias.len()).map(|_| rng.uniform::<T>(-bound, bound)),
            );
        }
        params
    }

    /// The network's output for one `input`, written to `out`. For acting, where batches are tiny;
    /// `scratch` avoids allocation between calls, and its second half is left with what the last layer
    /// saw.
    pub fn forward<T: Scalar>(
        &self,
        params: &[T],
        input: &[T],
        scratch: &mut [Vec<T>; 2],
        out: &mut [T],
    ) {
        let [current, next] = scratch;
        current.clear();
        current.extend_from_slice(input);
        for (i, layer) in self.layers.iter().enumerate() {
            // z = W a + b
            next.resize(layer.outputs, T::zero());
            flat::matvec(&params[layer.weight.clone()], current, next);
            flat::axpy(T::one(), &params[layer.bias.clone()], next);
            if i + 1 < self.layers.len() {
                self.activation.apply(next);
            }
            std::mem::swap(current, next);
        }
        out.copy_from_slice(current);
    }
}
