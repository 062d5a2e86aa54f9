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
    map: ActionMap,
    scratch: [Vec<f32>; 2],
    output: Vec<f32>,
    noise: Vec<f32>,
    seen: Vec<f32>,
}

/// What the environment is sent for a draw.
enum ActionMap {
    /// The unit box, scaled to the bounds.
    Scale { low: Vec<f32>, high: Vec<f32>, half_range: Vec<f32> },
    /// The draw itself, clipped to the bounds.
    Clip { low: Vec<f32>, high: Vec<f32> },
    /// The draw itself.
    Choice,
}

impl Acting {
    /// For actions in `spaces`.
    pub(super) fn new<A: Algorithm>(algorithm: &A, spaces: &Spaces) -> Result<Self> {
        let map = match &spaces.action {
            ActionSpace::Box { low, high } if A::UNIT_BOX => ActionMap::Scale {
                half_range: low.iter().zip(high).map(|(l, h)| 0.5 * (h - l)).collect(),
                low: low.clone(),
                high: high.clone(),
            },
            ActionSpace::Box { low, high } => {
                ActionMap::Clip { low: low.clone(), high: high.clone() }
            }
            ActionSpace::Discrete { .. } if A::UNIT_BOX => {
                let has = spaces.clone();
                return Err(Error::Spaces { algo: "this algorithm", needs: "Box actions", has });
            }
            ActionSpace::Discrete { .. } => ActionMap::Choice,
        };
        Ok(Self {
            map,
            scratch: Default::default(),
            output: vec![0.0; algorithm.actor().outputs()],
            noise: vec![0.0; spaces.action.dim()],
            seen: Vec::new(),
        })
    }
}

impl ActionMap {
    fn apply(&self, drawn: &[f32], env: &mut [f32]) {
        match self {
            Self::Scale { low, high, half_range } => {
                // a = low + (u + 1) (high - low) / 2
                let bounds = low.iter().zip(high).zip(half_range);
                for ((a, &u), ((&low, &high), &half)) in env.iter_mut().zip(drawn).zip(bounds) {
                    *a = (low + (u + 1.0) * half).clamp(low, high);
                }
            }
            Self::Clip { low, high } => {
                let bounds = low.iter().zip(high);
                for ((a, &u), (&low, &high)) in env.iter_mut().zip(drawn).zip(bounds) {
                    *a = u.clamp(low, high);
                }
            }
            Self::Choice => env.copy_from_slice(drawn),
        }
    }
}

impl Acting {
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
        let Self { map, scratch, output, noise, seen } = self;
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
            map.apply(drawn, env);
        }
        Ok(())
    }
}
