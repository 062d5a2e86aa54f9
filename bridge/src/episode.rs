//! What it takes to bring an environment back: a snapshot before its last reset, the actions since then, and a hash of
//! all that it has answered.

use agents::{EnvState, Error, Result, Step};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Records an environment's running episode.
#[derive(Default)]
pub(crate) struct Recorder {
    /// None before the first reset.
    pub(crate) episode: Option<Episode>,
    /// Whether a step or reset has begun and did not end: what the environment holds now is half of something.
    pub(crate) unfinished: bool,
}

/// What has happened since a reset, that reset included.
pub(crate) struct Episode {
    /// The snapshot before the reset.
    pub(crate) before: Py<PyAny>,
    pub(crate) seed: Option<u64>,
    pub(crate) actions: Vec<f32>,
    /// Of all observations and rewards. The flags have all been false: otherwise there would be another reset.
    pub(crate) hash: u64,
    /// The last observation.
    pub(crate) obs: Vec<f32>,
}

impl Episode {
    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        let Self { before, seed, actions, hash, obs } = self;
        let (before, actions, obs) = (before.clone_ref(py), actions.clone(), obs.clone());
        Self { before, seed: *seed, actions, hash: *hash, obs }
    }
}

/// What an [`EnvState`] holds. Another form later is another variant.
#[derive(Serialize, Deserialize)]
enum Stored {
    /// There was no reset yet.
    Untouched,
    Episode(StoredEpisode),
}

#[derive(Serialize, Deserialize)]
struct StoredEpisode {
    before: Vec<u8>,
    /// The snapshot when this was saved, unless a step was unfinished.
    now: Option<Vec<u8>>,
    /// What the environment's own `state_dict` gave.
    own: Option<Vec<u8>>,
    seed: Option<u64>,
    hash: u64,
    obs: Vec<f32>,
    actions: Vec<f32>,
}

/// A state that was read back.
pub(crate) struct Saved {
    pub(crate) episode: Episode,
    pub(crate) now: Option<Py<PyAny>>,
    pub(crate) own: Option<Vec<u8>>,
}

impl Recorder {
    /// A step or reset begins.
    pub(crate) fn begin(&mut self) {
        self.unfinished = true;
    }

    /// A reset has worked.
    pub(crate) fn start(&mut self, before: Py<PyAny>, seed: Option<u64>, obs: &[f32]) {
        let hash = chain(0, bytemuck::cast_slice(obs));
        let obs = obs.to_vec();
        self.episode = Some(Episode { before, seed, actions: Vec::new(), hash, obs });
        self.unfinished = false;
    }

    /// A step has worked, and the episode goes on.
    pub(crate) fn add(&mut self, actions: &[f32], step: &Step) {
        self.unfinished = false;
        let Some(episode) = &mut self.episode else { return };
        episode.actions.extend_from_slice(actions);
        episode.obs.copy_from_slice(&step.next_obs);
        episode.hash = chain(episode.hash, bytemuck::cast_slice(&step.next_obs));
        episode.hash = chain(episode.hash, bytemuck::cast_slice(&step.rewards));
    }

    pub(crate) fn save(&self, env: &Bound<'_, PyAny>) -> PyResult<EnvState> {
        let py = env.py();
        let bytes = |tree| call(py, "to_bytes", (tree,))?.extract();
        let stored = match &self.episode {
            None => Stored::Untouched,
            Some(episode) => {
                let whole = !self.unfinished;
                let own = if whole { own(env)? } else { None };
                Stored::Episode(StoredEpisode {
                    before: bytes(episode.before.clone_ref(py))?,
                    now: whole.then(|| bytes(capture(env)?)).transpose()?,
                    own,
                    seed: episode.seed,
                    hash: episode.hash,
                    obs: episode.obs.clone(),
                    actions: episode.actions.clone(),
                })
            }
        };
        let bytes = postcard::to_allocvec(&stored);
        bytes.map(EnvState).map_err(|error| {
            pyo3::exceptions::PyRuntimeError::new_err(format!(
                "its state cannot be stored: {error}"
            ))
        })
    }
}

