//! A Stable-Baselines3 `VecEnv` as an [`agents::Env`].

use crate::error::passing;
use crate::spaces::{ActionCodec, copy_observation};
use agents::{Env, Result, Spaces, Step};
use numpy::{PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::sync::{Arc, Mutex, PoisonError};

/// Arguments and results of the last `VecEnv.step`, for Python callbacks.
pub(crate) struct LastStep {
    pub(crate) actions: Py<PyAny>,
    /// `new_obs, rewards, dones, infos`
    pub(crate) result: Py<PyTuple>,
}

/// `n` environments behind Stable-Baselines3's `VecEnv` interface.
pub(crate) struct Sb3VecEnv {
    step: Py<PyAny>,
    /// Converts observations to rows of `f32`; none if they are arrays already.
    encode: Option<Py<PyAny>>,
    /// The `VecNormalize` around the environments; agents get the values from before it normalised them.
    normalizer: Option<Py<PyAny>>,
    action: ActionCodec,
    spaces: Spaces,
    num_envs: usize,
    first: Vec<f32>,
    last_step: Arc<Mutex<Option<LastStep>>>,
}

impl Sb3VecEnv {
    /// `first`: the current observations, which the first actions are for.
    pub(crate) fn new(
        env: &Bound<'_, PyAny>,
        first: &Bound<'_, PyAny>,
        encode: Option<Py<PyAny>>,
        normalizer: Option<Py<PyAny>>,
        spaces: &Spaces,
    ) -> PyResult<Self> {
        let num_envs = env.getattr("num_envs")?.extract()?;
        let mut new = Self {
            step: env.getattr("step")?.unbind(),
            encode,
            normalizer,
            action: ActionCodec::new(&env.getattr("action_space")?)?,
            spaces: spaces.clone(),
            num_envs,
            first: vec![0.0; num_envs * spaces.obs_dim],
            last_step: Arc::default(),
        };
        let mut rows = std::mem::take(&mut new.first);
        new.encode_into(first, false, &mut rows)?;
        new.first = rows;
        Ok(new)
    }

    /// Where each step leaves its arguments and results.
    pub(crate) fn last_step(&self) -> Arc<Mutex<Option<LastStep>>> {
        Arc::clone(&self.last_step)
    }

    /// `single`: `observations` is one observation, not one per environment.
    fn encode_into(
        &self,
        observations: &Bound<'_, PyAny>,
        single: bool,
        rows: &mut [f32],
    ) -> PyResult<()> {
        match &self.encode {
            None => copy_observation(observations, rows),
            Some(encode) => {
                let encoded = encode.bind(observations.py()).call1((observations, single))?;
                copy_observation(&encoded, rows)
            }
        }
    }

    /// Reads the last observation of an episode, from before the environment reset itself.
    fn terminal(&self, info: &Bound<'_, PyDict>, row: &mut [f32]) -> PyResult<()> {
        let py = info.py();
        let Some(mut observation) = info.get_item(intern!(py, "terminal_observation"))? else {
            return Ok(());
        };
        if let Some(normalizer) = &self.normalizer {
            let normalizer = normalizer.bind(py);
            observation =
                normalizer.call_method1(intern!(py, "unnormalize_obs"), (observation,))?;
        }
        self.encode_into(&observation, true, row)
    }
}

impl Env for Sb3VecEnv {
    fn spaces(&self) -> &Spaces {
        &self.spaces
    }

    fn num_envs(&self) -> usize {
        self.num_envs
    }

    /// Stable-Baselines3 has seeded and reset the environments already.
    fn reset(&mut self, _seed: Option<u64>, obs: &mut [f32]) -> Result<()> {
        obs.copy_from_slice(&self.first);
        Ok(())
    }

    fn step(&mut self, actions: &[f32], step: &mut Step) -> Result<()> {
        passing(|py| {
            let actions = self.action.actions(py, actions, self.num_envs)?;
            let result = self.step.bind(py).call1((&actions,))?.cast_into::<PyTuple>()?;
            let (mut obs, mut rewards) = (result.get_item(0)?, result.get_item(1)?);
            if let Some(normalizer) = &self.normalizer {
                let normalizer = normalizer.bind(py);
                obs = normalizer.call_method0(intern!(py, "get_original_obs"))?;
                rewards = normalizer.call_method0(intern!(py, "get_original_reward"))?;
            }
            self.encode_into(&obs, false, &mut step.obs)?;
            step.next_obs.copy_from_slice(&step.obs);
            copy_rewards(&rewards, &mut step.rewards)?;

            let dones = result.get_item(2)?;
            let infos = result.get_item(3)?;
            let n = self.spaces.obs_dim;
            let (terminated, truncated) = (&mut step.terminated, &mut step.truncated);
            for (i, (terminated, truncated)) in terminated.iter_mut().zip(truncated).enumerate() {
                (*terminated, *truncated) = (false, false);
                if !dones.get_item(i)?.is_truthy()? {
                    continue;
                }
                let info = infos.get_item(i)?.cast_into::<PyDict>()?;
                let cut = info.get_item(intern!(py, "TimeLimit.truncated"))?;
                *truncated = cut.is_some_and(|cut| cut.is_truthy().unwrap_or(false));
                *terminated = !*truncated;
                self.terminal(&info, &mut step.next_obs[i * n..(i + 1) * n])?;
            }
            let last_step = LastStep { actions: actions.unbind(), result: result.unbind() };
            *self.last_step.lock().unwrap_or_else(PoisonError::into_inner) = Some(last_step);
            Ok(())
        })
    }
}

/// Copies one reward per environment out of an array or a list of any numbers, as rows or as a column too.
fn copy_rewards(rewards: &Bound<'_, PyAny>, out: &mut [f64]) -> PyResult<()> {
    let copy = |values: &mut dyn ExactSizeIterator<Item = f64>, out: &mut [f64]| {
        if values.len() != out.len() {
            let (found, needed) = (values.len(), out.len());
            let message = format!("`step` returned {found} rewards for {needed} environments");
            return Err(PyValueError::new_err(message));
        }
        out.iter_mut().zip(values).for_each(|(out, reward)| *out = reward);
        Ok(())
    };
    if let Ok(array) = rewards.extract::<PyReadonlyArray1<'_, f32>>() {
        return copy(&mut array.as_array().iter().map(|&reward| reward.into()), out);
    }
    let numpy = rewards.py().import(intern!(rewards.py(), "numpy"))?;
    let array = numpy.call_method1("asarray", (rewards, "float64"))?.call_method0("ravel")?;
    let array = array.cast::<numpy::PyArray1<f64>>()?.readonly();
    copy(&mut array.as_array().iter().copied(), out)
}
