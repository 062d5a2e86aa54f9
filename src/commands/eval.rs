//! `stac-bench eval`: runs a saved agent.

use crate::cli::{EvalArgs, Which};
use crate::failure::Failure;
use crate::model;
use agents::{Env as _, algo, train};
use bridge::{EnvOptions, GymEnv};
use std::path::Path;

/// Prints the mean, the deviation and each return.
pub fn run(arguments: &EvalArgs) -> Result<(), Failure> {
    let name = match arguments.model {
        Which::Best => "best_model",
        Which::Final => "final_model",
    };
    let folder = arguments.run_dir.join(name);
    if !folder.is_dir() {
        let reason = format!("`{name}` is not in it");
        return Err(Failure::NoRun { path: arguments.run_dir.clone(), reason });
    }
    let (card, parameters) = model::load(&folder)?;

    tch::set_num_threads(1);
    bridge::initialize()?;
    bridge::handle_interrupts()?;
    let videos = arguments.run_dir.join("videos");
    let mut env = GymEnv::make(&EnvOptions {
        id: card.env.clone(),
        kwargs: card.env_kwargs.clone(),
        imports: card.env_import.iter().chain(&arguments.env_import).cloned().collect(),
        video: arguments.render.then(|| videos.clone()),
    })?;
    let mut agent = algo::find(&card.algo)?.build(&card.settings, env.spaces(), card.seed)?;
    agent.set_parameters(&parameters)?;
    let episodes = usize::try_from(arguments.episodes).unwrap_or(usize::MAX);
    let evaluation = train::evaluate(agent.as_mut(), &mut env, episodes, Some(arguments.seed))?;

    say!("{} on {}, seed {}, after {} steps", card.algo, card.env, card.seed, card.steps);
    say!("mean return {:.2} ± {:.2} over {episodes} episodes", evaluation.mean(), evaluation.std());
    for (i, (total, length)) in evaluation.returns.iter().zip(&evaluation.lengths).enumerate() {
        say!("episode {:<4} return {total:.2}, {length} steps", i + 1);
    }
    drop(env);
    if arguments.render {
        list_videos(&videos)?;
    }
    Ok(())
}

fn list_videos(folder: &Path) -> Result<(), Failure> {
    let entries = std::fs::read_dir(folder).map_err(Failure::file("read", folder))?;
    let mut videos: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    videos.retain(|path| path.extension().is_some_and(|extension| extension == "mp4"));
    videos.sort();
    for video in videos {
        say!("video {}", video.display());
    }
    Ok(())
}
