//! One environment step through the bridge, resets included: `cargo bench -p stac-bridge --bench step [-- FILTER]`.
//! What of it is the bridge's: `env_step.rs`.
#![allow(missing_docs, clippy::unwrap_used)]

use agents::{ActionSpace, Env as _, Step};
use bridge::{EnvOptions, GymEnv};
use criterion::{Criterion, criterion_group, criterion_main};

fn steps(criterion: &mut Criterion) {
    for id in ["InvertedPendulum-v4", "Walker2d-v4", "HalfCheetah-v4"] {
        let mut env = GymEnv::make(&EnvOptions { id: id.into(), ..EnvOptions::default() }).unwrap();
        let ActionSpace::Box { low, high } = env.spaces().action.clone() else { unreachable!() };
        let mut obs = vec![0.0; env.spaces().obs_dim];
        let mut step = Step::new(1, obs.len());
        env.reset(Some(0), &mut obs).unwrap();
        let mut t = 0_u32;
        criterion.bench_function(&format!("env step/{id}"), |bencher| {
            bencher.iter(|| {
                t += 1;
                let share = 0.5 * ((t as f32 * 0.7).sin() + 1.0);
                let action: Vec<f32> =
                    low.iter().zip(&high).map(|(low, high)| low + share * (high - low)).collect();
                env.step(&action, &mut step).unwrap();
            });
        });
    }
}

criterion_group!(benches, steps);
criterion_main!(benches);
