//! One Gymnasium environment as an [`agents::Env`].

use crate::episode::{self, Recorder, Saved};
use crate::error::attached;
use crate::interpreter::initialize;
use crate::signals::check_signals;
use crate::spaces::SpaceCodec;
use agents::{Env, EnvState, Error, Restored, Result, Resumable, Spaces, Step};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// Which environment to make.
#[derive(Clone, Debug, Default)]
pub struct EnvOptions {
    /// Gymnasium id, for instance `Walker2d-v4`.
    pub id: String,
    /// Keyword arguments of `gymnasium.make`.
    pub kwargs: Map<String, Value>,
    /// Modules to import first: they register the user's environments.
    pub imports: Vec<String>,
    /// Record videos.
    pub video: Option<Video>,
}

/// Where videos are written, one file per episode.
#[derive(Clone, Debug)]
pub struct Video {
    /// The folder.
    pub folder: PathBuf,
    /// How many episodes are recorded, from the first on.
    pub episodes: usize,
}

impl Video {
    /// The video files.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> {
        (0..self.episodes).map(|i| self.folder.join(format!("rl-video-episode-{i}.mp4")))
    }
}

/// A Gymnasium environment. It resets itself when an episode ends.
pub struct GymEnv {
    env: Py<PyAny>,
    step: Py<PyAny>,
    codec: SpaceCodec,
    /// Where the state is to be saved.
    recorder: Option<Recorder>,
}

impl GymEnv {
    /// `gymnasium.make(id, **kwargs)`
    ///
    /// # Errors
    /// [`agents::Error::Env`] during `make` with Gymnasium's own message: an unknown id (with the
    /// nearest ones), a missing package, a space that no agent can use.
    pub fn make(options: &EnvOptions) -> Result<Self> {
        initialize()?;
        attached("make", |py| {
            for module in &options.imports {
                py.import(module.as_str())?;
            }
            let gymnasium = py.import("gymnasium")?;
            let kwargs = PyDict::new(py);
            let json = py.import("json")?;
            for (key, value) in &options.kwargs {
                kwargs.set_item(key, json.call_method1("loads", (value.to_string(),))?)?;
            }
            if options.video.is_some() {
                kwargs.set_item("render_mode", "rgb_array")?;
            }
            let mut env = gymnasium.call_method("make", (&options.id,), Some(&kwargs))?;
            if let Some(Video { folder, episodes }) = &options.video {
                let kwargs = PyDict::new(py);
                // The trigger is the bound method `range(episodes).__contains__`.
                let wanted = py.eval(c"range", None, None)?.call1((*episodes,))?;
                kwargs.set_item("episode_trigger", wanted.getattr("__contains__")?)?;
                let wrappers = py.import("gymnasium.wrappers")?;
                env = wrappers.call_method("RecordVideo", (env, folder), Some(&kwargs))?;
            }
            Ok(Self {
                codec: SpaceCodec::new(&env)?,
                step: env.getattr("step")?.unbind(),
                env: env.unbind(),
                recorder: None,
            })
        })
    }

    fn start_episode(
        &mut self,
        py: Python<'_>,
        seed: Option<u64>,
        obs: &mut [f32],
    ) -> PyResult<()> {
        let env = self.env.bind(py);
        let mut before = None;
        if let Some(recorder) = &mut self.recorder {
            recorder.begin();
            before = Some(episode::capture(env)?);
        }
        let kwargs = PyDict::new(py);
        if let Some(seed) = seed {
            env.getattr(intern!(py, "action_space"))?.call_method1(intern!(py, "seed"), (seed,))?;
            kwargs.set_item(intern!(py, "seed"), seed)?;
        }
        let result = env.call_method(intern!(py, "reset"), (), Some(&kwargs))?;
        let [observation, _info] = values(&result, "reset", ["observation", "info"])?;
        self.codec.observation(&observation, obs)?;
        if let (Some(recorder), Some(before)) = (&mut self.recorder, before) {
            recorder.start(before, seed, obs);
        }
        Ok(())
    }

    /// Brings the environment, and the generators of this process, to where they were when `saved` was. None if it answers
    /// otherwise and has no state of its own.
    fn bring_back(&mut self, saved: &Saved, obs: &mut [f32]) -> Result<Option<Restored>> {
        let Saved { episode, now, own } = saved;
        let how = match self.play_again(saved, obs) {
            Ok(true) => Restored::Exact,
            Err(error) if error.is_interruption() => return Err(error),
            missed => {
                let Some(own) = own else { return missed.map(|_| None) };
                self.reset_from(saved, obs)?;
                attached("load_state_dict", |py| episode::load_own(self.env.bind(py), own))?;
                Restored::OwnState
            }
        };
        obs.copy_from_slice(&episode.obs);
        attached("restore", |py| {
            let env = self.env.bind(py);
            let recorder = self.recorder.get_or_insert_default();
            recorder.episode = Some(episode.clone_ref(py));
            now.as_ref().map_or(Ok(()), |now| episode::restore(env, now))?;
            // Its own methods may tell less than they seem to.
            let as_told = how == Restored::Exact || episode::own(env)? == *own;
            Ok(as_told.then_some(how))
        })
    }

    /// Goes to where the reset of `saved` was, and resets.
    fn reset_from(&mut self, saved: &Saved, obs: &mut [f32]) -> Result<()> {
        let Saved { episode, .. } = saved;
        attached("restore", |py| episode::restore(self.env.bind(py), &episode.before))?;
        self.reset(episode.seed, obs)
    }

