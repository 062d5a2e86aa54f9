//! Settings of a run: built-in defaults, a file, `--set`, options; each checked.

mod error;
pub mod grid;
mod layers;
mod origin;
pub mod yaml;

pub use error::ConfigError;
pub use origin::Origin;

use agents::algo::Common;
use agents::registry::{self, Algorithm, Prepared};
use agents::settings::{Record, Settings, nearest, schema, take, to_value};
use clap::ValueEnum;
use layers::{File, Layers, parse_assignment};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// Settings with a name of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// Those of the paper: full Hessian, ten conjugate gradient iterations
    Paper,
}

impl Preset {
    /// Their names.
    pub fn names() -> Vec<String> {
        let names = Self::value_variants().iter().filter_map(Self::to_possible_value);
        names.map(|name| name.get_name().to_owned()).collect()
    }

    /// The preset called `name`.
    pub fn find(name: &str) -> Option<Self> {
        Self::from_str(name, false).ok()
    }
}

/// Settings of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(title = "The run")]
pub struct RunSettings {
    /// Environment steps.
    #[schemars(range(min = 1))]
    pub n_timesteps: u64,
    /// Environments that are stepped at once, shared among the cores.
    #[schemars(range(min = 1, max = 1024))]
    pub n_envs: usize,
    /// Environment steps between evaluations.
    #[schemars(range(min = 1))]
    pub eval_freq: u64,
    /// Episodes per evaluation.
    #[schemars(range(min = 1))]
    pub eval_episodes: usize,
    /// Environment steps after which an episode of an evaluation is cut: one that never ends would hold the run.
    #[schemars(range(min = 1))]
    pub eval_max_steps: u64,
    /// Environment steps between rows of `progress.csv`.
    #[schemars(range(min = 1))]
    pub log_freq: u64,
    /// Keyword arguments of `gymnasium.make`.
    pub env_kwargs: Settings,
}

impl Default for RunSettings {
    fn default() -> Self {
        Self {
            n_timesteps: 1_000_000,
            n_envs: 1,
            eval_freq: 10_000,
            eval_episodes: 10,
            eval_max_steps: 100_000,
            log_freq: 1_000,
            env_kwargs: Settings::new(),
        }
    }
}

impl Record for RunSettings {}

/// The options of the command line that are settings too.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Overrides {
    /// Named settings, laid over the built-in ones
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// YAML file with settings, laid over those
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, dotted where nested: `--set policy_kwargs.net_arch=[64,64]`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub assignments: Vec<String>,
    /// Environment steps [default: n_timesteps of the configuration]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub steps: Option<u64>,
    /// Environments that are stepped at once, shared among the cores
    #[arg(long, value_name = "K", allow_negative_numbers = true)]
    pub n_envs: Option<u64>,
    /// Where gradients are computed: cpu or cuda
    #[arg(long)]
    pub device: Option<String>,
    /// What computes them: auto, autograd or fused
    #[arg(long)]
    pub engine: Option<String>,
    /// Environment steps between evaluations
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub eval_freq: Option<u64>,
    /// Episodes per evaluation
    #[arg(long, value_name = "K", allow_negative_numbers = true)]
    pub eval_episodes: Option<u64>,
}

/// Everything a run is determined by, besides its seed.
#[derive(Debug)]
pub struct Config {
    /// The algorithm.
    pub algorithm: &'static Algorithm,
    /// Gymnasium id.
    pub env: String,
    /// The settings of the run.
    pub run: RunSettings,
    /// Those of the algorithm, read and checked.
    pub prepared: Prepared,
}

impl Config {
    /// Resolves and checks the settings of `algorithm` on `env`.
    pub fn resolve(
        algorithm: &'static Algorithm,
        env: &str,
        overrides: &Overrides,
    ) -> Result<Self, ConfigError> {
        let mut layers = built_in(algorithm, env, overrides.preset)?;
        if let Some(path) = &overrides.config {
            let file = File::read(path)?;
            file.refuse_silence(&entries(algorithm, env), env)?;
            lay(&file, &mut layers, algorithm, env, overrides.preset)?;
        }
        for assignment in &overrides.assignments {
            layers.lay(&parse_assignment(assignment)?, &|_| Origin::Set)?;
        }
        for (option, key, value) in overrides.options() {
            let settings = Settings::from_iter([(key.to_owned(), value)]);
            layers.lay(&settings, &|_| Origin::Option(option))?;
        }
        check(algorithm, env, layers)
    }

    /// The settings that a run of `algorithm` on `env` has recorded, checked.
    pub fn recorded(
        algorithm: &'static Algorithm,
        env: &str,
        settings: Settings,
    ) -> Result<Self, ConfigError> {
        check(algorithm, env, Layers::base(settings))
    }

    /// All settings, those of the run first.
    pub fn all(&self) -> Result<Settings, ConfigError> {
        let run = to_value(&self.run)?;
        let run = run.as_object().cloned().unwrap_or_default();
        Ok(run.into_iter().chain(self.prepared.settings.clone()).collect())
    }
}

impl Overrides {
    /// `(option, key, value)` of the options that were given.
    fn options(&self) -> impl Iterator<Item = (&'static str, &'static str, Value)> {
        [
            ("--steps", "n_timesteps", self.steps.map(Value::from)),
            ("--n-envs", "n_envs", self.n_envs.map(Value::from)),
            ("--device", "device", self.device.clone().map(Value::from)),
            ("--engine", "engine", self.engine.clone().map(Value::from)),
            ("--eval-freq", "eval_freq", self.eval_freq.map(Value::from)),
            ("--eval-episodes", "eval_episodes", self.eval_episodes.map(Value::from)),
        ]
        .into_iter()
        .filter_map(|(option, key, value)| Some((option, key, value?)))
    }
}

