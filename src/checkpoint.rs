//! What a checkpoint of a run holds: the learner, its memory, the loop, the environments, the observer, and the best
//! model so far.

use crate::failure::Failure;
use crate::host::Host;
use crate::model::ModelCard;
use crate::run_dir::CHECKPOINTS;
use agents::checkpoint::{self, Checkpoint, Store, encode};
use agents::train::{LoopState, Point};
use agents::{EnvState, Error, Learn, Resumable};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Instant;

const LOOP: &str = "loop.bin";
const ENVIRONMENTS: &str = "environments.bin";
const OBSERVER: &str = "observer.bin";
const BEST_MODEL: &str = "best_model.safetensors";

/// Writes the checkpoints of a run.
pub struct Checkpoints {
    store: Store,
    about: About,
    /// Steps from one to the next; none: one after each evaluation.
    freq: Option<u64>,
    /// How long training has waited for them.
    pub seconds: f64,
}

/// What the manifest of a checkpoint says of its run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct About {
    /// To act as this agent.
    pub card: ModelCard,
    /// Of all settings but the number of steps.
    pub settings_xxh3: String,
    /// Where it was written.
    pub host: Host,
    /// Threads that computed gradients; earlier versions did not say.
    #[serde(default)]
    pub threads: Option<u16>,
    /// Processes that stepped the training environments; earlier versions did not say.
    #[serde(default)]
    pub env_processes: Option<usize>,
}

/// A checkpoint to go on from; `S` is the state of the observer. The agent has taken its part already.
pub struct Loaded<S> {
    /// Environment steps before it.
    pub step: u64,
    /// What was said of it.
    pub about: About,
    /// Where training stands.
    pub at: LoopState,
    /// Of the training environments.
    pub environments: Vec<EnvState>,
    /// Of the observer.
    pub observer: S,
    /// The file of the best model so far.
    pub best_model: Option<Vec<u8>>,
}

impl About {
    /// An error if `other` is of another run.
    fn refuse_other(&self, other: &Self) -> agents::Result<()> {
        let (ours, theirs) = (&self.card, &other.card);
        let threads = |threads: Option<u16>| threads.map_or_else(String::new, |n| n.to_string());
        let pairs = [
            ("algorithm", ours.algo.clone(), theirs.algo.clone()),
            ("environment", ours.env.clone(), theirs.env.clone()),
            ("seed", ours.seed.to_string(), theirs.seed.to_string()),
            ("env_import", ours.env_import.join(", "), theirs.env_import.join(", ")),
            ("threads", threads(self.threads), threads(other.threads.or(self.threads))),
        ];
        for (name, ours, theirs) in pairs {
            if ours != theirs {
                return Err(unfit(&format!("its {name} is {theirs}, and that of the run {ours}")));
            }
        }
        match self.settings_xxh3 == other.settings_xxh3 {
            true => Ok(()),
            false => Err(unfit(&"it was written with other settings than config.yml has")),
        }
    }
}

impl Checkpoints {
    /// Those of the run in `folder`.
    pub fn new(folder: &Path, about: About, freq: Option<u64>) -> Self {
        Self { store: Store::new(folder.join(CHECKPOINTS)), about, freq, seconds: 0.0 }
    }

    /// How many processes stepped the environments of `earlier` and step them now, if that differs: environments that share
    /// random numbers within a process then draw others.
    pub fn other_processes(&self, earlier: &About) -> Option<String> {
        let (theirs, ours) = (earlier.env_processes?, self.about.env_processes?);
        (theirs != ours).then(|| format!("environment processes: {theirs} -> {ours}"))
    }

    /// Whether any are wanted.
    pub fn wanted(&self) -> bool {
        self.freq != Some(0)
    }

    /// Whether one is due after `steps` steps, of which the last round took `round`.
    pub fn due(&self, steps: u64, round: u64, evaluated: bool) -> bool {
        match self.freq {
            None => evaluated,
            Some(0) => false,
            Some(freq) => steps / freq > steps.saturating_sub(round) / freq,
        }
    }

    /// Writes one of a run at `point` with the observer's state and the file of its best model.
    pub fn write(
        &mut self,
        point: &mut Point<'_, dyn Learn, dyn Resumable>,
        observer: &impl Serialize,
        best_model: Option<&Path>,
    ) -> agents::Result<()> {
        let start = Instant::now();
        let Point { agent, env, state } = point;
        let (mut parts, replay) = checkpoint::save_agent(*agent)?;
        parts.push((LOOP, encode(state)?));
        parts.push((ENVIRONMENTS, encode(&env.save()?)?));
        parts.push((OBSERVER, encode(observer)?));
        if let Some(path) = best_model {
            let read =
                std::fs::read(path).map_err(|error| unfit(&format!("{}: {error}", path.display())));
            parts.push((BEST_MODEL, read?));
        }
        self.about.card.steps = state.steps;
        let about = serde_json::to_value(&self.about);
        let about = about.map_err(|error| unfit(&error))?;
        self.store.write(state.steps, about, &parts, replay)?;
        self.seconds += start.elapsed().as_secs_f64();
        Ok(())
    }

    /// Reads the newest checkpoint that is whole, and whose observer `check` finds nothing wrong with; none without any.
    ///
    /// # Errors
    /// If there are some, and none can be read.
    pub fn load<S: DeserializeOwned>(
        &mut self,
        agent: &mut dyn Learn,
        check: &dyn Fn(&S) -> agents::Result<()>,
    ) -> agents::Result<Option<Loaded<S>>> {
        let ours = &self.about;
        self.store.newest(&mut |checkpoint, rows| {
            let theirs = about(checkpoint)?;
            ours.refuse_other(&theirs)?;
            let observer = checkpoint.value(OBSERVER)?;
            check(&observer)?;
            checkpoint::load_agent(agent, checkpoint, rows)?;
            Ok(Loaded {
                step: checkpoint.step(),
                about: theirs,
                at: checkpoint.value(LOOP)?,
                environments: checkpoint.value(ENVIRONMENTS)?,
                observer,
                best_model: checkpoint.part(BEST_MODEL).map(<[u8]>::to_vec),
            })
        })
    }
}

/// The generations of the run in `folder`, the newest first.
///
/// # Errors
/// If something is there that cannot be read.
pub fn generations(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let store = Store::new(folder.join(CHECKPOINTS));
    Ok(store.steps()?.into_iter().map(|step| store.path(step)).collect())
}

/// Removes all checkpoints of the run in `folder`.
pub fn remove(folder: &Path) -> Result<(), Failure> {
    Ok(Store::new(folder.join(CHECKPOINTS)).remove()?)
}

/// The agent in the checkpoint at `path`: what it is, and its state for [`Learn::load_state`].
pub fn agent(path: &Path) -> agents::Result<(ModelCard, Vec<u8>)> {
    let checkpoint = Checkpoint::open(path)?;
    Ok((about(&checkpoint)?.card, checkpoint::learner(&checkpoint)?.to_vec()))
}

fn about(checkpoint: &Checkpoint) -> agents::Result<About> {
    serde_json::from_value(checkpoint.about().clone()).map_err(|error| unfit(&error))
}

fn unfit(reason: &dyn std::fmt::Display) -> Error {
    Error::State { of: "a checkpoint", reason: reason.to_string() }
}
