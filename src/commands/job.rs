//! What is to be trained and how: from the command line, or as the folder of a run records it.

use crate::cli::{CheckpointArgs, TrainArgs};
use crate::config::{Config, RunSettings, yaml};
use crate::failure::Failure;
use crate::files;
use crate::harness::{self, Harness};
use crate::model::ModelCard;
use crate::run_dir::{absolute, run_path, write_whole};
use agents::algo::Common;
use agents::game::StackelbergConfig;
use agents::settings::{Settings, merge, to_value};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// Settings that came after the first checkpoints were written. At their defaults they are as if they were not there, so
/// that those checkpoints still fit.
const LATER: [&str; 3] = ["eval_max_steps", "lam_unit", "noise_match"];

/// One run.
pub struct Job {
    /// Who trains, if not this program.
    pub harness: Option<Harness>,
    /// The name of the algorithm there.
    pub algo: String,
    /// All settings.
    pub config: Config,
    /// The seed.
    pub seed: u64,
    /// The folder of the run; absolute.
    pub folder: PathBuf,
    /// The same as the user would write it.
    pub shown: PathBuf,
    /// The folder of all runs.
    pub out: PathBuf,
    /// Threads that compute gradients.
    pub threads: u16,
    /// Modules that register environments.
    pub env_import: Vec<String>,
    /// When checkpoints are written.
    pub checkpoints: CheckpointArgs,
    /// No progress, no summary.
    pub quiet: bool,
    /// Whether it is one of several seeds, that tells its parent how it goes.
    pub report: bool,
}

/// What `args.yml` says that `config.yml` does not. RL Zoo reads some of it.
#[derive(Serialize, Deserialize)]
struct Args {
    algo: String,
    env: String,
    #[serde(default)]
    gym_packages: Vec<String>,
    log_folder: String,
    seed: u64,
    threads: u16,
    #[serde(default)]
    checkpoint_freq: Option<u64>,
    #[serde(default)]
    keep_checkpoint: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    harness: Option<Harness>,
}

impl Job {
    /// What the command line asks for, with `seed`.
    pub fn new(arguments: &TrainArgs, seed: u64) -> Result<Self, Failure> {
        let algorithm = harness::algorithm(arguments.harness, arguments.algo())?;
        let config = Config::resolve(algorithm, arguments.env(), &arguments.overrides)?;
        let shown = run_path(&arguments.out, arguments.algo(), &config.env, seed);
        Ok(Self {
            folder: absolute(&shown)?,
            shown,
            harness: arguments.harness,
            algo: arguments.algo().to_owned(),
            config,
            seed,
            out: arguments.out.clone(),
            threads: arguments.threads,
            env_import: arguments.env_import.clone(),
            checkpoints: arguments.checkpoints,
            quiet: arguments.quiet,
            report: arguments.report.is_some(),
        })
    }

    /// What was trained in `folder`; none if it has no record yet.
    ///
    /// # Errors
    /// [`Failure::NoRun`] if the record is not as it was written.
    pub fn recorded(folder: &Path) -> Result<Option<Self>, Failure> {
        let path = |name: &str| folder.join(name);
        if !path("config.yml").is_file() || !path("args.yml").is_file() {
            return Ok(None);
        }
        let read = |name: &str| -> Result<Settings, Failure> {
            let text = files::read_text(&path(name));
            let text = text.map_err(Failure::file("read", &path(name)))?;
            yaml::mapping(&text).map_err(|reason| Failure::NoRun { path: path(name), reason })
        };
        let args: Args = serde_json::from_value(Value::Object(read("args.yml")?))
            .map_err(|e| Failure::NoRun { path: path("args.yml"), reason: e.to_string() })?;
        let algorithm = harness::algorithm(args.harness, &args.algo)?;
        let Args { checkpoint_freq, keep_checkpoint, .. } = args;
        Ok(Some(Self {
            harness: args.harness,
            algo: args.algo,
            config: Config::recorded(algorithm, &args.env, read("config.yml")?)?,
            seed: args.seed,
            folder: absolute(folder)?,
            shown: folder.to_owned(),
            out: args.log_folder.into(),
            threads: args.threads,
            env_import: args.gym_packages,
            checkpoints: CheckpointArgs { checkpoint_freq, keep_checkpoint },
            quiet: false,
            report: false,
        }))
    }

