//! Named tensors within a player's flat vector.

use crate::agent::Parameter;
use crate::error::{Error, Result};
use crate::nn::Layer;
use std::ops::Range;

/// Where a named tensor lies within a player's flat vector.
pub struct TensorPlace {
    /// Name without the network's prefix.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Place.
    pub range: Range<usize>,
}

/// The tensors of `layers`, named `{prefix}.{2 l}.weight` and `.bias` as in a PyTorch `Sequential`
/// with activations in between, and shifted by `offset`.
pub fn sequential_tensors(layers: &[Layer], prefix: &str, offset: usize) -> Vec<TensorPlace> {
    let layers = layers.iter().enumerate();
    let named =
        layers.map(|(i, layer)| linear_tensors(layer, &[&format!("{prefix}.{}", 2 * i)], offset));
    named.flatten().collect()
}

/// The tensors of one affine layer, shifted by `offset`, its outputs shared equally among `heads`
/// as if each were a PyTorch `Linear` of its own: `{head}.weight`, `{head}.bias`.
pub fn linear_tensors(layer: &Layer, heads: &[&str], offset: usize) -> Vec<TensorPlace> {
    let rows = layer.outputs / heads.len().max(1);
    let share = |whole: &Range<usize>, i: usize, len: usize| {
        let start = whole.start + offset + i * len;
        start..start + len
    };
    let heads = heads.iter().enumerate();
    let tensors = heads.flat_map(|(i, head)| {
        [
            TensorPlace {
                name: format!("{head}.weight"),
                shape: vec![rows, layer.inputs],
                range: share(&layer.weight, i, rows * layer.inputs),
            },
            TensorPlace {
                name: format!("{head}.bias"),
                shape: vec![rows],
                range: share(&layer.bias, i, rows),
            },
        ]
    });
    tensors.collect()
}

/// The parameter of each place, in order. Nothing may be missing, left over or of another shape.
pub(super) fn matching<'a, 'p>(
    parameters: &'a [Parameter],
    places: impl Iterator<Item = &'p TensorPlace> + Clone,
) -> Result<Vec<&'a Parameter>> {
    if let Some(stranger) = parameters.iter().find(|p| places.clone().all(|t| t.name != p.name)) {
        let message = format!("`{}` is not one of this agent's", stranger.name);
        return Err(Error::Parameters(message));
    }
    places
        .map(|TensorPlace { name, shape, range }| {
            let Some(parameter) = parameters.iter().find(|p| p.name == *name) else {
                return Err(Error::Parameters(format!("`{name}` is missing")));
            };
            if parameter.shape != *shape || parameter.values.len() != range.len() {
                let message =
                    format!("`{name}` has shape {:?} instead of {shape:?}", parameter.shape);
                return Err(Error::Parameters(message));
            }
            Ok(parameter)
        })
        .collect()
}
