//! The entropy coefficient of SAC: fixed, or learnt (Haarnoja et al., 2018, "Algorithms and
//! Applications", Section 5).

use super::config::Common;
use crate::optim::Optimizer;
use crate::settings::NumberOrAuto;
use serde::{Deserialize, Serialize};
use std::mem::discriminant;

/// The entropy coefficient `alpha` (the paper's eta), and how it is learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Temperature {
    alpha: f64,
    learnt: Option<Learnt>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Learnt {
    log_alpha: f32,
    optimizer: Optimizer<f32>,
    learning_rate: f64,
    target_entropy: f64,
}

impl Temperature {
    pub(crate) fn new(
        ent_coef: &NumberOrAuto,
        target_entropy: &NumberOrAuto,
        common: &Common,
        action_dim: usize,
    ) -> Self {
        let word = match ent_coef {
            NumberOrAuto::Number(alpha) => return Self { alpha: *alpha, learnt: None },
            NumberOrAuto::Auto(word) => word,
        };
        let alpha = NumberOrAuto::start(word, 1.0).unwrap_or(1.0);
        let learnt = Learnt {
            log_alpha: alpha.ln() as f32,
            optimizer: Optimizer::new(common.optimizer, 1),
            learning_rate: common.learning_rate,
            target_entropy: match target_entropy {
                NumberOrAuto::Number(entropy) => *entropy,
                NumberOrAuto::Auto(_) => -(action_dim as f64),
            },
        };
        Self { alpha, learnt: Some(learnt) }
    }

    /// Takes the settings of `new`; a coefficient that is learnt, and stays so, goes on.
    pub(crate) fn attach(&mut self, new: Self) {
        match (&mut self.learnt, new.learnt) {
            (Some(own), Some(new)) => {
                own.target_entropy = new.target_entropy;
                own.learning_rate = new.learning_rate;
                if discriminant(&own.optimizer) != discriminant(&new.optimizer) {
                    own.optimizer = new.optimizer;
                }
            }
            (_, learnt) => *self = Self { alpha: new.alpha, learnt },
        }
    }

    /// alpha
    pub(crate) fn alpha(&self) -> f64 {
        self.alpha
    }

    /// `log alpha`, if it is learnt.
    pub(crate) fn log_alpha(&self) -> Option<f32> {
        self.learnt.as_ref().map(|learnt| learnt.log_alpha)
    }

    /// Replaces `log alpha`.
    pub(crate) fn set_log_alpha(&mut self, log_alpha: f32) {
        if let Some(learnt) = &mut self.learnt {
            learnt.log_alpha = log_alpha;
            self.alpha = f64::from(log_alpha).exp();
        }
    }

    /// The optimiser, if alpha is learnt.
    pub(crate) fn optimizer(&self) -> Option<&Optimizer<f32>> {
        self.learnt.as_ref().map(|learnt| &learnt.optimizer)
    }

    /// The optimiser, if alpha is learnt.
    pub(crate) fn optimizer_mut(&mut self) -> Option<&mut Optimizer<f32>> {
        self.learnt.as_mut().map(|learnt| &mut learnt.optimizer)
    }

    /// Step size from now on.
    pub(crate) fn set_learning_rate(&mut self, learning_rate: f64) {
        if let Some(learnt) = &mut self.learnt {
            learnt.learning_rate = learning_rate;
        }
    }

    /// One step on the policy's `entropy` on a minibatch. Returns the loss, if alpha is learnt.
    pub(crate) fn step(&mut self, entropy: f64) -> Option<f64> {
        let learnt = self.learnt.as_mut()?;
        // loss = -log alpha E[log pi + H] = log alpha (entropy - H);  H: the target
        let slope = entropy - learnt.target_entropy;
        let loss = f64::from(learnt.log_alpha) * slope;
        let log_alpha = std::slice::from_mut(&mut learnt.log_alpha);
        learnt.optimizer.step(learnt.learning_rate, &[slope as f32], log_alpha);
        self.alpha = f64::from(learnt.log_alpha).exp();
        Some(loss)
    }
}
