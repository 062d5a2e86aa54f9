//! What a sweep has to do: every run of a grid, with its folder and its command.

use crate::cli::{Cli, TrainArgs};
use crate::commands::job::Job;
use crate::commands::rl_zoo3;
use crate::config::grid::{Column, GridFile, folder_of};
use crate::config::{ConfigError, yaml};
use crate::failure::Failure;
use crate::harness::Harness;
use agents::Env as _;
use bridge::{EnvOptions, GymEnv};
use clap::Parser as _;
use std::path::Path;

/// One run of a grid.
pub struct Planned {
    /// Its label in the grid.
    pub label: String,
    /// What is trained, checked.
    pub job: Job,
    /// The options of `train`, `--resume` among them: the same words start a run, go on with it, or find it done.
    pub words: Vec<String>,
}

impl Planned {
    /// What it is called in messages.
    pub fn name(&self) -> String {
        format!("{} {} seed {}", self.label, self.job.config.env, self.job.seed)
    }

    /// What its seeds share: label and environment.
    pub fn column(&self) -> (&str, &str) {
        (&self.label, &self.job.config.env)
    }
}

/// Options that a sweep gives itself.
const OWN: [&str; 13] = [
    "--env",
    "--algo",
    "--harness",
    "--seed",
    "--seeds",
    "--jobs",
    "--steps",
    "--preset",
    "--out",
    "--overwrite",
    "--resume",
    "--report",
    "--parent",
];

/// Every run of the grid, seed by seed, so that a sweep that is stopped has whole columns of the first seeds.
///
/// # Errors
/// The first mistake of any run, with its line in the file.
pub fn plan(file: &GridFile, out: &Path) -> Result<Vec<Planned>, Failure> {
    for (i, word) in file.grid.options.iter().enumerate() {
        let option = word.split('=').next().unwrap_or_default();
        if OWN.contains(&option) {
            let reason = format!("`{option}` (number {}) is the grid's own business", i + 1);
            return Err(file.invalid(&["options"], &reason).into());
        }
    }
    let mut all = Vec::new();
    for &seed in &file.seeds {
        for env in &file.grid.envs {
            for (label, column) in &file.columns {
                let words = words(file, label, column, env, seed, out);
                let job = job(&words, seed).map_err(|reason| located(file, label, env, reason))?;
                all.push(Planned { label: label.clone(), job, words });
            }
        }
    }
    Ok(all)
}

/// Makes each environment once, and the agent that is to act in it.
///
/// # Errors
/// The first label whose environment is not there, or that cannot act in it.
pub fn try_environments(file: &GridFile, all: &[Planned]) -> Result<(), Failure> {
    let first = file.seeds.first();
    for run in all.iter().filter(|run| Some(&run.job.seed) == first) {
        let config = &run.job.config;
        let options = EnvOptions {
            id: config.env.clone(),
            kwargs: config.run.env_kwargs.clone(),
            imports: run.job.env_import.clone(),
            video: None,
        };
        let tried = match run.job.harness {
            Some(Harness::RlZoo3) => rl_zoo3::check(&run.job),
            None => GymEnv::make(&options)
                .and_then(|env| config.prepared.build(env.spaces(), run.job.seed).map(drop))
                .map_err(Failure::from),
        };
        tried.map_err(|error| {
            let mistake = Mistake { key: None, reason: error.to_string() };
            located(file, &run.label, &config.env, mistake)
        })?;
    }
    Ok(())
}

fn words(
    file: &GridFile,
    label: &str,
    column: &Column,
    env: &str,
    seed: u64,
    out: &Path,
) -> Vec<String> {
    let out = out.join(&file.grid.name).join(folder_of(label));
    let mut words: Vec<String> =
        vec!["--env".into(), env.into(), "--algo".into(), column.algo.clone()];
    words.extend([
        "--seed".into(),
        seed.to_string(),
        "--steps".into(),
        file.grid.steps.to_string(),
    ]);
    if column.harness.is_some() {
        words.extend(["--harness".into(), "rl_zoo3".into()]);
    }
    words.extend(column.preset.iter().flat_map(|preset| ["--preset".into(), preset.clone()]));
    let set = |(key, value): (&String, _)| {
        ["--set".into(), format!("{key}={}", yaml::in_one_line(value))]
    };
    words.extend(column.set.iter().flat_map(set));
    words.extend(file.grid.options.iter().cloned());
    words.extend(["--out".into(), out.to_string_lossy().into_owned(), "--resume".into()]);
    words
}

/// What the words ask for.
fn job(words: &[String], seed: u64) -> Result<Job, Mistake> {
    let program = ["stac-bench".to_owned()];
    let cli = Cli::try_parse_from(program.iter().chain(words)).map_err(|error| {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Mistake { key: None, reason: line.to_owned() }
    })?;
    let arguments: &TrainArgs = &cli.train;
    if cli.command.is_some() {
        let reason = "`options` are those of `stac-bench train`".to_owned();
        return Err(Mistake { key: None, reason });
    }
    Job::new(arguments, seed).map_err(|failure| Mistake {
        key: match &failure {
            Failure::Config(
                ConfigError::UnknownKey { key, .. } | ConfigError::Invalid { key, .. },
            ) => Some(key.clone()),
            _ => None,
        },
        reason: failure.to_string(),
    })
}

/// What is wrong with a run, and the setting that it is about.
struct Mistake {
    key: Option<String>,
    reason: String,
}

fn located(file: &GridFile, label: &str, env: &str, mistake: Mistake) -> Failure {
    let key = mistake.key.unwrap_or_default();
    let set: Vec<&str> = ["runs", label, "set"].into_iter().chain(key.split('.')).collect();
    let origin = file.origin(&set);
    let (label, env, reason) = (label.to_owned(), env.to_owned(), mistake.reason);
    Failure::Config(ConfigError::Column { origin, label, env, reason })
}
