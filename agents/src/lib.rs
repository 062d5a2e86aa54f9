//! Stackelberg actor-critic agents (Zheng et al., 2021, arXiv 2109.12286), without Python, command
//! line or file formats: those are the business of the crates above this one.

pub mod agent;
pub mod algo;
pub mod engine;
pub mod env;
pub mod error;
pub mod flat;
pub mod game;
pub mod memory;
pub mod metrics;
pub mod nn;
pub mod optim;
pub mod params;
pub mod registry;
pub mod rng;
pub mod settings;
pub mod sink;
pub mod spaces;
pub mod sync_vec_env;
pub mod threads;
pub mod toy;
pub mod train;

pub use agent::{Agent, GameGradients, Mode};
pub use env::{Env, Step};
pub use error::{Error, Result};
pub use metrics::Metrics;
pub use params::{Moments, Parameter};
pub use sink::Sink;
pub use spaces::{ActionSpace, Spaces};
