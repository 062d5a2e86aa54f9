//! The algorithms, by name.

use crate::agent::Agent;
use crate::env::Spaces;
use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// Settings of an algorithm: the keys of `configs/<algo>.yml`.
pub type Settings = Map<String, Value>;

/// One entry of the registry.
pub struct Algorithm {
    /// The name on the command line, and of its file in `configs/`.
    pub name: &'static str,
    /// One line for `stac-bench algos`.
    pub about: &'static str,
    check: fn(&Settings) -> Result<()>,
    build: fn(&Settings, &Spaces, u64) -> Result<Box<dyn Agent>>,
}

impl Algorithm {
    /// Checks the names, types and ranges of `settings` without an environment.
    pub fn check(&self, settings: &Settings) -> Result<()> {
        (self.check)(settings)
    }

    /// Builds the agent for an environment with these spaces, all its randomness from `seed`.
    pub fn build(&self, settings: &Settings, spaces: &Spaces, seed: u64) -> Result<Box<dyn Agent>> {
        (self.build)(settings, spaces, seed)
    }
}

/// Every algorithm, in the order of `stac-bench algos`.
pub const ALGORITHMS: &[Algorithm] = &[];

/// The algorithm called `name`.
pub fn find(name: &str) -> Result<&'static Algorithm> {
    if let Some(algorithm) = ALGORITHMS.iter().find(|a| a.name == name) {
        return Ok(algorithm);
    }
    let nearest = ALGORITHMS
        .iter()
        .max_by(|a, b| {
            strsim::jaro_winkler(a.name, name).total_cmp(&strsim::jaro_winkler(b.name, name))
        })
        .map_or("", |a| a.name);
    Err(Error::UnknownAlgorithm { name: name.into(), nearest })
}
