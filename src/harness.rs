//! Programs of others that train their own algorithms on the same grid.

use crate::failure::Failure;
use agents::registry::{self, ALGORITHMS, Algorithm};
use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who trains, if not this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
pub enum Harness {
    /// RL Baselines3 Zoo, with Stable-Baselines3's own `ddpg`, `td3`, `sac` or `a2c`
    #[serde(rename = "rl_zoo3")]
    #[value(name = "rl_zoo3")]
    RlZoo3,
}

impl Harness {
    /// As the command line and files say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::RlZoo3 => "rl_zoo3",
        }
    }
}

/// The algorithm of ours whose settings `algo` is trained with: itself, unless it is that of a harness.
///
/// # Errors
/// If there is none of that name.
pub fn algorithm(harness: Option<Harness>, algo: &str) -> Result<&'static Algorithm, Failure> {
    let Some(Harness::RlZoo3) = harness else { return Ok(registry::find(algo)?) };
    let baselines = || ALGORITHMS.iter().filter(|ours| ours.leader.is_none());
    baselines().find(|ours| ours.base.stable_baselines3 == algo).ok_or_else(|| {
        let names: Vec<&str> = baselines().map(|ours| ours.base.stable_baselines3).collect();
        let names = names.join(", ");
        Failure::Usage(format!(
            "algorithm `{algo}`: RL Zoo trains these of Stable-Baselines3: {names}"
        ))
    })
}
