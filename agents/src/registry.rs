//! The algorithms, by name.

use crate::agent::Learn;
use crate::algo::ac::{AcConfig, ActorCritic};
use crate::algo::algorithm::OffPolicy;
use crate::algo::ddpg::Ddpg;
use crate::algo::sac::Sac;
use crate::algo::sde::SdeConfig;
use crate::algo::td3::Td3;
use crate::algo::{Common, DeviceKind, EngineKind, OffPolicyConfig, OnPolicyConfig};
use crate::engine::Role;
use crate::engine::autograd::Autograd;
use crate::engine::fused::Fused;
use crate::error::{Error, Result};
use crate::game::StackelbergConfig;
use crate::learner::{Learner, LearnerConfig};
use crate::memory::{Replay, Rollout};
use crate::settings::{self, Record, Records, Settings, schema, take};
use crate::spaces::{ActionSpace, Spaces};
use serde_json::Value;
use tch::{Cuda, Device};

/// One entry of the registry.
#[derive(Clone, Copy, Debug)]
pub struct Algorithm {
    /// The name on the command line.
    pub name: &'static str,
    /// One line for `stac-bench algos`.
    pub about: &'static str,
    /// Who leads; nobody in the baselines.
    pub leader: Option<Role>,
    /// What it shares with its baseline, or with its Stackelberg forms.
    pub base: &'static Base,
}

/// What a baseline and its Stackelberg forms share.
#[derive(Debug)]
pub struct Base {
    /// A file in `configs/`, and its text: where settings differ from what is declared.
    pub config: (&'static str, &'static str),
    /// Stable-Baselines3's algorithm with these settings.
    pub stable_baselines3: &'static str,
    /// What they declare, one schema a record.
    pub records: fn() -> Vec<Value>,
    prepare: fn(&Algorithm, &Settings) -> Result<Prepared>,
}

/// Settings that were read and checked.
pub struct Prepared {
    /// All that apply, those that were left out too.
    pub settings: Settings,
    /// What computes gradients: what `auto` stands for.
    pub engine: EngineKind,
    build: Build,
}

type Build = Box<dyn Fn(&Spaces, u64) -> Result<Box<dyn Learn>> + Send + Sync>;

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Prepared {
    /// Builds the agent for an environment with these spaces, all its randomness from `seed`.
    pub fn build(&self, spaces: &Spaces, seed: u64) -> Result<Box<dyn Learn>> {
        (self.build)(spaces, seed)
    }
}

const AC: Base = Base {
    config: ("ac.yml", include_str!("../../configs/ac.yml")),
    stable_baselines3: "a2c",
    records: records::<OnPolicyConfig, (AcConfig, SdeConfig)>,
    prepare: on_policy,
};
const DDPG: Base = off_policy::<Ddpg>("ddpg.yml", include_str!("../../configs/ddpg.yml"), "ddpg");
const TD3: Base = off_policy::<Td3>("td3.yml", include_str!("../../configs/td3.yml"), "td3");
const SAC: Base = off_policy::<Sac>("sac.yml", include_str!("../../configs/sac.yml"), "sac");

/// Every algorithm, in the order of `stac-bench algos`.
pub const ALGORITHMS: &[Algorithm] = &[
    Algorithm { name: "ac", about: "actor-critic on trajectories", leader: None, base: &AC },
    Algorithm {
        name: "stac",
        about: "Stackelberg actor-critic, the actor leads",
        leader: Some(Role::Actor),
        base: &AC,
    },
    Algorithm {
        name: "ddpg",
        about: "deep deterministic policy gradient",
        leader: None,
        base: &DDPG,
    },
    Algorithm {
        name: "stddpg-al",
        about: "Stackelberg DDPG, the actor leads",
        leader: Some(Role::Actor),
        base: &DDPG,
    },
    Algorithm {
        name: "stddpg-cl",
        about: "Stackelberg DDPG, the critic leads",
        leader: Some(Role::Critic),
        base: &DDPG,
    },
    Algorithm { name: "td3", about: "twin delayed DDPG", leader: None, base: &TD3 },
    Algorithm {
        name: "sttd3-al",
        about: "Stackelberg TD3, the actor leads",
        leader: Some(Role::Actor),
        base: &TD3,
    },
    Algorithm {
        name: "sttd3-cl",
        about: "Stackelberg TD3, the critic leads",
        leader: Some(Role::Critic),
        base: &TD3,
    },
    Algorithm { name: "sac", about: "soft actor-critic", leader: None, base: &SAC },
    Algorithm {
        name: "stsac-al",
        about: "Stackelberg SAC, the actor leads",
        leader: Some(Role::Actor),
        base: &SAC,
    },
    Algorithm {
        name: "stsac-cl",
        about: "Stackelberg SAC, the critic leads",
        leader: Some(Role::Critic),
        base: &SAC,
    },
];

