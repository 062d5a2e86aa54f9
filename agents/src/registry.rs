//! The algorithms, by name.

use crate::agent::Learn;
use crate::algo::ac::ActorCritic;
use crate::algo::algorithm::OffPolicy;
use crate::algo::ddpg::Ddpg;
use crate::algo::sac::Sac;
use crate::algo::{DeviceKind, EngineKind, OffPolicyConfig, OnPolicyConfig};
use crate::engine::Role;
use crate::engine::autograd::Autograd;
use crate::engine::fused::Fused;
use crate::error::{Error, Result};
use crate::game::StackelbergConfig;
use crate::learner::{Learner, LearnerConfig};
use crate::memory::{Replay, Rollout};
use crate::settings::{self, Settings};
use crate::spaces::{ActionSpace, Spaces};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::{Cuda, Device};

/// One entry of the registry.
#[derive(Clone, Copy, Debug)]
pub struct Algorithm {
    /// The name on the command line, and of its file in `configs/`.
    pub name: &'static str,
    /// One line for `stac-bench algos`.
    pub about: &'static str,
    /// Who leads; nobody in the baselines.
    pub leader: Option<Role>,
    prepare: fn(&Algorithm, &Settings) -> Result<Prepared>,
}

/// Every algorithm, in the order of `stac-bench algos`.
pub const ALGORITHMS: &[Algorithm] = &[
    Algorithm {
        name: "ac",
        about: "actor-critic on trajectories",
        leader: None,
        prepare: on_policy,
    },
    Algorithm {
        name: "stac",
        about: "Stackelberg actor-critic, the actor leads",
        leader: Some(Role::Actor),
        prepare: on_policy,
    },
    Algorithm {
        name: "ddpg",
        about: "deep deterministic policy gradient",
        leader: None,
        prepare: off_policy::<Ddpg>,
    },
    Algorithm {
        name: "stddpg-al",
        about: "Stackelberg DDPG, the actor leads",
        leader: Some(Role::Actor),
        prepare: off_policy::<Ddpg>,
    },
    Algorithm {
        name: "stddpg-cl",
        about: "Stackelberg DDPG, the critic leads",
        leader: Some(Role::Critic),
        prepare: off_policy::<Ddpg>,
    },
    Algorithm { name: "sac", about: "soft actor-critic", leader: None, prepare: off_policy::<Sac> },
    Algorithm {
        name: "stsac-al",
        about: "Stackelberg SAC, the actor leads",
        leader: Some(Role::Actor),
        prepare: off_policy::<Sac>,
    },
    Algorithm {
        name: "stsac-cl",
        about: "Stackelberg SAC, the critic leads",
        leader: Some(Role::Critic),
        prepare: off_policy::<Sac>,
    },
];

/// Settings that were read and checked.
pub struct Prepared {
    /// What computes gradients: what `auto` stands for.
    pub engine: EngineKind,
    build: Build,
}

type Build = Box<dyn Fn(&Spaces, u64) -> Result<Box<dyn Learn>>>;

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl Prepared {
    /// Builds the agent for an environment with these spaces, all its randomness from `seed`.
    pub fn build(&self, spaces: &Spaces, seed: u64) -> Result<Box<dyn Learn>> {
        (self.build)(spaces, seed)
    }
}

impl Algorithm {
    /// Reads and checks `settings`, without an environment.
    pub fn prepare(&self, settings: &Settings) -> Result<Prepared> {
        (self.prepare)(self, settings)
    }

    /// Both at once.
    pub fn build(&self, settings: &Settings, spaces: &Spaces, seed: u64) -> Result<Box<dyn Learn>> {
        self.prepare(settings)?.build(spaces, seed)
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

/// An algorithm that learns from transitions.
fn off_policy<A: OffPolicy>(entry: &Algorithm, settings: &Settings) -> Result<Prepared> {
    let (config, stackelberg) = entry.parse(&OffPolicyConfig::default(), settings)?;
    entry.refuse_another_leader(settings, config.leader)?;
    let config = OffPolicyConfig { leader: entry.leader, stackelberg, ..config };
    config.validate()?;
    A::check(&config)?;
    let engine = config.engine.resolve(config.device, config.not_fused())?;
    let name = entry.name;
    let build = move |spaces: &Spaces, seed: u64| -> Result<Box<dyn Learn>> {
        let ActionSpace::Box { low, .. } = &spaces.action else {
            let has = spaces.clone();
            return Err(Error::Spaces { algo: name, needs: "Box actions", has });
        };
        let dims = (spaces.obs_dim, low.len());
        let algorithm = A::new(&config, dims.0, dims.1);
        let memory = Replay::new(config.buffer_size, dims.0, dims.1);
        let (learner, spaces) = (LearnerConfig::from(&config), spaces.clone());
        Ok(match algorithm.spec().filter(|_| engine == EngineKind::Fused) {
            Some(spec) => {
                let engine = Fused::new(spec);
                Box::new(Learner::new(algorithm, engine, memory, learner, spaces, seed)?)
            }
            None => {
                let engine = Autograd::new(algorithm.clone(), device(config.device)?);
                Box::new(Learner::new(algorithm, engine, memory, learner, spaces, seed)?)
            }
        })
    };
    Ok(Prepared { engine, build: Box::new(build) })
}

/// Actor-critic on trajectories.
fn on_policy(entry: &Algorithm, settings: &Settings) -> Result<Prepared> {
    let (config, stackelberg) = entry.parse(&OnPolicyConfig::default(), settings)?;
    entry.refuse_another_leader(settings, config.leader)?;
    let config = OnPolicyConfig { leader: entry.leader, stackelberg, ..config };
    config.validate()?;
    let engine = config.engine.resolve(config.device, Some("this algorithm"))?;
    let build = move |spaces: &Spaces, seed: u64| -> Result<Box<dyn Learn>> {
        if config.use_sde && !matches!(spaces.action, ActionSpace::Box { .. }) {
            let reason = "noise that depends on the state needs Box actions";
            return Err(Error::config("use_sde", true, reason));
        }
        let device = device(config.device)?;
        let algorithm = ActorCritic::new(&config, spaces, device);
        let (engine, memory) = (Autograd::new(algorithm.clone(), device), Rollout::default());
        let (learner, spaces) = (LearnerConfig::from(&config), spaces.clone());
        Ok(Box::new(Learner::new(algorithm, engine, memory, learner, spaces, seed)?))
    };
    Ok(Prepared { engine, build: Box::new(build) })
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
