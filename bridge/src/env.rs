//! One Gymnasium environment as an [`agents::Env`].

use crate::error::attached;
use crate::interpreter::initialize;
use crate::spaces::{SpaceCodec, copy_observation};
use agents::{Env, Result, Spaces, Step};
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
            })
        })
    }

    fn start_episode(&self, py: Python<'_>, seed: Option<u64>, obs: &mut [f32]) -> PyResult<()> {
        let env = self.env.bind(py);
        let kwargs = PyDict::new(py);
        if let Some(seed) = seed {
            env.getattr(intern!(py, "action_space"))?.call_method1(intern!(py, "seed"), (seed,))?;
            kwargs.set_item(intern!(py, "seed"), seed)?;
        }
        let result = env.call_method(intern!(py, "reset"), (), Some(&kwargs))?;
        copy_observation(&result.get_item(0)?, obs)
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
            let action = self.codec.action(py, actions)?;
            let result = self.step.bind(py).call1((action,))?.cast_into::<PyTuple>()?;
            copy_observation(&result.get_item(0)?, &mut step.next_obs)?;
            step.rewards[0] = result.get_borrowed_item(1)?.extract()?;
            step.terminated[0] = result.get_borrowed_item(2)?.is_truthy()?;
            step.truncated[0] = result.get_borrowed_item(3)?.is_truthy()?;
            if step.ended(0) {
                self.start_episode(py, None, &mut step.obs)
            } else {
                step.obs.copy_from_slice(&step.next_obs);
                Ok(())
            }
        })
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
