//! Epochs of AC and of STAC, and the rate at which one and two environments are sampled.
//!
//!     cargo run --release -p stac-bridge --example on_policy -- CartPole-v1 [repeats]
//!
//! The two algorithms take epochs of 4,000 steps and an update in turns, with the settings of `configs/`; then one and
//! two environments are stepped in turns by a fresh policy, without an update. Prints one line of JSON: medians of
//! milliseconds per epoch and of the update within, of steps per second, and of both ratios, pair by pair.

#[path = "../agents/tests/common/shipped.rs"]
mod shipped;

use agents::registry;
use agents::{Actions, Env, Learn, Mode, Step};
use bridge::{EnvOptions, ForkedVecEnv};
use serde_json::json;
use shipped::shipped;
use std::error::Error;
use std::time::{Duration, Instant};

const EPOCH: usize = 4_000;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// An agent in its environments, somewhere within an episode.
struct Run {
    agent: Box<dyn Learn>,
    env: ForkedVecEnv,
    obs: Vec<f32>,
    actions: Actions,
    step: Step,
}

impl Run {
    fn new(algo: &str, id: &str, n_envs: usize, n_steps: usize) -> Result<Self> {
        let options = EnvOptions { id: id.to_owned(), ..EnvOptions::default() };
        let mut env = ForkedVecEnv::make(&options, n_envs)?;
        let mut own = json!({"n_steps": n_steps});
        if algo == "stac" && id == "CartPole-v1" {
            own["lam"] = 0.0.into();
        }
        let settings = shipped(algo, &own);
        let spaces = env.spaces().clone();
        let agent = registry::find(algo)?.build(&settings, &spaces, 0)?;
        let mut obs = vec![0.0; n_envs * spaces.obs_dim];
        env.reset(Some(0), &mut obs)?;
        let actions = Actions::new(n_envs * spaces.action.dim());
        Ok(Self { agent, env, obs, actions, step: Step::new(n_envs, spaces.obs_dim) })
    }

    /// Takes `EPOCH` steps: seconds in all, and of the slowest call that let the agent learn.
    fn epoch(&mut self) -> Result<[f64; 2]> {
        let (start, mut update) = (Instant::now(), Duration::ZERO);
        for _ in 0..EPOCH / self.env.num_envs() {
            self.agent.act(&self.obs, Mode::Explore, &mut self.actions)?;
            self.env.step(&self.actions.env, &mut self.step)?;
            let learning = Instant::now();
            self.agent.observe(&self.obs, &self.actions.drawn, &self.step)?;
            update = update.max(learning.elapsed());
            self.obs.copy_from_slice(&self.step.obs);
        }
        Ok([start.elapsed().as_secs_f64(), update.as_secs_f64()])
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let id = words.next().unwrap_or_else(|| "CartPole-v1".into());
    let repeats: usize = words.next().map_or(Ok(15), |word| word.parse())?;

    let in_turns = |mut runs: [Run; 2]| -> Result<Vec<[[f64; 2]; 2]>> {
        let mut turn = || {
            let [a, b] = &mut runs;
            Ok([a.epoch()?, b.epoch()?])
        };
        turn()?; // warm-up
        (0..repeats).map(|_| turn()).collect()
    };
    let epochs = in_turns([Run::new("ac", &id, 1, EPOCH)?, Run::new("stac", &id, 1, EPOCH)?])?;
    let never = 1_000_000;
    let sampled = in_turns([Run::new("ac", &id, 1, never)?, Run::new("ac", &id, 2, never)?])?;

    let of = |pairs: &[[[f64; 2]; 2]], i: usize, part: usize| {
        median(pairs.iter().map(|pair| pair[i][part]))
    };
    let rate = |i| EPOCH as f64 / of(&sampled, i, 0);
    println!(
        "{}",
        json!({
            "env": id,
            "ac_ms": of(&epochs, 0, 0) * 1e3, "ac_update_ms": of(&epochs, 0, 1) * 1e3,
            "stac_ms": of(&epochs, 1, 0) * 1e3, "stac_update_ms": of(&epochs, 1, 1) * 1e3,
            "stac_over_ac": median(epochs.iter().map(|[ac, stac]| stac[0] / ac[0])),
            "rate_1": rate(0), "rate_2": rate(1),
            "two_over_one": median(sampled.iter().map(|[one, two]| one[0] / two[0])),
        })
    );
    Ok(())
}
