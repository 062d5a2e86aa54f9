//! Several environments, stepped one after another.

use crate::env::{Env, EnvState, Restored, Resumable, Step};
use crate::error::{Error, Result};
use crate::spaces::Spaces;

/// `n` environments of one type as one [`Env`], stepped in turn on the calling thread. Row `i` is environment `i`.
pub struct SyncVecEnv<E> {
    envs: Vec<E>,
    spaces: Spaces,
    one: Step,
}

impl<E: Env> SyncVecEnv<E> {
    /// `envs` must all have the same spaces.
    ///
    /// # Errors
    /// [`Error::Config`] if `envs` is empty.
    pub fn new(envs: Vec<E>) -> Result<Self> {
        let Some(spaces) = envs.first().map(|env| env.spaces().clone()) else {
            return Err(Error::config("n_envs", 0, "it must be at least 1"));
        };
        Ok(Self { one: Step::new(1, spaces.obs_dim), spaces, envs })
    }
}

impl<E: Env> Env for SyncVecEnv<E> {
    fn spaces(&self) -> &Spaces {
        &self.spaces
    }

    fn num_envs(&self) -> usize {
        self.envs.len()
    }

    fn reset(&mut self, seed: Option<u64>, obs: &mut [f32]) -> Result<()> {
        let rows = obs.chunks_exact_mut(self.spaces.obs_dim);
        for ((env, i), obs) in self.envs.iter_mut().zip(0..).zip(rows) {
            env.reset(seed.map(|seed| seed.wrapping_add(i)), obs)?;
        }
        Ok(())
    }

    /// Steps every environment, even after one has failed, and returns the first error. After an interruption the
    /// others are left alone: they may hang too.
    fn step(&mut self, actions: &[f32], step: &mut Step) -> Result<()> {
        // One environment writes where its step is read.
        if let [env] = &mut self.envs[..] {
            return env.step(actions, step);
        }
        let mut result = Ok(());
        let rows = actions.chunks_exact(self.spaces.action.dim());
        for (i, (env, row)) in self.envs.iter_mut().zip(rows).enumerate() {
            let stepped = env.step(row, &mut self.one);
            if let Err(Error::Interrupted | Error::Terminated) = stepped {
                return stepped;
            }
            result = result.and(stepped);
            step.copy_rows(i, &self.one);
        }
        result
    }
}

impl<E: Resumable> Resumable for SyncVecEnv<E> {
    fn record(&mut self) -> Result<()> {
        self.envs.iter_mut().try_for_each(E::record)
    }

    fn save(&mut self) -> Result<Vec<EnvState>> {
        let mut states = Vec::with_capacity(self.envs.len());
        for env in &mut self.envs {
            states.extend(env.save()?);
        }
        Ok(states)
    }

    fn restore(&mut self, states: &[EnvState], obs: &mut [f32]) -> Result<Vec<Restored>> {
        let (expected, found) = (self.envs.len(), states.len());
        if expected != found {
            return Err(Error::EnvCount { expected, found });
        }
        let mut restored = Vec::with_capacity(expected);
        let rows = obs.chunks_exact_mut(self.spaces.obs_dim);
        for ((env, state), obs) in self.envs.iter_mut().zip(states.chunks(1)).zip(rows) {
            restored.extend(env.restore(state, obs)?);
        }
        Ok(restored)
    }
}
