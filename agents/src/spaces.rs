//! The observation and action spaces of an environment.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The actions an environment takes. Actions travel as `f32` rows; a discrete action is one number.
#[derive(Clone, Debug, PartialEq)]
pub enum ActionSpace {
    /// A box with finite bounds for each dimension.
    Box {
        /// Lower bounds, length = action dimension.
        low: Vec<f32>,
        /// Upper bounds, length = action dimension.
        high: Vec<f32>,
    },
    /// `n` choices, numbered from 0.
    Discrete {
        /// How many.
        n: usize,
    },
}

impl ActionSpace {
    /// Numbers per action: the box's dimension, 1 for a discrete space.
    pub fn dim(&self) -> usize {
        match self {
            Self::Box { low, .. } => low.len(),
            Self::Discrete { .. } => 1,
        }
    }

    /// Scales `unit`, an action in the unit box, to the bounds of the environment's, into `action`. A discrete one is
    /// itself.
    pub fn scale(&self, unit: &[f32], action: &mut [f32]) {
        // a = low + (u + 1) (high - low) / 2
        self.map(unit, action, |u, [low, high]| low + (u + 1.0) * (0.5 * (high - low)));
    }

    /// Clips `free` to the bounds of the environment's actions, into `action`. A discrete one is itself.
    pub fn clip(&self, free: &[f32], action: &mut [f32]) {
        self.map(free, action, |u, _| u);
    }

    /// `f(drawn, bounds)` of each component, clipped to its bounds.
    fn map(&self, drawn: &[f32], action: &mut [f32], f: impl Fn(f32, [f32; 2]) -> f32) {
        match self {
            Self::Box { low, high } => {
                let bounds = low.iter().zip(high);
                for ((a, &u), (&low, &high)) in action.iter_mut().zip(drawn).zip(bounds) {
                    *a = f(u, [low, high]).clamp(low, high);
                }
            }
            Self::Discrete { .. } => action.copy_from_slice(drawn),
        }
    }
}

/// What the numbers of observations are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Numbers {
    /// Any.
    #[default]
    Any,
    /// Whole numbers from 0 to 255.
    Bytes,
    /// Whole numbers from 0 to 255, divided by 255.
    Pixels,
}

/// Observation and action space of an environment.
#[derive(Clone, Debug, PartialEq)]
pub struct Spaces {
    /// Numbers per observation (a box of any shape, flattened).
    pub obs_dim: usize,
    /// What actions are.
    pub action: ActionSpace,
    /// What observations are made of: a memory holds bytes as bytes.
    pub numbers: Numbers,
}

impl Spaces {
    /// Of observations of `obs_dim` numbers, any.
    pub fn new(obs_dim: usize, action: ActionSpace) -> Self {
        Self { obs_dim, action, numbers: Numbers::Any }
    }
}

impl fmt::Display for Spaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} observations and ", self.obs_dim)?;
        match &self.action {
            ActionSpace::Box { low, .. } => write!(f, "Box actions of dimension {}", low.len()),
            ActionSpace::Discrete { n } => write!(f, "Discrete({n}) actions"),
        }
    }
}