/// What can be set: names, documentation, types, ranges and defaults, those of the run first.
pub fn declared(algorithm: &Algorithm) -> Value {
    schema::join(algorithm.name, records(algorithm))
}

/// The same, record by record.
pub fn records(algorithm: &Algorithm) -> Vec<Value> {
    std::iter::once(schema::of::<RunSettings>()).chain((algorithm.base.records)()).collect()
}

/// The settings of a run of `algorithm` on `env`, if nothing is given, before the one follows from the
/// other: with those that may apply once others are changed, and null for what depends on them.
pub fn shipped(
    algorithm: &Algorithm,
    env: &str,
    preset: Option<Preset>,
) -> Result<Settings, ConfigError> {
    let mut settings = built_in(algorithm, env, preset)?.settings;
    if algorithm.leader.is_none() {
        settings.shift_remove("leader");
    } else {
        Common::CONTROLS.iter().for_each(|control| drop(settings.shift_remove(*control)));
    }
    if let Some(leader) = settings.get_mut("leader") {
        *leader = to_value(&algorithm.leader)?;
    }
    Ok(settings)
}

/// The same without those of the run.
pub fn defaults(
    algorithm: &Algorithm,
    env: &str,
    preset: Option<Preset>,
) -> Result<Settings, ConfigError> {
    let mut settings = shipped(algorithm, env, preset)?;
    take::<RunSettings>(&mut settings)?;
    Ok(settings)
}

/// The environments that the algorithm's file in `configs/` has an entry for.
pub fn environments(algorithm: &Algorithm) -> Result<Vec<String>, ConfigError> {
    let (name, text) = algorithm.base.config;
    let file = File::built_in(name, text)?;
    let is_env = |entry: &&str| !BLOCKS.contains(entry) && registry::find(entry).is_err();
    Ok(file.entries().filter(is_env).map(str::to_owned).collect())
}

/// What the entries of a file in `configs/` are called, besides algorithms and environments.
const BLOCKS: [&str; 3] = ["default", "stackelberg", "paper"];

/// The defaults, and over them what `configs/` says.
fn built_in(
    algorithm: &Algorithm,
    env: &str,
    preset: Option<Preset>,
) -> Result<Layers, ConfigError> {
    let mut layers = Layers::base(schema::defaults(&declared(algorithm)));
    let (name, text) = algorithm.base.config;
    lay(&File::built_in(name, text)?, &mut layers, algorithm, env, preset)?;
    Ok(layers)
}

/// The entries of a file that hold for `algorithm` on `env`, the later ones over the earlier.
fn entries<'e>(algorithm: &Algorithm, env: &'e str) -> Vec<&'e str> {
    let led = algorithm.leader.map(|_| "stackelberg");
    let env = Some(env).filter(|env| !BLOCKS.contains(env));
    ["default"].into_iter().chain(led).chain([algorithm.name]).chain(env).collect()
}

/// Lays what `file` says over `layers`, and then what it says of the preset.
fn lay(
    file: &File<'_>,
    layers: &mut Layers,
    algorithm: &Algorithm,
    env: &str,
    preset: Option<Preset>,
) -> Result<(), ConfigError> {
    let entries = entries(algorithm, env);
    entries.iter().try_for_each(|entry| file.lay(layers, &[entry]))?;
    if let Some(Preset::Paper) = preset {
        entries.iter().try_for_each(|entry| file.lay(layers, &["paper", entry]))?;
    }
    Ok(())
}

fn check(
    algorithm: &'static Algorithm,
    env: &str,
    mut layers: Layers,
) -> Result<Config, ConfigError> {
    layers.refuse(algorithm.foreign(&layers.settings))?;
    // A slip of the keyboard here. Programs for Stable-Baselines3 do it, so Python's classes take it.
    let number = |key: &str| layers.settings.get(key).and_then(Value::as_u64);
    if let (Some(batch), Some(buffer)) = (number("batch_size"), number("buffer_size"))
        && batch > buffer
    {
        let reason = format!("a batch cannot be larger than `buffer_size` ({buffer})");
        let (key, value) = ("batch_size".to_owned(), batch.to_string());
        return Err(ConfigError::Invalid {
            origin: layers.origin(&key).cloned(),
            key,
            value,
            reason,
        });
    }
    let mut rest = layers.settings.clone();
    let resolved = take(&mut rest).and_then(|run| {
        let prepared = algorithm.prepare(&rest)?;
        Ok(Config { algorithm, env: env.to_owned(), run, prepared })
    });
    resolved.map_err(|error| match error.into() {
        ConfigError::Invalid { key, value, reason, .. } => {
            // "unknown variant `x`, expected one of `a`, `b`": serde names what it accepts.
            let names = reason.split('`').skip(1).step_by(2).skip(1);
            let reason = match nearest(value.trim_matches('"'), names) {
                Some(name) if reason.starts_with("unknown variant") => {
                    format!("{reason}; the nearest is `{name}`")
                }
                _ => reason,
            };
            ConfigError::Invalid { origin: layers.origin(&key).cloned(), key, value, reason }
        }
        other => other,
    })
}