    /// Takes the actions of `saved`. Returns whether all answers were the same.
    fn play_again(&mut self, saved: &Saved, obs: &mut [f32]) -> Result<bool> {
        let Saved { episode, now, .. } = saved;
        self.reset_from(saved, obs)?;
        let mut step = Step::new(1, obs.len());
        for action in episode.actions.chunks_exact(self.spaces().action.dim()) {
            check_signals()?;
            self.step(action, &mut step)?;
            if step.ended(0) {
                return Ok(false);
            }
        }
        let played = self.recorder.as_ref().and_then(|recorder| recorder.episode.as_ref());
        if played.is_none_or(|played| played.hash != episode.hash) {
            return Ok(false);
        }
        // Within a step that was interrupted, nobody knows where the generators stood that others draw from too.
        if now.is_some() {
            return Ok(true);
        }
        attached("restore", |py| episode::stands_still(self.env.bind(py), &episode.before))
    }
}

impl Env for GymEnv {
    fn spaces(&self) -> &Spaces {
        &self.codec.spaces
    }

    fn reset(&mut self, seed: Option<u64>, obs: &mut [f32]) -> Result<()> {
        attached("reset", |py| self.start_episode(py, seed, obs))
    }

    fn step(&mut self, actions: &[f32], step: &mut Step) -> Result<()> {
        attached("step", |py| {
            if let Some(recorder) = &mut self.recorder {
                recorder.begin();
            }
            let action = self.codec.action(py, actions)?;
            let result = self.step.bind(py).call1((action,))?;
            let [observation, reward, terminated, truncated, _info] =
                values(&result, "step", STEP)?;
            self.codec.observation(&observation, &mut step.next_obs)?;
            step.rewards[0] = reward.extract()?;
            step.terminated[0] = truth(&terminated, "terminated")?;
            step.truncated[0] = truth(&truncated, "truncated")?;
            if !step.ended(0) {
                step.obs.copy_from_slice(&step.next_obs);
                if let Some(recorder) = &mut self.recorder {
                    recorder.add(actions, step);
                }
            }
            Ok(())
        })?;
        match step.ended(0) {
            true => self.reset(None, &mut step.obs),
            false => Ok(()),
        }
    }
}

/// What `step` returns.
const STEP: [&str; 5] = ["observation", "reward", "terminated", "truncated", "info"];

/// The values that `method` has returned, called `names`.
///
/// # Errors
/// A `ValueError` if there are more or fewer, as from environments of the time before Gymnasium.
fn values<'py, const N: usize>(
    result: &Bound<'py, PyAny>,
    method: &str,
    names: [&str; N],
) -> PyResult<[Bound<'py, PyAny>; N]> {
    let found = result.cast::<PyTuple>().map(|tuple| tuple.iter().collect::<Vec<_>>());
    let returned = match found.map(TryInto::try_into) {
        Ok(Ok(values)) => return Ok(values),
        Ok(Err(other)) => format!("{} values", Vec::len(&other)),
        Err(_) => format!("a value of type {}", result.get_type().name()?),
    };
    let names = names.join(", ");
    let message = format!("`{method}` returned {returned}; {N} are needed, as a tuple: {names}");
    Err(PyValueError::new_err(message))
}

/// A bool, Python's or numpy's.
///
/// # Errors
/// A `ValueError` for anything else: the string "False" is true.
fn truth(value: &Bound<'_, PyAny>, name: &str) -> PyResult<bool> {
    value.extract().map_err(|_| {
        let kind = value.get_type().name().map_or_else(|_| String::new(), |name| name.to_string());
        PyValueError::new_err(format!(
            "`step` returned a `{name}` of type {kind}; a bool is needed"
        ))
    })
}

impl Resumable for GymEnv {
    fn record(&mut self) -> Result<()> {
        self.recorder.get_or_insert_default();
        Ok(())
    }

    fn save(&mut self) -> Result<Vec<EnvState>> {
        let recorder = self.recorder.as_ref().ok_or(Error::NotRecorded)?;
        attached("save", |py| recorder.save(self.env.bind(py))).map(|state| vec![state])
    }

    fn restore(&mut self, states: &[EnvState], obs: &mut [f32]) -> Result<Vec<Restored>> {
        let [state] = states else {
            return Err(Error::EnvCount { expected: 1, found: states.len() });
        };
        let saved = Saved::read(state, self.codec.spaces.obs_dim, self.codec.spaces.action.dim())?;
        self.record()?;
        let Some(saved) = saved else {
            obs.fill(0.0);
            return Ok(vec![Restored::Exact]);
        };
        let why = match self.bring_back(&saved, obs) {
            Ok(Some(how)) => return Ok(vec![how]),
            Ok(None) => "the same actions gave other answers".to_owned(),
            Err(error) if error.is_interruption() => return Err(error),
            Err(error) => error.to_string(),
        };
        tracing::info!("an environment cannot go on within its episode: {why}");
        // Statistics of wrappers and random numbers go on all the same, as far as they fit.
        if let Some(now) = &saved.now {
            let _ = attached("restore", |py| episode::restore(self.env.bind(py), now));
        }
        self.reset(None, obs)?;
        Ok(vec![Restored::NewEpisode])
    }
}

impl Drop for GymEnv {
    /// Closes the environment; that also completes a video file.
    fn drop(&mut self) {
        let closed = attached("close", |py| self.env.bind(py).call_method0("close").map(drop));
        if let Err(error) = closed {
            tracing::warn!(%error, "an environment did not close");
        }
    }
}
