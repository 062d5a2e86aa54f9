//! `stac-bench resume`, and `--resume` of `train`: a run goes on from its newest checkpoint.

use super::job::Job;
use super::manifest;
use super::train::{Start, train};
use crate::checkpoint;
use crate::cli::ResumeArgs;
use crate::failure::Failure;
use crate::run_dir::{self, RunDir};

/// Goes on with the run in a folder.
pub fn run(arguments: &ResumeArgs) -> Result<(), Failure> {
    let folder = &arguments.run_dir;
    let no_run = |reason: &str| Failure::NoRun { path: folder.clone(), reason: reason.to_owned() };
    if !folder.join(run_dir::MANIFEST).is_file() {
        return Err(no_run("`manifest.json` is not in it"));
    }
    let unfinished =
        || no_run("it was stopped before `config.yml` and `args.yml` were written: start it again");
    let recorded = Job::recorded(folder)?.ok_or_else(unfinished)?;
    let mut job = Job::recorded(folder)?.ok_or_else(unfinished)?;
    let config = &recorded.config;
    let kwargs = &config.run.env_kwargs;
    arguments.consent.check(folder, &config.env, &recorded.env_import, kwargs)?;
    if let Some(steps) = arguments.steps {
        job.config.run.n_timesteps = steps;
    }
    let given = arguments.checkpoints;
    job.checkpoints.checkpoint_freq = given.checkpoint_freq.or(job.checkpoints.checkpoint_freq);
    job.checkpoints.keep_checkpoint |= given.keep_checkpoint;
    job.quiet = arguments.quiet;
    go_on(&job, &recorded)
}

/// Starts `job`, or goes on with it where its folder holds that run.
pub fn run_or_start(job: &Job) -> Result<(), Failure> {
    if !run_dir::is_taken(&job.folder) {
        return train(job, Start::New { overwrite: false });
    }
    match Job::recorded(&job.folder)? {
        Some(recorded) => go_on(job, &recorded),
        // Killed before it had written what it is.
        None if job.folder.join(run_dir::MANIFEST).is_file() => {
            train(job, Start::Again(RunDir::own_soon(&job.folder)?))
        }
        None => {
            let reason = "`manifest.json` is not in it".to_owned();
            Err(Failure::NoRun { path: job.folder.clone(), reason })
        }
    }
}

fn go_on(job: &Job, recorded: &Job) -> Result<(), Failure> {
    job.refuse_other(recorded)?;
    let record = manifest::read(&job.folder);
    // Nothing says how far it came: a start from nothing could replace a run that is done.
    if record.is_none() && checkpoint::generations(&job.folder).is_empty() {
        let reason = "it cannot be read, and there is no checkpoint to go on from".to_owned();
        return Err(Failure::NoRun { path: job.folder.join(run_dir::MANIFEST), reason });
    }
    let record = record.filter(|record| record.status == "done");
    if let Some(record) = record {
        let path = &job.folder;
        if record.steps >= job.config.run.n_timesteps {
            if !recorded.checkpoints.keep_checkpoint && path.join(run_dir::CHECKPOINTS).exists() {
                // It was killed before they were gone.
                let _dir = RunDir::own_soon(path)?;
                checkpoint::remove(path)?;
            }
            if !job.quiet {
                say!("{} is done: {} steps", job.shown.display(), record.steps);
            }
            return Ok(());
        }
        if checkpoint::generations(path).is_empty() {
            return Err(Failure::NoCheckpoint { path: path.clone(), steps: record.steps });
        }
    }
    train(job, Start::Again(RunDir::own_soon(&job.folder)?))
}
