//! Named tensors within a player's flat vector.

use crate::agent::Parameter;
use crate::error::{Error, Result};
use crate::nn::Mlp;
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

/// The tensors of `network`, named `{prefix}.{2 l}.weight` and `.bias` as in a PyTorch `Sequential`
/// with activations in between, and shifted by `offset`.
pub fn sequential_tensors(network: &Mlp, prefix: &str, offset: usize) -> Vec<TensorPlace> {
    let place = |name: String, shape: Vec<usize>, range: &Range<usize>| TensorPlace {
        name,
        shape,
        range: range.start + offset..range.end + offset,
    };
    let layers = network.layers.iter().enumerate();
    layers
        .flat_map(|(i, layer)| {
            let shape = vec![layer.outputs, layer.inputs];
            [
                place(format!("{prefix}.{}.weight", 2 * i), shape, &layer.weight),
                place(format!("{prefix}.{}.bias", 2 * i), vec![layer.outputs], &layer.bias),
            ]
        })
        .collect()
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
