//! Optimiser state, tensor by tensor.

use super::tensors::TensorPlace;
use crate::agent::Moments;
use crate::error::{Error, Result};
use crate::optim::Optimizer;

/// The part of `optimizer`'s state that belongs to the tensor at `place`; none before a first step.
pub(super) fn read(optimizer: &Optimizer<f32>, place: TensorPlace) -> Option<Moments> {
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
pub(super) fn write(
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
