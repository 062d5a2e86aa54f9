//! What the bridge adds to Python's own `env.step`.
//!
//!     cargo run --release -p stac-bridge --example env_step -- Walker2d-v4
//!
//! Two environments, seeded alike, take the same actions: one in a plain Python loop (`env_step.py`), one through
//! `GymEnv`, chunk by chunk in turns, in one process. Prints one line of JSON: medians over the chunks of
//! microseconds per step, resets included, and of their paired ratio.

use agents::{ActionSpace, Env, Step};
use bridge::{EnvOptions, GymEnv};
use numpy::{PyArray1, PyArrayMethods as _};
use pyo3::prelude::*;
use pyo3::types::PyModule;
use serde_json::json;
use std::error::Error;
use std::ffi::CString;
use std::time::Instant;

const STEPS: usize = 500;
const CHUNKS: usize = 40;
const SEED: u64 = 0;

/// Actions of one chunk, row-major: a slow wave within the bounds, since speed is all that matters.
fn actions(chunk: usize, low: &[f32], high: &[f32]) -> Vec<f32> {
    let wave = |i: usize| ((chunk * STEPS * low.len() + i) as f32 * 0.7).sin();
    let bound = |i: usize| (low[i % low.len()], high[i % low.len()]);
    (0..STEPS * low.len())
        .map(|i| (i, bound(i)))
        .map(|(i, (low, high))| low + 0.5 * (wave(i) + 1.0) * (high - low))
        .collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    let id = std::env::args().nth(1).unwrap_or_else(|| "Walker2d-v4".into());
    let mut env = GymEnv::make(&EnvOptions { id: id.clone(), ..EnvOptions::default() })?;
    let ActionSpace::Box { low, high } = env.spaces().action.clone() else {
        return Err(format!("{id} does not take box actions").into());
    };
    let code = CString::new(include_str!("env_step.py"))?;
    let plain = Python::attach(|py| {
        let module = PyModule::from_code(py, &code, c"env_step.py", c"env_step")?;
        module.getattr("Plain")?.call1((&id, SEED)).map(Bound::unbind)
    })?;

    let mut obs = vec![0.0; env.spaces().obs_dim];
    let mut step = Step::new(1, obs.len());
    env.reset(Some(SEED), &mut obs)?;
    let (mut python, mut bridge, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
    for chunk in 0..CHUNKS {
        let actions = actions(chunk, &low, &high);
        let (seconds, total): (f64, f64) = Python::attach(|py| {
            let rows = PyArray1::from_slice(py, &actions).reshape([STEPS, low.len()])?;
            plain.bind(py).call_method1("run", (rows,))?.extract()
        })?;

        let start = Instant::now();
        let mut reward = 0.0;
        for action in actions.chunks_exact(low.len()) {
            env.step(action, &mut step)?;
            reward += step.rewards[0];
        }
        let own = start.elapsed().as_secs_f64();
        if reward != total {
            return Err(format!("chunk {chunk}: rewards {reward} and {total} differ").into());
        }
        python.push(seconds / STEPS as f64 * 1e6);
        bridge.push(own / STEPS as f64 * 1e6);
        ratio.push(own / seconds);
    }
    let (python, bridge, ratio) = (median(python), median(bridge), median(ratio));
    println!("{}", json!({ "python_us": python, "bridge_us": bridge, "ratio": ratio }));
    Ok(())
}
