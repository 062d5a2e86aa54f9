//! Stackelberg actor-critic agents (Zheng et al., 2021, arXiv 2109.12286), without Python, command
//! line or formats of results: those are the business of the crates above this one.

#![forbid(unsafe_code)]

pub mod agent;
#[cfg(feature = "torch")]
pub mod algo;
pub mod checkpoint;
pub mod engine;
pub mod env;
pub mod error;
pub mod files;
pub mod flat;
pub mod game;
#[cfg(feature = "torch")]
pub mod learner;
pub mod memory;
pub mod metrics;
pub mod nn;
pub mod optim;
pub mod params;
#[cfg(feature = "torch")]
pub mod registry;
pub mod rng;
pub mod room;
pub mod settings;
pub mod spaces;
pub mod sync_vec_env;
pub mod threads;
pub mod toy;
pub mod train;
pub mod train_state;

pub use agent::{Actions, Agent, GameGradients, Introspect, Learn, Mode, StateDict};
pub use env::{Env, EnvState, Restored, Resumable, Step};
pub use error::{Error, Result};
pub use metrics::Metrics;
pub use params::{Moments, Parameter};
pub use spaces::{ActionSpace, Numbers, Spaces};
