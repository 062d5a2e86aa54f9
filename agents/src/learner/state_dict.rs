//! What a learner hands over and takes back by name: parameters, optimiser state, gradients.

use super::Learner;
use crate::agent::StateDict;
use crate::algo::algorithm::Algorithm;
use crate::algo::temperature::Temperature;
use crate::engine::{Engine, Role};
use crate::error::{Error, Result};
use crate::flat;
use crate::optim::Optimizer;
use crate::params::{
    Moments, NamedTensor, Parameter, TensorPlace, matching, read_moments, write_moments,
};

/// Name of the logarithm of a learnt entropy coefficient among the parameters.
const LOG_ENT_COEF: &str = "log_ent_coef";

/// Its place.
fn log_ent_coef() -> TensorPlace {
    TensorPlace { name: LOG_ENT_COEF.into(), shape: vec![1], range: 0..1 }
}

impl<A: Algorithm, E: Engine<f32, A::Batch> + Clone> StateDict for Learner<A, E> {
    fn parameters(&self) -> Vec<Parameter> {
        let networks = self.algorithm.named_tensors().into_iter().map(|tensor| {
            let NamedTensor { place, role, target } = tensor;
            let player = self.state.player(role);
            parameter(place, if target { &player.target } else { &player.params })
        });
        let log_alpha = self.state.temperature.as_ref().and_then(Temperature::log_alpha);
        networks.chain(log_alpha.map(|value| parameter(log_ent_coef(), &[value]))).collect()
    }

    fn set_parameters(&mut self, parameters: &[Parameter]) -> Result<()> {
        if let Some(bad) = parameters.iter().find(|p| !flat::all_finite(&p.values)) {
            let reason = format!("`{}` holds values that are not finite", bad.name);
            return Err(Error::Parameters(reason));
        }
        let (own, networks): (Vec<_>, Vec<_>) =
            parameters.iter().cloned().partition(|p| p.name == LOG_ENT_COEF);
        let tensors = self.algorithm.named_tensors();
        let networks = matching(&networks, tensors.iter().map(|tensor| &tensor.place))?;
        self.set_log_alpha(&own)?;
        for (parameter, NamedTensor { place, role, target }) in networks.iter().zip(&tensors) {
            let player = self.state.player_mut(*role);
            let vector = if *target { &mut player.target } else { &mut player.params };
            vector[place.range.clone()].copy_from_slice(&parameter.values);
        }
        Ok(())
    }

    /// Targets have none.
    fn moments(&self) -> Vec<Moments> {
        let networks = self
            .trained()
            .filter_map(|(place, role)| read_moments(&self.state.player(role).optimizer, place));
        let temperature = self.state.temperature.as_ref().and_then(Temperature::optimizer);
        let temperature = temperature.and_then(|optimizer| read_moments(optimizer, log_ent_coef()));
        networks.chain(temperature).collect()
    }

    fn set_moments(&mut self, given: &[Moments]) -> Result<()> {
        let kind = self.config.common.optimizer;
        for player in [&mut self.state.actor, &mut self.state.critic] {
            player.optimizer = Optimizer::new(kind, player.params.len());
        }
        for (place, role) in self.trained() {
            write_moments(&mut self.state.player_mut(role).optimizer, &place, given)?;
        }
        let temperature = self.state.temperature.as_mut();
        if let Some(optimizer) = temperature.and_then(Temperature::optimizer_mut) {
            *optimizer = Optimizer::new(kind, 1);
            write_moments(optimizer, &log_ent_coef(), given)?;
        }
        Ok(())
    }
}

impl<A: Algorithm, E: Engine<f32, A::Batch> + Clone> Learner<A, E> {
    /// Takes `log alpha`, if there is one, from the parameters that are no network's.
    fn set_log_alpha(&mut self, own: &[Parameter]) -> Result<()> {
        let learnt = self.state.temperature.as_mut().filter(|t| t.log_alpha().is_some());
        match (learnt, own) {
            (None, []) => Ok(()),
            (Some(temperature), [Parameter { values, .. }]) if values.len() == 1 => {
                temperature.set_log_alpha(values[0]);
                Ok(())
            }
            (Some(_), _) => Err(Error::Parameters(format!("`{LOG_ENT_COEF}` must be one number"))),
            (None, _) => {
                Err(Error::Parameters(format!("`{LOG_ENT_COEF}` is not one of this agent's")))
            }
        }
    }

    /// The tensors that optimisers move.
    fn trained(&self) -> impl Iterator<Item = (TensorPlace, Role)> + use<A, E> {
        let tensors = self.algorithm.named_tensors().into_iter();
        tensors.filter(|tensor| !tensor.target).map(|tensor| (tensor.place, tensor.role))
    }

    /// The parts of a vector of `of`'s dimension, by the tensors they belong to.
    pub(super) fn named(&self, of: Role, vector: &[f32]) -> Vec<Parameter> {
        let own = self.trained().filter(|(_, role)| *role == of);
        own.map(|(place, _)| parameter(place, vector)).collect()
    }
}

/// The part of `vector` at `place`.
fn parameter(place: TensorPlace, vector: &[f32]) -> Parameter {
    Parameter { values: vector[place.range].to_vec(), name: place.name, shape: place.shape }
}
