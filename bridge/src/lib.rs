//! The only code that names Python: Gymnasium and Stable-Baselines3 environments as
//! [`agents::Env`], Rust agents as Python objects.

#![forbid(unsafe_code)]

mod agent;
mod checkpoints;
mod env;
mod episode;
mod error;
mod forked_vec_env;
mod interpreter;
mod learn;
mod sb3_vec_env;
mod shared;
mod signals;
mod spaces;
mod stop;

pub use agent::PyAgent;
pub use checkpoints::read_checkpoint;
pub use env::{EnvOptions, GymEnv, Video};
pub use error::{DivergedError, exception};
pub use forked_vec_env::ForkedVecEnv;
pub use interpreter::{
    executable, finalize, host, initialize, installed, program, python, site_packages, versions,
};
pub use signals::{check_signals, end_with, handle_interrupts, relay_signals};
