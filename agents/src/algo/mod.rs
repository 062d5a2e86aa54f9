//! What the algorithms are: networks, objectives, and how they act.

pub mod ac;
pub mod algorithm;
mod config;
pub mod ddpg;
mod on_policy_config;
pub mod policy;
pub mod sac;
pub mod sde;
pub(crate) mod temperature;

pub use config::{
    DeviceKind, EngineKind, OffPolicyConfig, PolicyKwargs, TargetPolicy, TrainFreq, Unit,
};
pub use on_policy_config::{CriticKind, OnPolicyConfig, OnPolicyKwargs, Surrogate};
