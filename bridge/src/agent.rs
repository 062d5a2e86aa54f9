//! A Rust agent as a Python object. The classes of the Python package are built on it.

use crate::checkpoints;
use crate::error::{exception, passing};
use crate::learn;
use crate::shared::{SharedAgent, lock};
use crate::spaces::action_space;
use agents::game::StackelbergConfig;
use agents::memory::Batch;
use agents::registry;
use agents::settings::{Settings, take};
use agents::train::is_usable;
use agents::{Actions, Agent as _, Error, Mode, Moments, Numbers, Parameter, Spaces};
use numpy::{PyArray1, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// `stac_bench._native.Agent`
#[pyclass(name = "Agent", module = "stac_bench._native", frozen)]
pub struct PyAgent {
    agent: SharedAgent,
    spaces: Spaces,
}

type Rows<'py> = Bound<'py, PyAny>;

#[pymethods]
impl PyAgent {
    /// The algorithm `algo` with `settings` (JSON), for observations of `obs_dim` numbers; `threads` threads compute its
    /// gradients. `divisor`: the numbers are bytes, divided by that. `sharing`: of so many environments, the replay memory
    /// holds an observation once where it is seen after one step and before the next.
    #[new]
    #[pyo3(signature = (algo, settings, obs_dim, actions, seed, threads, *, divisor=None, sharing=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        algo: &str,
        settings: &str,
        obs_dim: usize,
        actions: &Bound<'_, PyAny>,
        seed: u64,
        threads: usize,
        divisor: Option<u8>,
        sharing: Option<usize>,
    ) -> PyResult<Self> {
        agents::threads::share(threads).map_err(exception)?;
        let numbers = match divisor {
            None => Numbers::Any,
            Some(1) => Numbers::Bytes,
            Some(255) => Numbers::Pixels,
            Some(other) => {
                let message = format!("divisor={other}: it must be 1 or 255");
                return Err(PyValueError::new_err(message));
            }
        };
        let spaces = Spaces { numbers, ..Spaces::new(obs_dim, action_space(actions)?) };
        let agent = registry::find(algo).and_then(|a| a.build(&read(settings)?, &spaces, seed));
        let mut agent = agent.map_err(exception)?;
        if let (Some(n), Some(replay)) = (sharing, agent.memory().replay()) {
            *replay = replay.sharing();
            replay.set_stride(n);
        }
        Ok(Self { agent: Arc::new(Mutex::new(agent)), spaces })
    }

    /// Changes the settings (JSON), also while a training loop runs. If the networks stay the same, so do weights,
    /// optimisers, generators and counters.
    fn configure(
        &self,
        algo: &str,
        settings: &str,
        actions: &Bound<'_, PyAny>,
        seed: u64,
        threads: usize,
    ) -> PyResult<()> {
        agents::threads::share(threads).map_err(exception)?;
        let spaces = Spaces { action: action_space(actions)?, ..self.spaces.clone() };
        let new = registry::find(algo).and_then(|a| a.build(&read(settings)?, &spaces, seed));
        lock(&self.agent).configure(new.map_err(exception)?).map_err(exception)
    }

    /// Seeds all generators, as in a new agent of `seed`.
    fn reseed(&self, seed: u64) {
        lock(&self.agent).reseed(seed);
    }

    /// The factor of an adaptive damping: its current value divided by its first.
    #[getter]
    fn damping(&self) -> f64 {
        lock(&self.agent).damping()
    }

    #[setter]
    fn set_damping(&self, factor: f64) {
        lock(&self.agent).set_damping(factor);
    }

    /// Gradient updates so far.
    #[getter]
    fn updates(&self) -> u64 {
        lock(&self.agent).updates()
    }

    /// All parameters as arrays by name, with Stable-Baselines3's names.
    fn parameters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        by_name(py, &lock(&self.agent).parameters())
    }

    /// Replaces all parameters.
    fn set_parameters(&self, parameters: &Bound<'_, PyDict>) -> PyResult<()> {
        let parameters = parameters.iter().map(|(name, values)| {
            let array: PyReadonlyArrayDyn<'_, f32> = values.extract()?;
            Ok(Parameter {
                name: name.extract()?,
                shape: array.shape().to_vec(),
                values: array.as_array().iter().copied().collect(),
            })
        });
        let parameters = parameters.collect::<PyResult<Vec<_>>>()?;
        lock(&self.agent).set_parameters(&parameters).map_err(exception)
    }

    /// `(step, exp_avg, exp_avg_sq)` of Adam by name, the arrays flat.
    fn moments<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for Moments { name, step, mean, square } in lock(&self.agent).moments() {
            let arrays = (PyArray1::from_vec(py, mean), PyArray1::from_vec(py, square));
            dict.set_item(name, (step, arrays.0, arrays.1))?;
        }
        Ok(dict)
    }

    /// Replaces Adam's state; a name that is missing is reset to zero.
    fn set_moments(&self, moments: &Bound<'_, PyDict>) -> PyResult<()> {
        let moments = moments.iter().map(|(name, value)| {
            let value = value.cast::<PyTuple>()?;
            Ok(Moments {
                name: name.extract()?,
                step: value.get_item(0)?.extract()?,
                mean: flat(&value.get_item(1)?)?,
                square: flat(&value.get_item(2)?)?,
            })
        });
        let moments = moments.collect::<PyResult<Vec<_>>>()?;
        lock(&self.agent).set_moments(&moments).map_err(exception)
    }

    /// Writes a checkpoint of the agent and `parts` to `folder`, in place of one that is there. `about` is JSON.
    fn save_checkpoint(
        &self,
        py: Python<'_>,
        folder: PathBuf,
        step: u64,
        about: &str,
        parts: HashMap<String, Vec<u8>>,
    ) -> PyResult<()> {
        py.detach(|| checkpoints::save(lock(&self.agent).as_mut(), &folder, step, about, parts))
            .map_err(exception)
    }

    /// Brings the agent, which has the same settings, to the checkpoint in `folder`.
    fn load_checkpoint(&self, py: Python<'_>, folder: PathBuf) -> PyResult<()> {
        py.detach(|| checkpoints::load(lock(&self.agent).as_mut(), &folder)).map_err(exception)
    }

    /// Means of the metrics since the last call, by TensorBoard tag.
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (tag, value) in lock(&self.agent).metrics() {
            dict.set_item(tag, value)?;
        }
        Ok(dict)
    }

    /// Sets the step size.
    fn set_learning_rate(&self, learning_rate: f64) {
        lock(&self.agent).set_learning_rate(learning_rate);
    }

    /// Actions without exploration, for rows of observations that are normalised already.
    fn act<'py>(
        &self,
        py: Python<'py>,
        obs: PyReadonlyArrayDyn<'_, f32>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let obs: Vec<f32> = obs.as_array().iter().copied().collect();
        if self.spaces.obs_dim == 0 || !obs.len().is_multiple_of(self.spaces.obs_dim) {
            let message = format!("observations must be rows of {}", self.spaces.obs_dim);
            return Err(PyValueError::new_err(message));
        }
        let rows = obs.len() / self.spaces.obs_dim;
        let mut actions = Actions::new(rows * self.spaces.action.dim());
        let mut agent = lock(&self.agent);
        let normalizer = agent.set_normalizer(None);
        let acted = agent.act(&obs, Mode::Deterministic, &mut actions);
        agent.set_normalizer(normalizer);
        acted.map_err(exception)?;
        Ok(PyArray1::from_vec(py, actions.env))
    }

    /// How many transitions were ever added to the replay memory.
    #[getter]
    fn remembered(&self) -> u64 {
        lock(&self.agent).memory().replay().map_or(0, |replay| replay.pushed())
    }

    /// The last `count` transitions, oldest first: `obs, actions, rewards, next_obs, dones, timeouts`,
    /// flat.
    fn recall<'py>(&self, py: Python<'py>, count: usize) -> PyResult<Bound<'py, PyTuple>> {
        let last = lock(&self.agent).memory().replay().map(|replay| replay.last(count));
        let (batch, timeouts) = last.unwrap_or_default();
        let Batch { obs, actions, rewards, next_obs, dones, .. } = batch;
        let columns = [obs, actions, rewards, next_obs, dones, timeouts];
        PyTuple::new(py, columns.map(|column| PyArray1::from_vec(py, column)))
    }

    /// Adds transitions to the replay memory. With `next` they replace all that it holds, in the order of the ring
    /// buffer, and `next` is the index of the oldest.
    #[pyo3(signature = (obs, actions, rewards, next_obs, dones, timeouts, next=None))]
    #[allow(clippy::too_many_arguments)]
    fn remember(
        &self,
        obs: PyReadonlyArrayDyn<'_, f32>,
        actions: PyReadonlyArrayDyn<'_, f32>,
        rewards: PyReadonlyArrayDyn<'_, f32>,
        next_obs: PyReadonlyArrayDyn<'_, f32>,
        dones: PyReadonlyArrayDyn<'_, f32>,
        timeouts: PyReadonlyArrayDyn<'_, f32>,
        next: Option<usize>,
    ) -> PyResult<()> {
        let (n, m) = (self.spaces.obs_dim, self.spaces.action.dim());
        let columns = (obs.as_slice()?, actions.as_slice()?, next_obs.as_slice()?);
        let (dones, timeouts) = (dones.as_slice()?, timeouts.as_slice()?);
        let ends = rewards.as_slice()?.iter().zip(dones.iter().zip(timeouts));
        let rows = columns.0.chunks_exact(n).zip(columns.1.chunks_exact(m));
        let usable = [
            ("an observation", columns.0, n),
            ("an action", columns.1, m),
            ("a reward", rewards.as_slice()?, 1),
            ("an observation", columns.2, n),
        ];
        for (what, column, width) in usable {
            if let Some(i) = column.iter().position(|&x| !is_usable(x)) {
                let (value, row) = (column.get(i).copied().unwrap_or(f32::NAN).into(), i / width);
                return Err(exception(Error::Remembered { what, value, row }));
            }
        }
        let mut agent = lock(&self.agent);
        if let Some(replay) = agent.memory().replay() {
            if next.is_some() {
                replay.clear();
            }
            for (((obs, action), next), (&reward, (&done, &timeout))) in
                rows.zip(columns.2.chunks_exact(n)).zip(ends)
            {
                replay.push(obs, action, reward, next, (done != 0.0, timeout != 0.0));
            }
            if let Some(next) = next {
                replay.seek(next);
            }
        }
        Ok(())
    }

    /// Actions of the current rollout before clipping, environment after environment, flat.
    fn drawn<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        let actions = lock(&self.agent).memory().rollout().map(|rollout| rollout.actions());
        PyArray1::from_vec(py, actions.unwrap_or_default())
    }

    /// `leader_gradient`, `implicit_term`, `total_derivative`, `follower_gradient` on `batch`, and the outcome of the
    /// linear solve.
    fn game_gradients<'py>(
        &self,
        py: Python<'py>,
        batch: &Bound<'py, PyDict>,
        settings: &str,
    ) -> PyResult<(Bound<'py, PyDict>, Bound<'py, PyDict>)> {
        let column = |name: &str| -> PyResult<Vec<f32>> {
            batch.get_item(name)?.map_or_else(|| Ok(Vec::new()), |values| flat(&values))
        };
        let batch = Batch {
            size: column("rewards")?.len(),
            obs: column("obs")?,
            actions: column("actions")?,
            rewards: column("rewards")?,
            next_obs: column("next_obs")?,
            dones: column("dones")?,
            noise: column("noise")?,
            next_noise: column("next_noise")?,
        };
        let (n, m) = (self.spaces.obs_dim, self.spaces.action.dim());
        let columns = [
            ("obs", &batch.obs, n),
            ("actions", &batch.actions, m),
            ("rewards", &batch.rewards, 1),
            ("next_obs", &batch.next_obs, n),
            ("dones", &batch.dones, 1),
        ];
        for (name, values, width) in columns {
            if values.len() != batch.size * width {
                let message = format!(
                    "`{name}` has {} numbers; {} rewards need {}",
                    values.len(),
                    batch.size,
                    batch.size * width
                );
                return Err(PyValueError::new_err(message));
            }
        }
        let settings: StackelbergConfig =
            read(settings).and_then(|mut settings| take(&mut settings)).map_err(exception)?;
        let agent = &self.agent;
        let gradients = py.detach(|| lock(agent).game_gradients(&batch, &settings));
        let gradients = gradients.map_err(exception)?;
        let dict = PyDict::new(py);
        dict.set_item("leader_gradient", by_name(py, &gradients.leader)?)?;
        dict.set_item("implicit_term", by_name(py, &gradients.implicit)?)?;
        dict.set_item("total_derivative", by_name(py, &gradients.total)?)?;
        dict.set_item("follower_gradient", by_name(py, &gradients.follower)?)?;
        let solve = PyDict::new(py);
        solve.set_item("residual", gradients.solve.residual)?;
        solve.set_item("iterations", gradients.solve.iterations)?;
        solve.set_item("negative_curvature", gradients.solve.negative_curvature)?;
        solve.set_item("fallback", gradients.solve.fallback)?;
        Ok((dict, solve))
    }

    /// Makes `updates` updates on what is remembered, on `threads` threads. The GIL is released meanwhile.
    #[pyo3(signature = (updates, threads, *, normalizer=None))]
    fn train(
        &self,
        py: Python<'_>,
        updates: u64,
        threads: usize,
        normalizer: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        agents::threads::share(threads).map_err(exception)?;
        if normalizer.is_none() {
            lock(&self.agent).set_normalizer(None);
        }
        if lock(&self.agent).memory().replay().is_none_or(|replay| replay.is_empty()) {
            return Err(PyValueError::new_err("the replay memory is empty"));
        }
        let agent = Arc::clone(&self.agent);
        let mut proxy = learn::SharedAgentProxy::new(agent, self.spaces.clone(), normalizer, None);
        py.detach(|| {
            (0..updates).try_for_each(|_| {
                passing(|py| py.check_signals())?;
                proxy.learn()
            })
        })
        .map_err(exception)
    }

    /// Trains on `env`, a `VecEnv` whose last observations are `first`, on `threads` threads; steps count from `start`.
    /// `rollouts` is called back: `step(actions, new_obs, rewards, dones, infos)` after each step, before it is stored,
    /// returns `None` to stop, otherwise whether the rollout is complete. At the end of a rollout `end()` returns the
    /// number of updates, and after them `start()` whether another rollout begins. The GIL is released while the agent
    /// learns.
    #[pyo3(signature = (env, first, rollouts, start, threads, *, encode=None, normalizer=None, noise=None))]
    #[allow(clippy::too_many_arguments)]
    fn learn(
        &self,
        py: Python<'_>,
        env: &Bound<'_, PyAny>,
        first: &Bound<'_, PyAny>,
        rollouts: Py<PyAny>,
        start: u64,
        threads: usize,
        encode: Option<Py<PyAny>>,
        normalizer: Option<Py<PyAny>>,
        noise: Option<Py<PyAny>>,
    ) -> PyResult<u64> {
        agents::threads::share(threads).map_err(exception)?;
        lock(&self.agent).set_steps(start);
        if normalizer.is_none() {
            lock(&self.agent).set_normalizer(None);
        }
        let mut env = crate::sb3_vec_env::Sb3VecEnv::new(
            env,
            first,
            encode,
            normalizer.as_ref().map(|n| n.clone_ref(py)),
            &self.spaces,
        )?;
        let mut proxy = learn::SharedAgentProxy::new(
            Arc::clone(&self.agent),
            self.spaces.clone(),
            normalizer,
            noise,
        );
        let mut observer = learn::CallbackObserver::new(rollouts, env.last_step());
        py.detach(|| agents::train::train(&mut proxy, &mut env, u64::MAX, 0, &mut observer))
            .map_err(exception)
    }
}

fn read(settings: &str) -> agents::Result<Settings> {
    serde_json::from_str(settings)
        .map_err(|error| agents::Error::config("settings", settings, error.to_string()))
}

fn flat(values: &Rows<'_>) -> PyResult<Vec<f32>> {
    let array: PyReadonlyArrayDyn<'_, f32> = values.extract()?;
    Ok(array.as_array().iter().copied().collect())
}

fn by_name<'py>(py: Python<'py>, parameters: &[Parameter]) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for Parameter { name, shape, values } in parameters {
        dict.set_item(name, PyArray1::from_slice(py, values).reshape(shape.as_slice())?)?;
    }
    Ok(dict)
}
