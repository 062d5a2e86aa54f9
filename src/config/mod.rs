//! Settings of a run: built-in defaults, a file, `--set`, options; each checked.

mod layers;
pub mod yaml;

pub use layers::Origin;

use agents::registry::Algorithm;
use agents::settings::Settings;
use layers::{File, Layers, nearest, parse_assignment};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// `configs/<algo>.yml`, compiled in.
const DEFAULTS: &[(&str, &str)] = &[
    ("ac", include_str!("../../configs/ac.yml")),
    ("stac", include_str!("../../configs/stac.yml")),
    ("ddpg", include_str!("../../configs/ddpg.yml")),
    ("stddpg-al", include_str!("../../configs/stddpg-al.yml")),
    ("stddpg-cl", include_str!("../../configs/stddpg-cl.yml")),
    ("sac", include_str!("../../configs/sac.yml")),
    ("stsac-al", include_str!("../../configs/stsac-al.yml")),
    ("stsac-cl", include_str!("../../configs/stsac-cl.yml")),
];

/// `configs/paper/<algo>.yml`, compiled in.
const PAPER: &[(&str, &str)] = &[
    ("ac", include_str!("../../configs/paper/ac.yml")),
    ("stac", include_str!("../../configs/paper/stac.yml")),
    ("ddpg", include_str!("../../configs/paper/ddpg.yml")),
    ("stddpg-al", include_str!("../../configs/paper/stddpg-al.yml")),
    ("stddpg-cl", include_str!("../../configs/paper/stddpg-cl.yml")),
    ("sac", include_str!("../../configs/paper/sac.yml")),
    ("stsac-al", include_str!("../../configs/paper/stsac-al.yml")),
    ("stsac-cl", include_str!("../../configs/paper/stsac-cl.yml")),
];

/// Settings with a name of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// Those of the paper: full Hessian, ten conjugate gradient iterations
    Paper,
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not YAML, or YAML that says nothing a setting can be.
    #[error("{origin}: {reason}")]
    Syntax {
        /// The file.
        origin: Origin,
        /// The parser's message.
        reason: String,
    },
    /// A file that says nothing about this environment.
    #[error("{origin}: it has neither `default` nor `{env}`; the nearest is `{nearest}`")]
    NoEntry {
        /// The file.
        origin: Origin,
        /// Gymnasium id.
        env: String,
        /// The entry closest to either.
        nearest: String,
    },
    /// An argument of `--set` that is no assignment.
    #[error("--set {text}: {reason}; write `--set key=value`")]
    Assignment {
        /// The argument.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A key that the algorithm does not have.
    #[error("{origin}: unknown key `{key}`; the nearest is `{nearest}`")]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// The dotted key.
        key: String,
        /// The known key closest to it.
        nearest: String,
    },
    /// A value of the wrong type or out of its range.
    #[error(
        "{}`{key}` is {value}: {reason}",
        origin.as_ref().map(|o| format!("{o}: ")).unwrap_or_default()
    )]
    Invalid {
        /// Where it stands.
        origin: Option<Origin>,
        /// The dotted key.
        key: String,
        /// The value as JSON.
        value: String,
        /// What the key accepts, and the name closest to the value where names are accepted.
        reason: String,
    },
}

/// The settings that concern the run instead of the algorithm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSettings {
    /// Environment steps.
    pub n_timesteps: u64,
    /// Environments that are stepped at once, shared among the cores.
    pub n_envs: usize,
    /// Environment steps between evaluations.
    pub eval_freq: u64,
    /// Episodes per evaluation.
    pub eval_episodes: usize,
    /// Environment steps between rows of `progress.csv`.
    pub log_freq: u64,
    /// Keyword arguments of `gymnasium.make`.
    pub env_kwargs: Settings,
}

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
#[derive(Clone, Debug)]
pub struct Config {
    /// The algorithm.
    pub algorithm: &'static Algorithm,
    /// Gymnasium id.
    pub env: String,
    /// All settings, by key.
    pub settings: Settings,
    /// Those of the run.
    pub run: RunSettings,
}

