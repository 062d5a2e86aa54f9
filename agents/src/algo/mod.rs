//! What the algorithms are: networks, objectives, and how they act.

pub mod ac;
pub mod algorithm;
mod config;
mod critics;
pub mod ddpg;
pub mod distribution;
mod on_policy_config;
pub mod sac;
pub mod sde;
pub mod td3;
pub(crate) mod temperature;

pub use ac::{AcConfig, CriticKind, Surrogate};
pub use config::{Common, DeviceKind, EngineKind, Networks, OffPolicyConfig, TrainFreq, Unit};
pub use ddpg::{DdpgConfig, TargetPolicy};
pub use on_policy_config::OnPolicyConfig;
pub use sac::{SacConfig, SacKwargs};
pub use sde::{SdeConfig, SdeKwargs};
