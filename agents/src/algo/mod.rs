//! What the algorithms are: networks, objectives, and how they act.

pub mod ac;
mod config;
pub mod ddpg;
mod measures;
pub mod off_policy;
pub mod on_policy;
mod on_policy_config;
pub mod policy;
pub mod sac;
pub mod sde;
mod temperature;

pub use config::{
    DeviceKind, EngineKind, OffPolicyConfig, PolicyKwargs, TargetPolicy, TrainFreq, Unit,
    UpdateOrder,
};
pub use on_policy_config::{CriticKind, OnPolicyConfig, OnPolicyKwargs, Surrogate};