impl Config {
    /// Resolves and checks the settings of `algorithm` on `env`.
    pub fn resolve(
        algorithm: &'static Algorithm,
        env: &str,
        overrides: &Overrides,
    ) -> Result<Self, ConfigError> {
        let mut layers = defaults(algorithm, env)?;
        if let Some(Preset::Paper) = overrides.preset {
            let name = format!("paper/{}", algorithm.name);
            File::built_in(&name, text_of(PAPER, algorithm))?.lay_over(&mut layers, env)?;
        }
        if let Some(path) = &overrides.config {
            File::read(path)?.lay_over(&mut layers, env)?;
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

    /// The algorithm's own settings.
    pub fn algorithm_settings(&self) -> Settings {
        let run = to_settings(&self.run);
        self.settings.clone().into_iter().filter(|(key, _)| !run.contains_key(key)).collect()
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

/// The text of `configs/{algo}.yml`.
pub fn default_text(algorithm: &Algorithm) -> &'static str {
    text_of(DEFAULTS, algorithm)
}

/// The environments that `configs/{algo}.yml` has an entry for.
pub fn environments(algorithm: &Algorithm) -> Result<Vec<String>, ConfigError> {
    let file = File::built_in(algorithm.name, default_text(algorithm))?;
    Ok(file.entries().filter(|entry| *entry != "default").map(str::to_owned).collect())
}

fn text_of(files: &[(&str, &'static str)], algorithm: &Algorithm) -> &'static str {
    files.iter().find(|(name, _)| *name == algorithm.name).map_or("", |(_, text)| text)
}

fn defaults(algorithm: &Algorithm, env: &str) -> Result<Layers, ConfigError> {
    let file = File::built_in(algorithm.name, default_text(algorithm))?;
    let base = file.entry("default")?.cloned().unwrap_or_default();
    let mut layers = Layers::base(base, &format!("configs/{}.yml", algorithm.name));
    file.lay_over(&mut layers, env)?;
    Ok(layers)
}

fn check(algorithm: &'static Algorithm, env: &str, layers: Layers) -> Result<Config, ConfigError> {
    let invalid = |key: String, value: String, reason: String| {
        // "unknown variant `x`, expected one of `a`, `b`": serde names what it accepts.
        let names = reason.split('`').skip(1).step_by(2).skip(1);
        let reason = match nearest(value.trim_matches('"'), names) {
            Some(name) if reason.starts_with("unknown variant") => {
                format!("{reason}; the nearest is `{name}`")
            }
            _ => reason,
        };
        ConfigError::Invalid { origin: layers.origin(&key).cloned(), key, value, reason }
    };
    let run: RunSettings = {
        let whole = Value::Object(layers.settings.clone());
        serde_path_to_error::deserialize(whole).map_err(|error| {
            let key = error.path().to_string();
            let value = layers.settings.get(&key).map_or_else(String::new, Value::to_string);
            invalid(key, value, error.inner().to_string())
        })?
    };
    let counts = [
        ("n_timesteps", run.n_timesteps),
        ("n_envs", run.n_envs as u64),
        ("eval_freq", run.eval_freq),
        ("eval_episodes", run.eval_episodes as u64),
        ("log_freq", run.log_freq),
    ];
    if let Some((key, value)) = counts.into_iter().find(|(_, value)| *value == 0) {
        return Err(invalid(key.into(), value.to_string(), "it must be at least 1".into()));
    }
    let number = |key: &str| layers.settings.get(key).and_then(Value::as_u64);
    if let (Some(batch), Some(buffer)) = (number("batch_size"), number("buffer_size"))
        && batch > buffer
    {
        let reason = format!("a batch cannot be larger than `buffer_size` ({buffer})");
        return Err(invalid("batch_size".into(), batch.to_string(), reason));
    }
    let config = Config { algorithm, env: env.to_owned(), settings: layers.settings.clone(), run };
    algorithm.check(&config.algorithm_settings()).map_err(|error| match error {
        agents::Error::Config { key, value, reason } => invalid(key, value, reason),
        other => invalid(algorithm.name.into(), String::new(), other.to_string()),
    })?;
    Ok(config)
}

fn to_settings(value: &impl Serialize) -> Settings {
    match serde_json::to_value(value) {
        Ok(Value::Object(settings)) => settings,
        _ => Settings::new(),
    }
}
