//! What a sweep has to do: every run of a grid, with its folder and its command.

use crate::cli::{Cli, TrainArgs};
use crate::commands::job::Job;
use crate::commands::rl_zoo3;
use crate::config::grid::{Column, GridFile, folder_of};
use crate::config::{ConfigError, yaml};
use crate::failure::Failure;
use crate::harness::Harness;
use crate::run_dir::{absolute, run_path};
use agents::Env as _;
use bridge::{EnvOptions, GymEnv};
use clap::Parser as _;
use std::path::{Path, PathBuf};

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
    if let Some(seed) = file.seeds.iter().find(|seed| **seed > u32::MAX.into())
        && file.columns.iter().any(|(_, column)| column.harness.is_some())
    {
        let reason = format!("Stable-Baselines3 takes no seed above {}, so not {seed}", u32::MAX);
        return Err(file.invalid(&["seeds"], &reason).into());
    }
    runs(file).map(|run| planned(file, run, out)).collect()
}

/// The run of this number alone.
///
/// # Errors
/// As [`plan`], and if there are not so many.
pub fn one(file: &GridFile, out: &Path, number: usize) -> Result<Planned, Failure> {
    let none = || Failure::Usage(format!("--only {number}: the plan ends before"));
    planned(file, runs(file).nth(number).ok_or_else(none)?, out)
}

/// The folder of the run of this number.
pub fn folder(file: &GridFile, out: &Path, number: usize) -> Option<PathBuf> {
    let (seed, env, label, column) = runs(file).nth(number)?;
    let out = out_of(file, label, out);
    absolute(&run_path(&out, &column.algo, env, seed)).ok()
}

/// Seed, environment, label and column of each run.
fn runs(file: &GridFile) -> impl Iterator<Item = (u64, &String, &String, &Column)> {
    file.seeds.iter().flat_map(move |&seed| {
        file.grid.envs.iter().flat_map(move |env| {
            file.columns.iter().map(move |(label, column)| (seed, env, label, column))
        })
    })
}

fn planned(
    file: &GridFile,
    (seed, env, label, column): (u64, &String, &String, &Column),
    out: &Path,
) -> Result<Planned, Failure> {
    let words = words(file, label, column, env, seed, out);
    let job = job(&words, seed).map_err(|reason| located(file, label, env, reason))?;
    Ok(Planned { label: label.clone(), job, words })
}

/// The folder of a label's runs.
fn out_of(file: &GridFile, label: &str, out: &Path) -> PathBuf {
    out.join(&file.grid.name).join(folder_of(label))
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
        bridge::check_signals()?;
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
    let out = out_of(file, label, out);
    let mut words: Vec<String> =
        vec!["--env".into(), env.into(), "--algo".into(), column.algo.clone()];
    words.extend([
        "--seed".into(),
        seed.to_string(),
        "--steps".into(),
        file.grid.steps.to_string(),
    ]);
    words.extend(
        column.harness.iter().flat_map(|harness| ["--harness".into(), harness.name().into()]),
    );
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