impl Algorithm {
    /// What it declares: every setting with its documentation, type, range and default.
    pub fn schema(&self) -> Value {
        schema::join(self.name, (self.base.records)())
    }

    /// What of `settings` does not apply, and why.
    pub fn foreign(&self, settings: &Settings) -> Vec<(String, String)> {
        let led = self.leader.is_some();
        let on = |control: &&str| settings.get(*control) == Some(&Value::Bool(true));
        let controls = Common::CONTROLS;
        let mut foreign = if led || controls.iter().any(on) {
            StackelbergConfig::foreign(settings)
        } else {
            let schema = schema::of::<StackelbergConfig>();
            let leaders = schema::properties(&schema).keys();
            let why = format!("and `{}` has none; take {}", self.name, self.relatives(true));
            let controls = controls.map(|control| format!("`{control}: true`")).join(" or ");
            let reason = format!("it is a setting of a leader, {why}, or a control, {controls}");
            leaders.map(|key| (key.clone(), reason.clone())).collect()
        };
        if led {
            let why = format!("it is a control of baselines; take {}", self.relatives(false));
            foreign.extend(controls.map(|control| (control.to_owned(), why.clone())));
        } else {
            let why = format!("nobody leads in `{}`; take {}", self.name, self.relatives(true));
            foreign.push(("leader".to_owned(), why));
        }
        foreign.retain(|(key, _)| settings.contains_key(key));
        foreign
    }

    /// The algorithms of its base: the baseline and its Stackelberg forms, itself among them.
    pub fn forms(&self) -> impl Iterator<Item = &'static Algorithm> {
        let (file, _) = self.base.config;
        ALGORITHMS.iter().filter(move |other| other.base.config.0 == file)
    }

    /// The names of its Stackelberg forms, or that of its baseline.
    fn relatives(&self, led: bool) -> String {
        let own = self.forms().filter(|form| form.leader.is_some() == led);
        own.map(|form| format!("`{}`", form.name)).collect::<Vec<_>>().join(" or ")
    }

    /// Reads and checks `settings`, without an environment.
    pub fn prepare(&self, settings: &Settings) -> Result<Prepared> {
        (self.base.prepare)(self, settings)
    }

    /// Prepares and builds at once.
    pub fn build(&self, settings: &Settings, spaces: &Spaces, seed: u64) -> Result<Box<dyn Learn>> {
        self.prepare(settings)?.build(spaces, seed)
    }

    /// Reads and checks `given`: what all algorithms have, what those of its kind have, and its own.
    fn read<C: Record, O: Records>(&self, given: &Settings) -> Result<(Common, C, O)> {
        let mut rest = given.clone();
        for (key, reason) in self.foreign(given) {
            if let Some(value) = rest.shift_remove(&key).filter(|value| !value.is_null()) {
                return Err(Error::config(key, value, reason));
            }
        }
        let common: Common = take(&mut rest)?;
        let stackelberg: StackelbergConfig = take(&mut rest)?;
        if let Some(leader) = common.leader
            && self.leader != Some(leader)
        {
            let reason =
                format!("`{}` fixes who leads; another algorithm has another leader", self.name);
            return Err(Error::config("leader", settings::to_value(&leader)?, reason));
        }
        common.control()?;
        let common = Common { leader: self.leader, stackelberg, ..common };
        let read = (common, take(&mut rest)?, O::take(&mut rest)?);
        settings::refuse_rest(&rest, &self.schema())?;
        Ok(read)
    }

    /// What was read, as settings, without what does not apply.
    fn write(&self, common: &Common, own: [Value; 2]) -> Result<Settings> {
        let mut all = settings::to_value(common)?;
        for part in own {
            settings::merge(&mut all, part);
        }
        settings::merge(&mut all, Value::Object(common.stackelberg.resolved()?));
        let Value::Object(mut all) = all else { return Ok(Settings::new()) };
        for (key, _) in self.foreign(&all) {
            all.shift_remove(&key);
        }
        Ok(all)
    }
}

