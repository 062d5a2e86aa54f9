//! The only code that names Python: Gymnasium environments as [`agents::Env`].

mod env;
mod error;
mod interpreter;
mod spaces;

pub use env::{EnvOptions, GymEnv};
pub use interpreter::{check_signals, handle_interrupts, initialize, versions};
