//! Named tensors: where they lie in a player's flat vector, and how they and their optimiser's state are
//! handed over.

use crate::engine::Role;
use crate::error::{Error, Result};
use crate::nn::Layer;
use crate::optim::Optimizer;
use std::ops::Range;

/// One named tensor of an agent, named and shaped as in Stable-Baselines3's `state_dict`.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// For instance `actor.mu.0.weight`.
    pub name: String,
    /// For instance `[256, 17]`.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f32>,
}

/// Adam's state for one named tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// The [`Parameter`]'s name.
    pub name: String,
    /// Steps taken.
    pub step: i32,
    /// Exponential mean of gradients.
    pub mean: Vec<f32>,
    /// Exponential mean of squared gradients.
    pub square: Vec<f32>,
}

/// Where a named tensor lies within a player's flat vector.
pub struct TensorPlace {
    /// Name without the network's prefix.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Place.
    pub range: Range<usize>,
}

/// A tensor of an agent, by its whole name.
pub struct NamedTensor {
    /// Name, shape, and place within its player's vector.
    pub place: TensorPlace,
    /// Whose it is.
    pub role: Role,
    /// Whether it lies in the Polyak average.
    pub target: bool,
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
pub fn matching<'a, 'p>(
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

/// The part of `optimizer`'s state that belongs to the tensor at `place`; none before a first step.
pub fn read_moments(optimizer: &Optimizer<f32>, place: TensorPlace) -> Option<Moments> {
    match optimizer {
        Optimizer::Adam { m, v, t } if *t > 0 => Some(Moments {
            step: *t,
            mean: m[place.range.clone()].to_vec(),
            square: v[place.range].to_vec(),
            name: place.name,
        }),
        _ => None,
    }
}

/// Takes over what `moments` has for the tensor at `place`, if anything.
pub fn write_moments(
    optimizer: &mut Optimizer<f32>,
    place: &TensorPlace,
    moments: &[Moments],
) -> Result<()> {
    let Optimizer::Adam { m, v, t } = optimizer else { return Ok(()) };
    let Some(given) = moments.iter().find(|given| given.name == place.name) else { return Ok(()) };
    if given.mean.len() != place.range.len() || given.square.len() != place.range.len() {
        let message = format!("the moments of `{}` have another length", place.name);
        return Err(Error::Parameters(message));
    }
    *t = given.step;
    m[place.range.clone()].copy_from_slice(&given.mean);
    v[place.range.clone()].copy_from_slice(&given.square);
    Ok(())
}