/// What all algorithms declare, those of kind `C`, and one with `O`; then the leader's update.
fn records<C: Record, O: Records>() -> Vec<Value> {
    let mut schemas = vec![schema::of::<Common>(), schema::of::<C>()];
    schemas.extend(O::schemas());
    schemas.push(schema::of::<StackelbergConfig>());
    schemas
}

const fn off_policy<A: OffPolicy>(
    file: &'static str,
    text: &'static str,
    stable_baselines3: &'static str,
) -> Base {
    let records = records::<OffPolicyConfig, A::Config>;
    Base { config: (file, text), stable_baselines3, records, prepare: prepare_off_policy::<A> }
}

fn prepare_off_policy<A: OffPolicy>(algorithm: &Algorithm, given: &Settings) -> Result<Prepared> {
    let (common, config, own) = algorithm.read::<OffPolicyConfig, A::Config>(given)?;
    let config = OffPolicyConfig { common, ..config };
    A::check(&config, &own)?;
    if algorithm.leader == Some(Role::Critic)
        && let Some(lacking) = A::no_actor_outputs(&config, &own)
    {
        config.common.stackelberg.refuse_gauss_newton(lacking)?;
    }
    let parts = [settings::to_value(&config)?, own.settings()?];
    let settings = algorithm.write(&config.common, parts)?;
    let engine = config.common.engine.resolve(config.common.device, A::not_fused(&own))?;
    let name = algorithm.name;
    let build = move |spaces: &Spaces, seed: u64| -> Result<Box<dyn Learn>> {
        let ActionSpace::Box { low, .. } = &spaces.action else {
            let has = spaces.clone();
            return Err(Error::Spaces { algo: name, needs: "Box actions", has });
        };
        let (obs_dim, action_dim) = (spaces.obs_dim, low.len());
        let algorithm = A::new(&config, &own, obs_dim, action_dim);
        let memory = Replay::of(config.buffer_size, spaces);
        let learner = LearnerConfig::off_policy(&config, &algorithm);
        let spaces = spaces.clone();
        Ok(match algorithm.spec().filter(|_| engine == EngineKind::Fused) {
            Some(spec) => {
                let engine = Fused::new(spec);
                Box::new(Learner::new(algorithm, engine, memory, learner, spaces, seed)?)
            }
            None => {
                let engine = Autograd::new(algorithm.clone(), device(config.common.device)?);
                Box::new(Learner::new(algorithm, engine, memory, learner, spaces, seed)?)
            }
        })
    };
    Ok(Prepared { settings, engine, build: Box::new(build) })
}

/// Actor-critic on trajectories.
fn on_policy(algorithm: &Algorithm, given: &Settings) -> Result<Prepared> {
    let (common, config, own) = algorithm.read::<OnPolicyConfig, (AcConfig, SdeConfig)>(given)?;
    let settings = algorithm.write(&common, [settings::to_value(&config)?, own.settings()?])?;
    let engine = common.engine.resolve(common.device, Some("this algorithm"))?;
    let config = OnPolicyConfig { common, ..config };
    let build = move |spaces: &Spaces, seed: u64| -> Result<Box<dyn Learn>> {
        if own.1.use_sde && !matches!(spaces.action, ActionSpace::Box { .. }) {
            let reason = "noise that depends on the state needs Box actions";
            return Err(Error::config("use_sde", true, reason));
        }
        let device = device(config.common.device)?;
        let algorithm = ActorCritic::new(&config.common, &own, spaces, device);
        let engine = Autograd::new(algorithm.clone(), device);
        let (learner, spaces) = (LearnerConfig::on_policy(&config), spaces.clone());
        let memory = Rollout::default();
        Ok(Box::new(Learner::new(algorithm, engine, memory, learner, spaces, seed)?))
    };
    Ok(Prepared { settings, engine, build: Box::new(build) })
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
    let nearest = settings::nearest(name, ALGORITHMS.iter().map(|a| a.name)).unwrap_or_default();
    Err(Error::UnknownAlgorithm { name: name.into(), nearest })
}
