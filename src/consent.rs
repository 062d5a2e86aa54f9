//! What a file may ask for, and what only its reader may allow: importing modules runs their code, and keyword arguments
//! of an environment can open windows, read files, or set its limits.

use crate::failure::Failure;
use agents::settings::Settings;
use clap::Args;
use serde_json::Value;
use std::path::Path;

/// What the user allows.
#[derive(Clone, Debug, Default, Args)]
pub struct Consent {
    /// Python module that registers your environments; one that the run names is imported only if it is given here
    #[arg(long, value_name = "MODULE")]
    pub env_import: Vec<String>,
    /// Make the environment with the keyword arguments that the run names
    #[arg(long)]
    pub accept_env_kwargs: bool,
}

impl Consent {
    /// An error that says what is to be typed, if the file at `path` asks for more than is allowed: `env` may be
    /// `module:Id`, which imports that module.
    pub fn check(
        &self,
        path: &Path,
        env: &str,
        imports: &[String],
        kwargs: &Settings,
    ) -> Result<(), Failure> {
        let within = env.split_once(':').map(|(module, _)| module.to_owned());
        let mut asks: Vec<String> = imports.iter().cloned().chain(within).collect();
        asks.retain(|module| !self.env_import.contains(module));
        asks.sort();
        asks.dedup();
        let mut needed: Vec<(String, String)> = asks
            .into_iter()
            .map(|module| (format!("imports `{module}`"), format!("--env-import {module}")))
            .collect();
        if !kwargs.is_empty() && !self.accept_env_kwargs {
            let kwargs = Value::Object(kwargs.clone());
            needed.push((format!("has env_kwargs {kwargs}"), "--accept-env-kwargs".to_owned()));
        }
        if needed.is_empty() {
            return Ok(());
        }
        let (asks, options): (Vec<_>, Vec<_>) = needed.into_iter().unzip();
        let (asks, options) = (asks.join(", "), options.join(" "));
        Err(Failure::Consent { path: path.to_owned(), asks, options })
    }
}
