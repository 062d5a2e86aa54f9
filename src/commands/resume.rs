//! `stac-bench resume`, and `--resume` of `train`: a run goes on from its newest checkpoint.

use super::job::Job;
use super::manifest::{self, Record};
use super::train::train;
use crate::checkpoint;
use crate::cli::ResumeArgs;
use crate::failure::Failure;
use crate::run_dir::{self, RunDir, Start};
use std::path::Path;

/// Goes on with the run in a folder.
pub fn run(arguments: &ResumeArgs) -> Result<(), Failure> {
    let folder = &arguments.run_dir;
    let there = There::own(folder)?;
    let recorded = || {
        Job::recorded(folder)?.ok_or_else(|| {
            let reason =
                "it was stopped before `config.yml` and `args.yml` were written: start it again";
            Failure::NoRun { path: folder.clone(), reason: reason.to_owned() }
        })
    };
    let (recorded, mut job) = (recorded()?, recorded()?);
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
    there.go_on(&job, Some(&recorded), Lost::Refused)
}

/// Starts `job`, or goes on with it where its folder holds that run.
pub fn run_or_start(job: &Job) -> Result<(), Failure> {
    if !run_dir::is_taken(&job.folder) {
        return train(job, Start::New { overwrite: false });
    }
    let there = There::own(&job.folder)?;
    let recorded = Job::recorded(&job.folder)?;
    there.go_on(job, recorded.as_ref(), Lost::Warned)
}

/// What becomes of a run that took steps and left no checkpoint.
#[derive(PartialEq)]
enum Lost {
    /// It is left as it is.
    Refused,
    /// It begins again, with a warning.
    Warned,
}

/// A run and how far it has come. It is owned before it is looked at: its last process may be just ending.
struct There {
    dir: RunDir,
    /// None if it cannot be read.
    record: Option<Record>,
    has_checkpoints: bool,
    /// Whether there is anything to lose. A process that was killed has not said how many steps it took.
    has_results: bool,
}

/// What a run leaves on its way.
const RESULTS: [&str; 4] = ["progress.csv", "evaluations.npz", "best_model", "final_model"];

impl There {
    fn own(folder: &Path) -> Result<Self, Failure> {
        if !folder.join(run_dir::MANIFEST).is_file() {
            let reason = "`manifest.json` is not in it".to_owned();
            return Err(Failure::NoRun { path: folder.to_owned(), reason });
        }
        let dir = RunDir::own_soon(&run_dir::absolute(folder)?)?;
        let record = manifest::read(dir.path());
        let has_checkpoints = !checkpoint::generations(dir.path())?.is_empty();
        let has_results = RESULTS.iter().any(|name| dir.path().join(name).exists());
        Ok(Self { dir, record, has_checkpoints, has_results })
    }

    /// Goes on as `job`. `recorded` is what the folder says that it is; none if its process was killed before it had written that.
    fn go_on(self, job: &Job, recorded: Option<&Job>, lost: Lost) -> Result<(), Failure> {
        if let Some(recorded) = recorded {
            job.refuse_other(recorded)?;
        }
        let path = &job.folder;
        let Some(record) = &self.record else {
            if self.has_checkpoints {
                return train(job, Start::Again(self.dir));
            }
            // Nothing says how far it came: a start from nothing could replace a run that is done.
            let reason = "it cannot be read, and there is no checkpoint to go on from".to_owned();
            return Err(Failure::NoRun { path: path.join(run_dir::MANIFEST), reason });
        };
        let done = record.status == "done";
        if done {
            let Some(recorded) = recorded else {
                let reason = "it is done, but without `config.yml` and `args.yml` nothing says with which settings";
                return Err(Failure::NoRun { path: path.clone(), reason: reason.to_owned() });
            };
            if record.steps >= job.config.run.n_timesteps {
                if !(job.checkpoints.keep_checkpoint || recorded.checkpoints.keep_checkpoint) {
                    // It may have been killed before they were gone.
                    checkpoint::remove(path)?;
                }
                if !job.quiet {
                    say!("{} is done: {} steps", job.shown.display(), record.steps);
                }
                return Ok(());
            }
        }
        if self.has_results && !self.has_checkpoints {
            let none = Failure::NoCheckpoint { path: path.clone(), steps: record.steps, done };
            if done || lost == Lost::Refused {
                return Err(none);
            }
            tracing::warn!("{none}; it begins again now");
        }
        train(job, Start::Again(self.dir))
    }
}
