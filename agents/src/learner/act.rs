//! How a learner acts.

use super::config::LearnerConfig;
use super::state::State;
use crate::agent::{Actions, Mode};
use crate::algo::algorithm::{Algorithm, Noise};
use crate::error::{Error, Result};
use crate::flat;
use crate::memory::Normalizer;
use crate::spaces::{ActionSpace, Spaces};

/// From what a policy draws to what the environment is sent; and work space.
pub(super) struct Acting {
    space: ActionSpace,
    scratch: [Vec<f32>; 2],
    output: Vec<f32>,
    noise: Vec<f32>,
    seen: Vec<f32>,
}

impl Acting {
    /// For actions in `spaces`.
    pub(super) fn new<A: Algorithm>(algorithm: &A, spaces: &Spaces) -> Result<Self> {
        if A::UNIT_BOX && matches!(spaces.action, ActionSpace::Discrete { .. }) {
            let has = spaces.clone();
            return Err(Error::Spaces { algo: "this algorithm", needs: "Box actions", has });
        }
        Ok(Self {
            space: spaces.action.clone(),
            scratch: Default::default(),
            output: vec![0.0; algorithm.actor().outputs()],
            noise: vec![0.0; spaces.action.dim()],
            seen: Vec::new(),
        })
    }

    /// Chooses an action for each row of observations.
    pub(super) fn choose<A: Algorithm>(
        &mut self,
        algorithm: &A,
        config: &LearnerConfig,
        state: &mut State<A::Memory>,
        normalizer: Option<&Normalizer>,
        (obs, mode): (&[f32], Mode),
        actions: &mut Actions,
    ) -> Result<()> {
        let State { actor, generators, noise_matrices, progress, .. } = state;
        let Self { space, scratch, output, noise, seen } = self;
        let rng = &mut generators.exploration;
        let (n, m) = (algorithm.actor().inputs(), noise.len());
        let explores = mode == Mode::Explore;
        let random = explores && progress.steps < config.schedule.random_steps;
        let sde = algorithm.sde().filter(|_| explores);
        if let Some(sde) = sde {
            let (steps, envs) = (progress.rollout_steps as usize, obs.len() / n.max(1));
            noise_matrices.renew(sde, &actor.params, steps, envs, rng);
        }
        seen.clear();
        seen.extend_from_slice(obs);
        if let Some(normalizer) = normalizer {
            normalizer.standardize(seen);
        }
        let Actions { env, drawn } = actions;
        for (i, (obs, drawn)) in seen.chunks_exact(n).zip(drawn.chunks_exact_mut(m)).enumerate() {
            if random {
                drawn.fill_with(|| rng.uniform(-1.0, 1.0));
                continue;
            }
            algorithm.actor().forward(&actor.params, obs, scratch, output);
            let noise = match sde {
                _ if !explores => Noise::None,
                None => Noise::Draw(rng),
                Some(sde) => {
                    noise_matrices.noise(sde, i, &scratch[1], noise);
                    Noise::Given(noise)
                }
            };
            algorithm.draw(&actor.params, output, noise, drawn);
        }
        if !flat::all_finite(drawn) {
            return Err(Error::Diverged {
                what: "an action",
                update: state.play.updates,
                learning_rate: config.common.learning_rate,
            });
        }
        for (drawn, env) in drawn.chunks_exact(m).zip(env.chunks_exact_mut(m)) {
            if A::UNIT_BOX {
                space.scale(drawn, env);
            } else {
                space.clip(drawn, env);
            }
        }
        Ok(())
    }
}
