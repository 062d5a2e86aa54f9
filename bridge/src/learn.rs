//! Training driven from Python: an agent that Python can read between steps, and an observer that asks Python where
//! rollouts end and how many updates follow.

use crate::error::passing;
use crate::sb3_vec_env::LastStep;
use crate::shared::{SharedAgent, lock};
use agents::memory::Normalizer;
use agents::train::{Flow, Observer, Point, Progress};
use agents::{ActionSpace, Actions, Agent, Error, Mode, Result, Spaces, Step};
use numpy::{PyReadonlyArrayDyn, PyUntypedArrayMethods as _};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shared agent, as the training loop sees it. It locks the agent for the length of one call only, so that callbacks
/// find it unlocked. It also brings exploration noise and running statistics over from Python.
pub(crate) struct SharedAgentProxy {
    agent: SharedAgent,
    spaces: Spaces,
    normalizer: Option<Py<PyAny>>,
    noise: Option<Py<PyAny>>,
    /// Whether running statistics may have changed since they were last copied.
    stale: bool,
}

impl SharedAgentProxy {
    pub(crate) fn new(
        agent: SharedAgent,
        spaces: Spaces,
        normalizer: Option<Py<PyAny>>,
        noise: Option<Py<PyAny>>,
    ) -> Self {
        Self { agent, spaces, normalizer, noise, stale: true }
    }

    /// Copies the current running statistics to the agent, if they may have changed.
    fn follow_statistics(&mut self) -> Result<()> {
        if let (Some(normalizer), true) = (&self.normalizer, self.stale) {
            let statistics = passing(|py| statistics(normalizer.bind(py)))?;
            lock(&self.agent).set_normalizer(Some(statistics));
            self.stale = false;
        }
        Ok(())
    }

    /// Adds `noise()`, unless that is `None`, in units of half the action's range, and clips to the bounds.
    fn add_noise(&self, noise: &Py<PyAny>, actions: &mut Actions) -> Result<()> {
        let space = &self.spaces.action;
        if !matches!(space, ActionSpace::Box { .. }) {
            return Ok(());
        }
        let epsilon: Vec<f64> = passing(|py| {
            let values: Option<PyReadonlyArrayDyn<'_, f64>> = noise.bind(py).call0()?.extract()?;
            Ok(values.map_or_else(Vec::new, |array| array.as_array().iter().copied().collect()))
        })?;
        let Actions { env, drawn } = actions;
        for (u, &epsilon) in drawn.iter_mut().zip(&epsilon) {
            *u = (*u + epsilon as f32).clamp(-1.0, 1.0);
        }
        let rows = drawn.chunks_exact(space.dim()).zip(env.chunks_exact_mut(space.dim()));
        rows.for_each(|(drawn, env)| space.scale(drawn, env));
        Ok(())
    }
}

impl Agent for SharedAgentProxy {
    fn act(&mut self, obs: &[f32], mode: Mode, actions: &mut Actions) -> Result<()> {
        self.follow_statistics()?;
        lock(&self.agent).act(obs, mode, actions)?;
        match &self.noise {
            Some(noise) if mode == Mode::Explore => self.add_noise(noise, actions),
            _ => Ok(()),
        }
    }

    fn store(&mut self, obs: &[f32], drawn: &[f32], step: &Step) -> Result<u64> {
        self.stale = true;
        lock(&self.agent).store(obs, drawn, step)
    }

    fn learn(&mut self) -> Result<()> {
        self.follow_statistics()?;
        lock(&self.agent).learn()
    }
}

/// Reads the running statistics of a `VecNormalize`.
fn statistics(normalizer: &Bound<'_, PyAny>) -> PyResult<Normalizer> {
    let py = normalizer.py();
    let number = |name| normalizer.getattr(name)?.extract::<f64>();
    let epsilon = number("epsilon")?;
    let obs = if normalizer.getattr(intern!(py, "norm_obs"))?.is_truthy()? {
        Some(observation_statistics(normalizer, epsilon, number("clip_obs")?)?)
    } else {
        None
    };
    let reward = if normalizer.getattr(intern!(py, "norm_reward"))?.is_truthy()? {
        let rms = normalizer.getattr(intern!(py, "ret_rms"))?;
        let var: f64 = rms.getattr(intern!(py, "var"))?.extract()?;
        Some((var + epsilon).sqrt())
    } else {
        None
    };
    Ok(Normalizer { obs, reward, clip_reward: number("clip_reward")? })
}

