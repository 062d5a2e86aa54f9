//! `stac-bench train`: one seed.

use super::job::Job;
use super::manifest::Manifest;
use super::rl_zoo3;
use crate::checkpoint::{self, About, Checkpoints, Loaded};
use crate::display::{self, Display};
use crate::failure::Failure;
use crate::harness::Harness;
use crate::host::Host;
use crate::observer::{RunObserver, Saved};
use crate::run_dir::{self, RunDir, Start};
use crate::score::Score;
use agents::memory::{MemoryMut, Replay};
use agents::room;
use agents::train::{LoopState, Point};
use agents::{Env as _, Learn, Restored, Resumable};
use bridge::{EnvOptions, ForkedVecEnv, GymEnv};
use serde_json::Value;

/// Trains one agent and leaves its run directory behind.
pub fn train(job: &Job, start: Start) -> Result<(), Failure> {
    if let Some(Harness::RlZoo3) = job.harness {
        return rl_zoo3::train(job, start);
    }
    if let Start::New { overwrite } = start {
        run_dir::refuse(&job.folder, overwrite)?;
    }
    let config = &job.config;
    agents::threads::set(job.threads.into())?;
    bridge::initialize()?;
    bridge::handle_interrupts()?;
    let options = EnvOptions {
        id: config.env.clone(),
        kwargs: config.run.env_kwargs.clone(),
        imports: job.env_import.clone(),
        video: None,
    };
    let mut env = ForkedVecEnv::make(&options, config.run.n_envs)?;
    let eval_env = GymEnv::make(&options)?;
    let mut agent = config.prepared.build(env.spaces(), job.seed)?;
    let rows = config.prepared.settings.get("buffer_size").and_then(Value::as_u64);
    if let Some(size) = rows {
        let rows = size.min(config.run.n_timesteps);
        let bytes = Replay::bytes(rows, env.spaces());
        room::require("the replay memory", bytes, "buffer_size", size)?;
    }
    let host = Host::here()?;

    let dir = match start {
        Start::New { overwrite } => RunDir::create(&job.folder, overwrite)?,
        Start::Again(dir) => dir,
    };
    let about = About {
        card: job.card(),
        settings_xxh3: job.settings_xxh3()?,
        host: host.clone(),
        threads: Some(job.threads),
        env_processes: Some(env.processes()),
    };
    let mut checkpoints = Checkpoints::new(dir.path(), about, job.checkpoints.checkpoint_freq);
    let check = |saved: &Saved| Ok(RunObserver::check(dir.path(), saved)?);
    let loaded = checkpoints.load(agent.as_mut(), &check)?;
    if loaded.is_none() {
        dir.clear()?;
    }
    let prepared = &config.prepared;
    let mut manifest =
        Manifest::start(&dir, host, &prepared.settings, prepared.engine.name(), job.threads)?;
    let parts = Parts { agent: agent.as_mut(), env: &mut env, eval_env: Box::new(eval_env) };
    let result = go(job, &dir, parts, checkpoints, loaded, &mut manifest);
    let observer = manifest.end(result).inspect_err(|_| {
        if !job.quiet {
            complain!("what there is: {}", job.shown.display());
        }
    })?;
    if !job.checkpoints.keep_checkpoint {
        checkpoint::remove(dir.path())?;
    }
    if job.report {
        say!("{}", scores(&observer, ", "));
    } else if !job.quiet {
        let (steps, seconds) = (observer.steps(), observer.seconds());
        let speed = steps as f64 / seconds;
        say!("{} on {}, seed {}", config.algorithm.name, config.env, job.seed);
        say!("{steps} steps in {seconds:.0} s ({speed:.0} steps/s)");
        say!("{}", scores(&observer, "\n"));
        say!("run: {}", job.shown.display());
        display::say_where_to_look(&job.out);
    }
    Ok(())
}

/// What trains, and on what.
struct Parts<'a> {
    agent: &'a mut (dyn Learn + 'static),
    env: &'a mut (dyn Resumable + 'static),
    eval_env: Box<dyn Resumable>,
}

