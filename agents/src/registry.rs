//! The algorithms, by name.

use crate::agent::Agent;
use crate::algo::ac::AcConfig;
use crate::algo::ddpg::Ddpg;
use crate::algo::off_policy::{Family, OffPolicy};
use crate::algo::on_policy::OnPolicy;
use crate::algo::sac::Sac;
use crate::algo::sde::SdeConfig;
use crate::algo::{Common, DeviceKind, EngineKind, OffPolicyConfig, OnPolicyConfig};
use crate::engine::Role;
use crate::engine::autograd::{Autograd, Objectives};
use crate::engine::fused::Fused;
use crate::env::{ActionSpace, Spaces};
use crate::error::{Error, Result};
use crate::game::StackelbergConfig;
use crate::settings::{self, Record, Records, Settings, schema, take};
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
    /// What they declare, one schema a record.
    pub records: fn() -> Vec<Value>,
    resolve: fn(&Algorithm, &Settings) -> Result<(Settings, EngineKind)>,
    build: fn(&Algorithm, &Settings, &Spaces, u64) -> Result<Box<dyn Agent>>,
}

const AC: Base = Base {
    config: ("ac.yml", include_str!("../../configs/ac.yml")),
    records: records::<OnPolicyConfig, (AcConfig, SdeConfig)>,
    resolve: resolve_on_policy,
    build: build_on_policy,
};
const DDPG: Base = off_policy::<Ddpg>("ddpg.yml", include_str!("../../configs/ddpg.yml"));
const SAC: Base = off_policy::<Sac>("sac.yml", include_str!("../../configs/sac.yml"));

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
        let mut foreign = if led || settings.get("step_match") == Some(&Value::Bool(true)) {
            StackelbergConfig::foreign(settings)
        } else {
            let schema = schema::of::<StackelbergConfig>();
            let leaders = schema::properties(&schema).keys();
            let why = format!("and `{}` has none; take {}", self.name, self.relatives(true));
            let reason = format!("it is a setting of a leader, {why}, or `step_match: true`");
            leaders.map(|key| (key.clone(), reason.clone())).collect()
        };
        foreign.push(if led {
            let why = format!("it is a control of baselines; take {}", self.relatives(false));
            ("step_match".to_owned(), why)
        } else {
            let why = format!("nobody leads in `{}`; take {}", self.name, self.relatives(true));
            ("leader".to_owned(), why)
        });
        foreign.retain(|(key, _)| settings.contains_key(key));
        foreign
    }

    /// The names of its Stackelberg forms, or that of its baseline.
    fn relatives(&self, led: bool) -> String {
        let own = |a: &&Algorithm| a.base.config == self.base.config && a.leader.is_some() == led;
        let names = ALGORITHMS.iter().filter(own).map(|a| format!("`{}`", a.name));
        names.collect::<Vec<_>>().join(" or ")
    }

    /// All settings that apply, those that `settings` leaves out too.
    pub fn resolve(&self, settings: &Settings) -> Result<Settings> {
        Ok((self.base.resolve)(self, settings)?.0)
    }

    /// The engine that runs with `settings`: what `auto` stands for.
    pub fn engine(&self, settings: &Settings) -> Result<EngineKind> {
        Ok((self.base.resolve)(self, settings)?.1)
    }

    /// Builds the agent for an environment with these spaces, all its randomness from `seed`.
    pub fn build(&self, settings: &Settings, spaces: &Spaces, seed: u64) -> Result<Box<dyn Agent>> {
        (self.base.build)(self, settings, spaces, seed)
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
        if self.leader == Some(Role::Critic) {
            stackelberg.refuse_gauss_newton()?;
        }
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

const fn off_policy<F>(file: &'static str, text: &'static str) -> Base
where
    F: Family + Objectives + Clone + 'static,
{
    Base {
        config: (file, text),
        records: records::<OffPolicyConfig, F::Config>,
        resolve: |algorithm, given| {
            let (config, own) = read_off_policy::<F>(algorithm, given)?;
            let engine = config.common.engine.resolve(config.common.device, F::not_fused(&own))?;
            let own = [settings::to_value(&config)?, own.settings()?];
            Ok((algorithm.write(&config.common, own)?, engine))
        },
        build: build_off_policy::<F>,
    }
}

fn read_off_policy<F: Family>(
    algorithm: &Algorithm,
    given: &Settings,
) -> Result<(OffPolicyConfig, F::Config)> {
    let (common, config, own) = algorithm.read::<OffPolicyConfig, F::Config>(given)?;
    if common.step_match {
        let reason = "this baseline has no such control yet; `ac` has";
        return Err(Error::config("step_match", true, reason));
    }
    let config = OffPolicyConfig { common, ..config };
    F::check(&config, &own)?;
    Ok((config, own))
}

fn build_off_policy<F: Family + Objectives + Clone + 'static>(
    algorithm: &Algorithm,
    given: &Settings,
    spaces: &Spaces,
    seed: u64,
) -> Result<Box<dyn Agent>> {
    let (config, own) = read_off_policy::<F>(algorithm, given)?;
    let ActionSpace::Box { low, .. } = &spaces.action else {
        let has = spaces.clone();
        return Err(Error::Spaces { algo: algorithm.name, needs: "Box actions", has });
    };
    let (family, spaces) = (F::new(&config, &own, spaces.obs_dim, low.len()), spaces.clone());
    let device = device(config.common.device)?;
    Ok(match config.common.engine.resolve(config.common.device, F::not_fused(&own))? {
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

type Ac = (AcConfig, SdeConfig);

fn resolve_on_policy(algorithm: &Algorithm, given: &Settings) -> Result<(Settings, EngineKind)> {
    let (common, config, own) = algorithm.read::<OnPolicyConfig, Ac>(given)?;
    let engine = common.engine.resolve(common.device, Some("this algorithm"))?;
    Ok((algorithm.write(&common, [settings::to_value(&config)?, own.settings()?])?, engine))
}

fn build_on_policy(
    algorithm: &Algorithm,
    given: &Settings,
    spaces: &Spaces,
    seed: u64,
) -> Result<Box<dyn Agent>> {
    let (common, config, own) = algorithm.read::<OnPolicyConfig, Ac>(given)?;
    if own.1.use_sde && !matches!(spaces.action, ActionSpace::Box { .. }) {
        let reason = "noise that depends on the state needs Box actions";
        return Err(Error::config("use_sde", true, reason));
    }
    let device = device(common.device)?;
    let config = OnPolicyConfig { common, ..config };
    Ok(Box::new(OnPolicy::new(config, &own, spaces.clone(), device, seed)))
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
