//! `stac-bench eval`: runs a saved agent.

use crate::checkpoint;
use crate::cli::{EvalArgs, Which};
use crate::failure::Failure;
use crate::model::{self, ModelCard};
use crate::run_dir::CHECKPOINTS;
use agents::checkpoint::Checkpoint;
use agents::train::{self, EvaluationPlan};
use agents::{Env as _, Parameter, registry};
use bridge::{EnvOptions, GymEnv, Video};
use std::path::Path;

/// Prints the mean, the deviation and each return.
pub fn run(arguments: &EvalArgs) -> Result<(), Failure> {
    let (card, weights) = find(arguments)?;
    let consent = &arguments.consent;
    consent.check(&arguments.run_dir, &card.env, &card.env_import, &card.env_kwargs)?;
    model::refuse_larger(&card, weights.numbers())?;

    tch::set_num_threads(1);
    bridge::initialize()?;
    bridge::handle_interrupts()?;
    let episodes = usize::try_from(arguments.episodes).unwrap_or(usize::MAX);
    let folder = arguments.run_dir.join("videos");
    let video = arguments.render.then_some(Video { folder, episodes });
    let options = EnvOptions {
        id: card.env.clone(),
        kwargs: card.env_kwargs.clone(),
        imports: consent.env_import.clone(),
        video: video.clone(),
    };
    // Acting needs no GPU, wherever training was, and no leader.
    let algorithm = registry::find(&card.algo)?;
    let mut settings = card.settings.clone();
    settings.insert("device".into(), "cpu".into());
    settings
        .retain(|key, _| algorithm.foreign(&card.settings).iter().all(|(other, _)| other != key));
    let evaluate = || -> agents::Result<_> {
        let mut env = GymEnv::make(&options)?;
        let mut agent = algorithm.build(&settings, env.spaces(), card.seed)?;
        match &weights {
            Weights::Model(parameters) => agent.set_parameters(parameters)?,
            Weights::Checkpoint(state) => agent.load_state(state)?,
        }
        let (max_steps, seed) = (arguments.max_steps, Some(arguments.seed));
        let plan = EvaluationPlan { episodes, max_steps, seed };
        train::evaluate(agent.as_mut(), &mut env, plan, &mut bridge::check_signals)
    };
    let evaluation = evaluate().inspect_err(|error| {
        if arguments.render && error.to_string().contains("GL") {
            tracing::warn!(
                "pictures need OpenGL: without a display, `apt install libosmesa6` and set MUJOCO_GL=osmesa"
            );
        }
    })?;

    say!("{} on {}, seed {}, after {} steps", card.algo, card.env, card.seed, card.steps);
    say!("mean return {:.2} ± {:.2} over {episodes} episodes", evaluation.mean(), evaluation.std());
    if evaluation.cut > 0 {
        let (cut, most) = (evaluation.cut, arguments.max_steps);
        say!("{cut} of them did not end within {most} steps (--max-steps) and were cut");
    }
    for (i, (total, length)) in evaluation.returns.iter().zip(&evaluation.lengths).enumerate() {
        say!("episode {:<4} return {total:.2}, {length} steps", i + 1);
    }
    for video in video.iter().flat_map(Video::paths) {
        say!("video {}", video.display());
    }
    Ok(())
}

/// What an agent has learnt.
enum Weights {
    Model(Vec<Parameter>),
    Checkpoint(Vec<u8>),
}

impl Weights {
    /// How many numbers they are, at most.
    fn numbers(&self) -> usize {
        match self {
            Self::Model(parameters) => parameters.iter().map(|p| p.values.len()).sum(),
            Self::Checkpoint(state) => state.len() / size_of::<f32>(),
        }
    }
}

/// The model that `arguments` name.
fn find(arguments: &EvalArgs) -> Result<(ModelCard, Weights), Failure> {
    let folder = &arguments.run_dir;
    let name = match arguments.model {
        _ if Checkpoint::is_one(folder) => return checkpointed(folder),
        Which::Best => "best_model",
        Which::Final => "final_model",
        Which::Checkpoint => match checkpoint::generations(folder)?.first() {
            Some(newest) => return checkpointed(newest),
            None => CHECKPOINTS,
        },
    };
    if !folder.join(name).is_dir() {
        let reason = format!("`{name}` is not in it");
        return Err(Failure::NoRun { path: folder.clone(), reason });
    }
    let (card, parameters) = model::load(&folder.join(name))?;
    Ok((card, Weights::Model(parameters)))
}

fn checkpointed(folder: &Path) -> Result<(ModelCard, Weights), Failure> {
    let (card, state) = checkpoint::agent(folder)?;
    Ok((card, Weights::Checkpoint(state)))
}
