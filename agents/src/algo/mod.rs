//! The algorithms, by name.

mod config;
pub mod ddpg;
mod measures;
pub mod off_policy;
pub mod sac;
mod stackelberg;
mod temperature;
mod tensors;

pub use config::{
    DeviceKind, EngineKind, OffPolicyConfig, PolicyKwargs, TargetPolicy, TrainFreq, Unit,
    UpdateOrder,
};
pub use stackelberg::{LambdaDecay, StackelbergConfig};
pub use temperature::NumberOrAuto;
pub use tensors::{TensorPlace, linear_tensors, sequential_tensors};

use crate::agent::Agent;
use crate::engine::Role;
use crate::engine::autograd::Autograd;
use crate::env::{ActionSpace, Spaces};
use crate::error::{Error, Result};
use ddpg::Ddpg;
use off_policy::OffPolicy;
use sac::Sac;
use serde_json::{Map, Value};
use tch::{Cuda, Device};

/// Settings of an algorithm: the keys of `configs/<algo>.yml`.
pub type Settings = Map<String, Value>;

/// What networks and objectives an algorithm has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Ddpg,
    Sac,
}

/// One entry of the registry.
#[derive(Clone, Copy, Debug)]
pub struct Algorithm {
    /// The name on the command line, and of its file in `configs/`.
    pub name: &'static str,
    /// One line for `stac-bench algos`.
    pub about: &'static str,
    /// Who leads; nobody in the baselines.
    pub leader: Option<Role>,
    family: Family,
}

/// Every algorithm, in the order of `stac-bench algos`.
pub const ALGORITHMS: &[Algorithm] = &[
    Algorithm {
        name: "ddpg",
        about: "deep deterministic policy gradient",
        leader: None,
        family: Family::Ddpg,
    },
    Algorithm {
        name: "stddpg-al",
        about: "Stackelberg DDPG, the actor leads",
        leader: Some(Role::Actor),
        family: Family::Ddpg,
    },
    Algorithm {
        name: "stddpg-cl",
        about: "Stackelberg DDPG, the critic leads",
        leader: Some(Role::Critic),
        family: Family::Ddpg,
    },
    Algorithm { name: "sac", about: "soft actor-critic", leader: None, family: Family::Sac },
    Algorithm {
        name: "stsac-al",
        about: "Stackelberg SAC, the actor leads",
        leader: Some(Role::Actor),
        family: Family::Sac,
    },
    Algorithm {
        name: "stsac-cl",
        about: "Stackelberg SAC, the critic leads",
        leader: Some(Role::Critic),
        family: Family::Sac,
    },
];

impl Algorithm {
    /// Checks the names, types and ranges of `settings` without an environment.
    pub fn check(&self, settings: &Settings) -> Result<()> {
        self.off_policy(settings).map(drop)
    }

    /// Builds the agent for an environment with these spaces, all its randomness from `seed`.
    pub fn build(&self, settings: &Settings, spaces: &Spaces, seed: u64) -> Result<Box<dyn Agent>> {
        let config = self.off_policy(settings)?;
        let ActionSpace::Box { low, .. } = &spaces.action else {
            return Err(Error::Spaces {
                algo: self.name,
                needs: "Box actions",
                has: spaces.clone(),
            });
        };
        let device = device(config.device)?;
        let spaces = spaces.clone();
        match self.family {
            Family::Ddpg => {
                if let Some(n) = config.policy_kwargs.n_critics.filter(|&n| n != 1) {
                    let reason = "DDPG has one critic; SAC takes several";
                    return Err(Error::config("policy_kwargs.n_critics", n, reason));
                }
                let family = Ddpg::new(&config, spaces.obs_dim, low.len());
                let engine = Autograd::new(family.clone(), device);
                Ok(Box::new(OffPolicy::new(family, engine, config, spaces, seed)))
            }
            Family::Sac => {
                let family = Sac::new(&config, spaces.obs_dim, low.len());
                let engine = Autograd::new(family.clone(), device);
                Ok(Box::new(OffPolicy::new(family, engine, config, spaces, seed)))
            }
        }
    }

    fn off_policy(&self, settings: &Settings) -> Result<OffPolicyConfig> {
        let mut own = settings.clone();
        let stackelberg = StackelbergConfig::take(&StackelbergConfig::default(), &mut own)?;
        let config: OffPolicyConfig = config::parse(&OffPolicyConfig::default(), &own)?;
        if settings.contains_key("leader") && config.leader != self.leader {
            let reason =
                format!("`{}` fixes who leads; another algorithm has another leader", self.name);
            return Err(Error::config("leader", settings["leader"].clone(), reason));
        }
        let config = OffPolicyConfig { leader: self.leader, stackelberg, ..config };
        config.validate()?;
        Ok(config)
    }
}

/// The device to compute gradients on, if it is there.
fn device(kind: DeviceKind) -> Result<Device> {
    match kind {
        DeviceKind::Cpu => Ok(Device::Cpu),
        DeviceKind::Cuda if Cuda::is_available() => Ok(Device::Cuda(0)),
        DeviceKind::Cuda => Err(Error::Device {
            device: "cuda".into(),
            reason: "this libtorch sees no CUDA device; install the full PyTorch (see the README) or take `cpu`".into(),
        }),
    }
}

/// The algorithm called `name`.
pub fn find(name: &str) -> Result<&'static Algorithm> {
    if let Some(algorithm) = ALGORITHMS.iter().find(|a| a.name == name) {
        return Ok(algorithm);
    }
    let nearest = ALGORITHMS
        .iter()
        .max_by(|a, b| {
            strsim::jaro_winkler(a.name, name).total_cmp(&strsim::jaro_winkler(b.name, name))
        })
        .map_or("", |a| a.name);
    Err(Error::UnknownAlgorithm { name: name.into(), nearest })
}