/// Begins, or goes on from a checkpoint, and trains to the end.
fn go<'d>(
    job: &Job,
    dir: &'d RunDir,
    parts: Parts<'_>,
    checkpoints: Checkpoints,
    loaded: Option<Loaded<Saved>>,
    manifest: &mut Manifest<'_>,
) -> Result<RunObserver<'d>, Failure> {
    let Parts { agent, env, mut eval_env } = parts;
    job.record()?;
    if loaded.is_none() {
        job.record_command()?;
    }
    if checkpoints.wanted() {
        env.record()?;
        eval_env.record()?;
    }
    let mut resumed = None;
    let mut saved = None;
    if let Some(mut loaded) = loaded {
        RunObserver::restore_best_model(dir, &loaded)?;
        let how = restore(agent, env, eval_env.as_mut(), &mut loaded)?;
        let Loaded { step, about, at, observer, .. } = loaded;
        let processes = checkpoints.other_processes(&about);
        resumed = Some((at, step, about.host, processes, how));
        saved = Some(observer);
    }
    let (run, card) = (job.config.run.clone(), job.card());
    let display = Display::new(run.n_timesteps, job.quiet, job.report);
    let mut observer = RunObserver::open(dir, run, card, eval_env, display, checkpoints, saved)?;
    let at = match resumed {
        Some((at, step, host, processes, how)) => {
            manifest.resumed(step, &host, processes, how)?;
            Ok(at)
        }
        None => LoopState::start(env, job.seed),
    };
    let trained = at.map_err(Failure::from).and_then(|mut at| {
        let point = Going { agent, env, at: &mut at };
        drive(job, point, &mut observer)
    });
    manifest.reached(observer.steps(), observer.seconds(), observer.checkpoint_seconds());
    trained.map(|()| observer)
}

/// Brings the environments back. Returns how the one came back that knows least of its episode.
fn restore(
    agent: &mut dyn Learn,
    env: &mut dyn Resumable,
    eval_env: &mut dyn Resumable,
    loaded: &mut Loaded<Saved>,
) -> Result<Restored, Failure> {
    let obs_dim = env.spaces().obs_dim;
    let mut obs = vec![0.0; env.num_envs() * obs_dim];
    let mut eval_obs = vec![0.0; obs_dim];
    let Saved { eval_env: eval_states, evaluating, .. } = &loaded.observer;
    let (training, evaluation);
    // Random numbers that all environments of a process share take the value that was saved last.
    if *evaluating {
        training = env.restore(&loaded.environments, &mut obs)?;
        evaluation = eval_env.restore(eval_states, &mut eval_obs)?;
    } else {
        evaluation = eval_env.restore(eval_states, &mut eval_obs)?;
        training = env.restore(&loaded.environments, &mut obs)?;
    }
    for (i, (restored, obs)) in training.iter().zip(obs.chunks_exact(obs_dim)).enumerate() {
        if *restored == Restored::NewEpisode {
            loaded.at.begin_episode(i, obs);
            if let MemoryMut::Rollout(rollout) = agent.memory() {
                rollout.cut(i);
            }
        }
    }
    let how = training.into_iter().chain(evaluation).max().unwrap_or(Restored::Exact);
    if how == Restored::NewEpisode {
        tracing::warn!(
            "an environment has state that cannot be saved, or is not deterministic (-v says why): the run goes on \
             from a new episode"
        );
    }
    Ok(how)
}

/// A run on its way.
struct Going<'a> {
    agent: &'a mut (dyn Learn + 'static),
    env: &'a mut (dyn Resumable + 'static),
    at: &'a mut LoopState,
}

impl Going<'_> {
    fn point(&mut self) -> Point<'_, dyn Learn, dyn Resumable> {
        Point { agent: self.agent, env: self.env, state: self.at }
    }
}

/// Trains to the end. A run that is interrupted on the way leaves a checkpoint, and every run its last model.
fn drive(job: &Job, mut run: Going<'_>, observer: &mut RunObserver<'_>) -> Result<(), Failure> {
    let total = job.config.run.n_timesteps;
    let trained = run
        .at
        .run(run.agent, run.env, total, observer)
        .map_err(Failure::from)
        .and_then(|()| match job.checkpoints.keep_checkpoint {
            true => observer.checkpoint(&mut run.point()),
            false => Ok(()),
        })
        .and_then(|()| observer.evaluate_at_end(run.agent));
    if let Err(failure) = &trained
        && failure.is_interruption()
    {
        // Of several environments, some may have taken the step that was interrupted.
        if run.at.is_within_step() && run.env.num_envs() > 1 {
            tracing::warn!("a step was interrupted: the run goes on from the checkpoint before it");
        } else if let Err(failure) = observer.checkpoint(&mut run.point()) {
            tracing::warn!("no checkpoint of the end: {failure}");
        }
    }
    if trained.is_ok() && run.agent.updates() == 0 {
        tracing::warn!(
            "nothing was learned: no update was due in {} steps (see `learning_starts`, `n_steps`)",
            observer.steps()
        );
    }
    let saved = observer.close(run.agent);
    if let (Err(_), Err(failure)) = (&trained, &saved) {
        tracing::warn!("{failure}");
    }
    trained.and(saved)
}

/// The last and the best evaluation.
fn scores(observer: &RunObserver<'_>, separator: &str) -> String {
    let line = |name: &str, score: Score| {
        let Score { steps, mean, std } = score;
        format!("{name} evaluation {mean:.1} ± {std:.1} at step {steps}")
    };
    let last = observer.last().map(|score| line("last", score));
    let best = observer.best().map(|score| line("best", score));
    last.into_iter().chain(best).collect::<Vec<_>>().join(separator)
}
