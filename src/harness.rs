//! Programs of others that train their own algorithms on the same grid.

use crate::failure::Failure;
use agents::registry::{self, Algorithm};
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

/// Stable-Baselines3's algorithms, and ours with whose settings they are trained.
const RL_ZOO3: [(&str, &str); 4] =
    [("ddpg", "ddpg"), ("td3", "td3"), ("sac", "sac"), ("a2c", "ac")];

/// The algorithm of ours whose settings `algo` is trained with: itself, unless it is that of a harness.
///
/// # Errors
/// If there is none of that name.
pub fn algorithm(harness: Option<Harness>, algo: &str) -> Result<&'static Algorithm, Failure> {
    let Some(Harness::RlZoo3) = harness else { return Ok(registry::find(algo)?) };
    let Some((_, ours)) = RL_ZOO3.iter().find(|(theirs, _)| *theirs == algo) else {
        let names = RL_ZOO3.map(|(theirs, _)| theirs).join(", ");
        let reason =
            format!("algorithm `{algo}`: RL Zoo trains these of Stable-Baselines3: {names}");
        return Err(Failure::Usage(reason));
    };
    Ok(registry::find(ours)?)
}