    /// Writes `config.yml` and `args.yml`, as RL Zoo leaves them.
    pub fn record(&self) -> Result<(), Failure> {
        let run = &self.config.run;
        let args = Args {
            algo: self.algo.clone(),
            env: self.config.env.clone(),
            gym_packages: self.env_import.clone(),
            log_folder: self.out.to_string_lossy().into_owned(),
            seed: self.seed,
            threads: self.threads,
            checkpoint_freq: self.checkpoints.checkpoint_freq,
            keep_checkpoint: self.checkpoints.keep_checkpoint,
            harness: self.harness,
        };
        let mut all = json!({
            "env_kwargs": run.env_kwargs,
            "eval_episodes": run.eval_episodes,
            "eval_freq": run.eval_freq,
            "n_envs": run.n_envs,
            "n_timesteps": run.n_timesteps,
        });
        let args = serde_json::to_value(&args).map_err(std::io::Error::from);
        let args = args.map_err(Failure::file("write", &self.folder.join("args.yml")))?;
        if let (Value::Object(all), Value::Object(args)) = (&mut all, args) {
            all.extend(args);
            all.sort_keys();
        }
        self.write("config.yml", &yaml::to_string(&Value::Object(self.config.all()?)))?;
        self.write("args.yml", &yaml::to_string(&all))
    }

    /// Writes `command.txt`: what the user typed, of several seeds too.
    pub fn record_command(&self) -> Result<(), Failure> {
        let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
        let words: Vec<String> = words.take_while(|word| word != "--report").collect();
        let command = shlex::try_join(words.iter().map(String::as_str));
        let command = command.unwrap_or_else(|_| words.join(" "));
        self.write("command.txt", &format!("{command}\n"))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        write_whole(&self.folder.join(name), text.as_bytes())
    }

    /// What its models are.
    pub fn card(&self) -> ModelCard {
        ModelCard {
            algo: self.config.algorithm.name.to_owned(),
            env: self.config.env.clone(),
            env_kwargs: self.config.run.env_kwargs.clone(),
            env_import: self.env_import.clone(),
            seed: self.seed,
            steps: 0,
            settings: self.config.prepared.settings.clone(),
        }
    }

    /// The hash of all settings but the number of steps, and those that came later.
    pub fn settings_xxh3(&self) -> Result<String, Failure> {
        let mut all = self.config.all()?;
        all.shift_remove("n_timesteps");
        let mut defaults = to_value(&RunSettings::default())?;
        merge(&mut defaults, to_value(&Common::default())?);
        merge(&mut defaults, to_value(&StackelbergConfig::default())?);
        all.retain(|key, value| !LATER.contains(&key.as_str()) || defaults.get(key) != Some(value));
        let bytes = Value::Object(all).to_string();
        Ok(format!("{:016x}", xxh3_64(bytes.as_bytes())))
    }

    /// An error if a run as `recorded` cannot go on as this one: whatever decides its results must be the same, but for
    /// the number of steps, which may grow.
    pub fn refuse_other(&self, recorded: &Self) -> Result<(), Failure> {
        let flat = |job: &Self| -> Result<Vec<(String, Value)>, Failure> {
            let mut pairs = vec![
                ("harness".to_owned(), json!(job.harness)),
                ("algo".to_owned(), job.algo.as_str().into()),
                ("env".to_owned(), job.config.env.as_str().into()),
                ("seed".to_owned(), job.seed.into()),
                ("threads".to_owned(), job.threads.into()),
                ("env_import".to_owned(), job.env_import.clone().into()),
            ];
            flatten("", &Value::Object(job.config.all()?), &mut pairs);
            Ok(pairs)
        };
        let (theirs, ours) = (flat(recorded)?, flat(self)?);
        let value = |of: &[(String, Value)], key: &str| {
            let found = of.iter().find(|(name, _)| name == key);
            found.map_or_else(|| "not set".to_owned(), |(_, value)| value.to_string())
        };
        let grows = self.config.run.n_timesteps >= recorded.config.run.n_timesteps;
        let added = ours.iter().filter(|(key, _)| !theirs.iter().any(|(name, _)| name == key));
        let keys = theirs.iter().chain(added).map(|(key, _)| key.as_str());
        let differences: Vec<String> = keys
            .filter(|&key| !(key == "n_timesteps" && grows))
            .map(|key| (key, value(&theirs, key), value(&ours, key)))
            .filter(|(_, theirs, ours)| theirs != ours)
            .map(|(key, theirs, ours)| match key {
                "n_timesteps" => format!("`{key}` was {theirs} and may grow, but is {ours} now"),
                _ => format!("`{key}` was {theirs} and is {ours} now"),
            })
            .collect();
        if differences.is_empty() {
            return Ok(());
        }
        Err(Failure::OtherSettings { path: self.folder.clone(), differences })
    }
}

/// `(dotted key, value)` of all that `value` holds.
fn flatten(key: &str, value: &Value, pairs: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (name, value) in entries {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                flatten(&key, value, pairs);
            }
        }
        other => pairs.push((key.to_owned(), other.clone())),
    }
}
