//! `stac-bench train`: one seed.

use super::manifest::Manifest;
use crate::cli::TrainArgs;
use crate::config::{Config, yaml};
use crate::display::{self, Display};
use crate::failure::Failure;
use crate::model::ModelCard;
use crate::observer::RunObserver;
use crate::run_dir::{self, write_whole};
use crate::score::Score;
use agents::{Env, Learn, registry, train};
use bridge::{EnvOptions, ForkedVecEnv, GymEnv};
use serde_json::{Value, json};
use std::path::Path;

/// Trains one agent with `seed` and leaves its run directory behind.
pub fn run(arguments: &TrainArgs, seed: u64) -> Result<(), Failure> {
    let algorithm = registry::find(arguments.algo())?;
    let config = Config::resolve(algorithm, arguments.env(), &arguments.overrides)?;
    let folder = run_dir::run_path(&arguments.out, algorithm.name, &config.env, seed);
    run_dir::refuse_existing(&folder, arguments.overwrite)?;

    agents::threads::set(arguments.threads.into())?;
    bridge::initialize()?;
    bridge::handle_interrupts()?;
    let options = EnvOptions {
        id: config.env.clone(),
        kwargs: config.run.env_kwargs.clone(),
        imports: arguments.env_import.clone(),
        video: None,
    };
    let mut env = ForkedVecEnv::make(&options, config.run.n_envs)?;
    let eval_env = GymEnv::make(&options)?;
    let mut agent = config.prepared.build(env.spaces(), seed)?;
    let settings = config.prepared.settings.clone();

    run_dir::create(&folder, arguments.overwrite)?;
    write_description(&folder, &config, arguments, seed)?;
    let manifest = Manifest::start(&folder, &settings, config.prepared.engine, arguments.threads)?;
    let card = ModelCard {
        algo: algorithm.name.to_owned(),
        env: config.env.clone(),
        env_kwargs: config.run.env_kwargs.clone(),
        env_import: arguments.env_import.clone(),
        seed,
        steps: 0,
        settings,
    };
    let mut steps = 0;
    let result = (|| {
        let display =
            Display::new(config.run.n_timesteps, arguments.quiet, arguments.report.is_some());
        let mut observer = RunObserver::create(
            &folder,
            config.run.clone(),
            card,
            &env,
            Box::new(eval_env),
            display,
        )?;
        let trained = drive(agent.as_mut(), &mut env, &config, seed, &mut observer);
        steps = observer.steps();
        trained.map(|()| observer)
    })();
    let observer = manifest.end(steps, result).inspect_err(|_| {
        if !arguments.quiet {
            complain!("what there is after {steps} steps: {}", folder.display());
        }
    })?;
    if arguments.report.is_some() {
        say!("{}", scores(&observer, ", "));
    } else if !arguments.quiet {
        let (steps, seconds) = (observer.steps(), observer.seconds());
        let speed = steps as f64 / seconds;
        say!("{} on {}, seed {seed}", algorithm.name, config.env);
        say!("{steps} steps in {seconds:.0} s ({speed:.0} steps/s)");
        say!("{}", scores(&observer, "\n"));
        say!("run: {}", folder.display());
        display::say_where_to_look(&arguments.out);
    }
    Ok(())
}

/// Trains to the end; a run that fails or is interrupted on the way keeps its last model too.
fn drive(
    agent: &mut dyn Learn,
    env: &mut dyn Env,
    config: &Config,
    seed: u64,
    observer: &mut RunObserver,
) -> Result<(), Failure> {
    let trained = train::train(agent, env, config.run.n_timesteps, seed, observer)
        .map_err(Failure::from)
        .and_then(|_| observer.evaluate_at_end(agent));
    if trained.is_ok() && agent.updates() == 0 {
        tracing::warn!(
            "nothing was learned: no update was due in {} steps (see `learning_starts`, `n_steps`)",
            observer.steps()
        );
    }
    let saved = observer.close(agent);
    if let (Err(_), Err(failure)) = (&trained, &saved) {
        tracing::warn!("{failure}");
    }
    trained.and(saved)
}

/// `config.yml`, `args.yml` and `command.txt`, as RL Zoo leaves them.
fn write_description(
    folder: &Path,
    config: &Config,
    arguments: &TrainArgs,
    seed: u64,
) -> Result<(), Failure> {
    let args = json!({
        "algo": config.algorithm.name,
        "env": config.env,
        "env_kwargs": config.run.env_kwargs,
        "eval_episodes": config.run.eval_episodes,
        "eval_freq": config.run.eval_freq,
        "gym_packages": arguments.env_import,
        "log_folder": arguments.out.to_string_lossy(),
        "n_envs": config.run.n_envs,
        "n_timesteps": config.run.n_timesteps,
        "seed": seed,
        "threads": arguments.threads,
    });
    let write =
        |name, value: &Value| write_whole(&folder.join(name), yaml::to_string(value).as_bytes());
    write("config.yml", &Value::Object(config.all()?))?;
    write("args.yml", &args)?;
    // Of several seeds, what the user typed.
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let words: Vec<String> = words.take_while(|word| word != "--report").collect();
    let command = shlex::try_join(words.iter().map(String::as_str));
    let command = command.unwrap_or_else(|_| words.join(" "));
    write_whole(&folder.join("command.txt"), format!("{command}\n").as_bytes())
}

/// The last and the best evaluation.
fn scores(observer: &RunObserver, separator: &str) -> String {
    let line = |name: &str, score: &Score| {
        let Score { steps, mean, std } = score;
        format!("{name} evaluation {mean:.1} ± {std:.1} at step {steps}")
    };
    let last = observer.last.iter().map(|score| line("last", score));
    let best = observer.best.iter().map(|score| line("best", score));
    last.chain(best).collect::<Vec<_>>().join(separator)
}