/// Mean, deviation and bound of every number of an observation. The parts of a dictionary follow one another in the
/// space's order; parts that are not normalised get mean 0, deviation 1 and no bound.
fn observation_statistics(
    normalizer: &Bound<'_, PyAny>,
    epsilon: f64,
    bound: f64,
) -> PyResult<[Vec<f64>; 3]> {
    let py = normalizer.py();
    let of = |rms: &Bound<'_, PyAny>| -> PyResult<[Vec<f64>; 3]> {
        let mean: PyReadonlyArrayDyn<'_, f64> = rms.getattr(intern!(py, "mean"))?.extract()?;
        let var: PyReadonlyArrayDyn<'_, f64> = rms.getattr(intern!(py, "var"))?.extract()?;
        let std = var.as_array().iter().map(|var| (var + epsilon).sqrt()).collect();
        Ok([mean.as_array().iter().copied().collect(), std, vec![bound; mean.len()]])
    };
    let rms = normalizer.getattr(intern!(py, "obs_rms"))?;
    let Ok(by_key) = rms.cast::<PyDict>() else { return of(&rms) };
    let preprocessing = py.import(intern!(py, "stable_baselines3.common.preprocessing"))?;
    let space = normalizer.getattr(intern!(py, "observation_space"))?;
    let mut whole = [Vec::new(), Vec::new(), Vec::new()];
    for item in space.getattr(intern!(py, "spaces"))?.call_method0("items")?.try_iter()? {
        let (key, part): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item?.extract()?;
        let columns = match by_key.get_item(key)? {
            Some(rms) => of(&rms)?,
            None => {
                let dim = preprocessing.call_method1("get_flattened_obs_dim", (part,))?;
                let dim = dim.extract()?;
                [vec![0.0; dim], vec![1.0; dim], vec![f64::INFINITY; dim]]
            }
        };
        for (whole, part) in whole.iter_mut().zip(columns) {
            whole.extend(part);
        }
    }
    Ok(whole)
}

/// Calls Python's `rollouts` after each step and at the end of each rollout.
pub(crate) struct CallbackObserver {
    rollouts: Py<PyAny>,
    last_step: Arc<Mutex<Option<LastStep>>>,
    /// Whether the last step completed a rollout.
    complete: bool,
    /// When signals were last checked between updates.
    checked: Instant,
}

/// How often signals are checked between updates, since each check waits for the GIL.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

impl CallbackObserver {
    pub(crate) fn new(rollouts: Py<PyAny>, last_step: Arc<Mutex<Option<LastStep>>>) -> Self {
        Self { rollouts, last_step, complete: false, checked: Instant::now() }
    }
}

impl<E: ?Sized> Observer<SharedAgentProxy, E> for CallbackObserver {
    /// Calls `rollouts.step(...)`: `None` stops, otherwise it says whether the rollout is complete.
    fn on_step(&mut self, _progress: &mut Progress<'_, SharedAgentProxy>) -> Result<Flow> {
        let Some(last_step) = self.last_step.lock().unwrap_or_else(PoisonError::into_inner).take()
        else {
            return Err(Error::Interrupted);
        };
        passing(|py| {
            py.check_signals()?;
            let result = last_step.result.bind(py);
            let arguments = std::iter::once(last_step.actions.into_bound(py)).chain(result.iter());
            let arguments = PyTuple::new(py, arguments.collect::<Vec<_>>())?;
            let complete = self.rollouts.bind(py).call_method1(intern!(py, "step"), arguments)?;
            let complete: Option<bool> = complete.extract()?;
            self.complete = complete == Some(true);
            Ok(if complete.is_some() { Flow::Continue } else { Flow::Stop })
        })
    }

    /// Calls `rollouts.end()` at the end of a rollout; it returns the number of updates.
    fn before_updates(&mut self, _due: u64) -> Result<u64> {
        if !self.complete {
            return Ok(0);
        }
        passing(|py| self.rollouts.bind(py).call_method0(intern!(py, "end"))?.extract())
    }

    fn before_update(&mut self) -> Result<()> {
        if self.checked.elapsed() < CHECK_INTERVAL {
            return Ok(());
        }
        self.checked = Instant::now();
        passing(|py| py.check_signals())
    }

    /// Calls `rollouts.start()` after the updates; it says whether another rollout begins.
    fn after_updates(&mut self, _point: &mut Point<'_, SharedAgentProxy, E>) -> Result<Flow> {
        if !std::mem::take(&mut self.complete) {
            return Ok(Flow::Continue);
        }
        passing(|py| {
            let another = self.rollouts.bind(py).call_method0(intern!(py, "start"))?;
            Ok(if another.is_truthy()? { Flow::Continue } else { Flow::Stop })
        })
    }
}