impl Saved {
    /// Reads `state`; none if its environment was not reset yet.
    pub(crate) fn read(
        state: &EnvState,
        obs_dim: usize,
        action_dim: usize,
    ) -> Result<Option<Self>> {
        let wrong = |error: &dyn std::fmt::Display| Error::EnvState(error.to_string());
        let (stored, rest) =
            postcard::take_from_bytes::<Stored>(&state.0).map_err(|error| wrong(&error))?;
        if !rest.is_empty() {
            return Err(wrong(&format!("{} bytes are too many", rest.len())));
        }
        let Stored::Episode(stored) = stored else { return Ok(None) };
        let StoredEpisode { before, now, own, seed, hash, obs, actions } = stored;
        if obs.len() != obs_dim || actions.len() % action_dim.max(1) != 0 {
            let sizes = (obs.len(), actions.len());
            return Err(wrong(&format!(
                "its observation and actions have {sizes:?} numbers, not {obs_dim} and a multiple of {action_dim}"
            )));
        }
        let saved = Python::attach(|py| -> PyResult<Self> {
            let read = |bytes: Vec<u8>| {
                call(py, "from_bytes", (PyBytes::new(py, &bytes),)).map(Bound::unbind)
            };
            let before = read(before)?;
            let now = now.map(read).transpose()?;
            Ok(Self { episode: Episode { before, seed, actions, hash, obs }, now, own })
        });
        saved.map(Some).map_err(|error| wrong(&error))
    }
}

/// A snapshot of `env` as it is.
pub(crate) fn capture(env: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    let function = module(env.py())?.getattr(intern!(env.py(), "capture"))?;
    function.call1((env,)).map(Bound::unbind)
}

/// Brings a freshly made `env` to a snapshot.
pub(crate) fn restore(env: &Bound<'_, PyAny>, tree: &Py<PyAny>) -> PyResult<()> {
    call(env.py(), "restore", (env, tree)).map(drop)
}

/// The state that an environment gives itself, if it can.
pub(crate) fn own(env: &Bound<'_, PyAny>) -> PyResult<Option<Vec<u8>>> {
    call(env.py(), "own_state", (env,))?.extract()
}

/// Hands an environment the state that it has given itself.
pub(crate) fn load_own(env: &Bound<'_, PyAny>, state: &[u8]) -> PyResult<()> {
    call(env.py(), "load_own_state", (env, PyBytes::new(env.py(), state))).map(drop)
}

/// Whether the generators that all of a process share stand where they stood at the snapshot `before`.
pub(crate) fn stands_still(env: &Bound<'_, PyAny>, before: &Py<PyAny>) -> PyResult<bool> {
    let py = env.py();
    let shared = |tree: &Py<PyAny>| -> PyResult<Vec<u8>> {
        let tree = tree.bind(py);
        let generators = (tree.get_item("random")?, tree.get_item("numpy")?);
        call(py, "to_bytes", (generators,))?.extract()
    };
    Ok(shared(&capture(env)?)? == shared(before)?)
}

fn call<'py>(
    py: Python<'py>,
    name: &str,
    arguments: impl pyo3::call::PyCallArgs<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    module(py)?.getattr(name)?.call1(arguments)
}

/// `snapshot.py`, which needs no installed package.
fn module(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let made = MODULE.get_or_try_init(py, || {
        let code = CString::new(include_str!("../python/stac_bench/snapshot.py"))?;
        PyModule::from_code(py, &code, c"snapshot.py", c"stac_bench_snapshot").map(Bound::unbind)
    })?;
    Ok(made.bind(py))
}

/// The hash of all so far and of `bytes`.
fn chain(hash: u64, bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, hash)
}
