//! The algorithms, by name.

use crate::agent::Agent;
use crate::algo::ddpg::Ddpg;
use crate::algo::off_policy::{self, OffPolicy};
use crate::algo::on_policy::OnPolicy;
use crate::algo::sac::Sac;
use crate::algo::{DeviceKind, EngineKind, OffPolicyConfig, OnPolicyConfig};
use crate::engine::Role;
use crate::engine::autograd::{Autograd, Objectives};
use crate::engine::fused::Fused;
use crate::env::{ActionSpace, Spaces};
use crate::error::{Error, Result};
use crate::game::StackelbergConfig;
use crate::settings::{self, Settings};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::{Cuda, Device};

/// What networks and objectives an algorithm has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    ActorCritic,
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
        name: "ac",
        about: "actor-critic on trajectories",
        leader: None,
        family: Family::ActorCritic,
    },
    Algorithm {
        name: "stac",
        about: "Stackelberg actor-critic, the actor leads",
        leader: Some(Role::Actor),
        family: Family::ActorCritic,
    },
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
        self.engine(settings).map(drop)
    }

    /// The engine that runs with `settings`: what `auto` stands for.
    pub fn engine(&self, settings: &Settings) -> Result<EngineKind> {
        match self.family {
            Family::ActorCritic => {
                let config = self.on_policy(settings)?;
                config.engine.resolve(config.device, Some("this algorithm"))
            }
            Family::Ddpg | Family::Sac => {
                let config = self.off_policy(settings)?;
                config.engine.resolve(config.device, config.not_fused())
            }
        }
    }

    /// Builds the agent for an environment with these spaces, all its randomness from `seed`.
    pub fn build(&self, settings: &Settings, spaces: &Spaces, seed: u64) -> Result<Box<dyn Agent>> {
        match self.family {
            Family::ActorCritic => {
                let config = self.on_policy(settings)?;
                if config.use_sde && !matches!(spaces.action, ActionSpace::Box { .. }) {
                    let reason = "noise that depends on the state needs Box actions";
                    return Err(Error::config("use_sde", true, reason));
                }
                let device = device(config.device)?;
                Ok(Box::new(OnPolicy::new(config, spaces.clone(), device, seed)))
            }
            Family::Ddpg => self.build_off_policy(settings, spaces, seed, Ddpg::new),
            Family::Sac => self.build_off_policy(settings, spaces, seed, Sac::new),
        }
    }

    fn build_off_policy<F: off_policy::Family + Objectives + Clone + 'static>(
        &self,
        settings: &Settings,
        spaces: &Spaces,
        seed: u64,
        family: fn(&OffPolicyConfig, usize, usize) -> F,
    ) -> Result<Box<dyn Agent>> {
        let config = self.off_policy(settings)?;
        let ActionSpace::Box { low, .. } = &spaces.action else {
            let has = spaces.clone();
            return Err(Error::Spaces { algo: self.name, needs: "Box actions", has });
        };
        let (family, spaces) = (family(&config, spaces.obs_dim, low.len()), spaces.clone());
        let device = device(config.device)?;
        Ok(match config.engine.resolve(config.device, config.not_fused())? {
            EngineKind::Fused => {
                let engine = Fused::new(family.spec());
                Box::new(OffPolicy::new(family, engine, config, spaces, seed))
            }
            EngineKind::Auto | EngineKind::Autograd => {
                let engine = Autograd::new(family.clone(), device);
                Box::new(OffPolicy::new(family, engine, config, spaces, seed))
            }
        })
    }

    fn off_policy(&self, settings: &Settings) -> Result<OffPolicyConfig> {
        let (config, stackelberg) = self.parse(&OffPolicyConfig::default(), settings)?;
        self.refuse_another_leader(settings, config.leader)?;
        let config = OffPolicyConfig { leader: self.leader, stackelberg, ..config };
        config.validate()?;
        if let (Family::Ddpg, Some(n)) = (self.family, config.policy_kwargs.n_critics)
            && n != 1
        {
            let reason = "DDPG has one critic; SAC takes several";
            return Err(Error::config("policy_kwargs.n_critics", n, reason));
        }
        if self.family == Family::Ddpg && config.use_sde {
            let reason = "DDPG's policy has no distribution; SAC's and AC's have";
            return Err(Error::config("use_sde", true, reason));
        }
        Ok(config)
    }

    fn on_policy(&self, settings: &Settings) -> Result<OnPolicyConfig> {
        let (config, stackelberg) = self.parse(&OnPolicyConfig::default(), settings)?;
        self.refuse_another_leader(settings, config.leader)?;
        let config = OnPolicyConfig { leader: self.leader, stackelberg, ..config };
        config.validate()?;
        Ok(config)
    }

    /// The family's settings over `defaults`, and those of the leader's update.
    fn parse<C: DeserializeOwned + Serialize>(
        &self,
        defaults: &C,
        settings: &Settings,
    ) -> Result<(C, StackelbergConfig)> {
        let mut own = settings.clone();
        let stackelberg = StackelbergConfig::take(&StackelbergConfig::default(), &mut own)?;
        Ok((settings::parse(defaults, &own)?, stackelberg))
    }

    fn refuse_another_leader(&self, settings: &Settings, leader: Option<Role>) -> Result<()> {
        match settings.get("leader") {
            Some(value) if leader != self.leader => {
                let reason = format!(
                    "`{}` fixes who leads; another algorithm has another leader",
                    self.name
                );
                Err(Error::config("leader", value, reason))
            }
            _ => Ok(()),
        }
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
