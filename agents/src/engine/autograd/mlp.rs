//! Perceptrons on tensors.

use crate::nn::{Activation, Mlp};
use tch::Tensor;

/// Inputs `A` and outputs `z` of each affine layer in one forward pass.
pub type Factors = Vec<(Tensor, Tensor)>;

/// [`Mlp`] on tensors.
#[derive(Clone, Debug)]
pub struct TensorMlp(pub Mlp);

impl TensorMlp {
    /// `B x inputs` to `B x outputs`, with what each layer saw. `params` is flat.
    pub fn forward_with_factors(&self, params: &Tensor, input: Tensor) -> (Tensor, Factors) {
        let mut factors = Factors::with_capacity(self.0.layers.len());
        let mut a = input;
        for (i, layer) in self.0.layers.iter().enumerate() {
            let part = |range: &std::ops::Range<usize>| {
                params.narrow(0, range.start as i64, range.len() as i64)
            };
            let weight = part(&layer.weight).view([layer.outputs as i64, layer.inputs as i64]);
            let z = a.linear(&weight, Some(part(&layer.bias)));
            let next = match self.0.activation {
                _ if i + 1 == self.0.layers.len() => z.shallow_clone(),
                Activation::Relu => z.relu(),
                Activation::Tanh => z.tanh(),
            };
            factors.push((std::mem::replace(&mut a, next), z));
        }
        (a, factors)
    }

    /// `B x inputs` to `B x outputs`.
    pub fn forward(&self, params: &Tensor, input: Tensor) -> Tensor {
        self.forward_with_factors(params, input).0
    }
}
