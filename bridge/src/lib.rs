//! The only code that names Python: Gymnasium and Stable-Baselines3 environments as
//! [`agents::Env`], Rust agents as Python objects.

mod agent;
mod env;
mod error;
mod interpreter;
mod learn;
mod processes;
mod spaces;
mod vec_env;

pub use agent::PyAgent;
pub use env::{EnvOptions, GymEnv, Video};
pub use error::{DivergedError, exception};
pub use interpreter::{
    Signals, check_signals, executable, handle_interrupts, host, initialize, site_packages,
    versions,
};
pub use processes::GymEnvs;
