//! Settings of the on-policy algorithms.

use super::config::Common;
use crate::settings::Record;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the on-policy algorithms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(title = "On-policy algorithms")]
pub struct OnPolicyConfig {
    /// Those of every algorithm.
    #[serde(skip)]
    pub common: Common,
    /// Steps of each environment per batch (`n_steps` × `n_envs` in all).
    #[schemars(range(min = 1, max = 100_000_000))]
    pub n_steps: usize,
    /// Critic steps per actor step, m.
    #[schemars(range(min = 1))]
    pub critic_steps: usize,
}

impl Default for OnPolicyConfig {
    fn default() -> Self {
        Self { common: Common::default(), n_steps: 4_000, critic_steps: 1 }
    }
}

impl Record for OnPolicyConfig {}
