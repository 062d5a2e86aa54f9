//! Algorithms as they are shipped: with the settings of `configs/`.
#![allow(clippy::unwrap_used, dead_code)]

use agents::algo::ac::ActorCritic;
use agents::algo::algorithm::OffPolicy;
use agents::algo::{Common, OffPolicyConfig};
use agents::settings::{Records as _, Settings, merge, schema, take};
use agents::{Spaces, registry};
use serde_json::{Value, json};
use tch::Device;

/// The settings of `algo`, with `over` laid over them. Of what does not apply, that of `over` stays.
pub fn shipped(algo: &str, over: &Value) -> Settings {
    let algorithm = registry::find(algo).unwrap();
    let (_, text) = algorithm.base.config;
    let file: Value = serde_yaml::from_str(text).unwrap();
    let declared = algorithm.schema();
    let mut settings = Value::Object(schema::defaults(&declared));
    let led = algorithm.leader.map(|_| "stackelberg");
    for block in ["default"].into_iter().chain(led).chain([algo]).filter_map(|name| file.get(name))
    {
        merge(&mut settings, block.clone());
    }
    settings
        .as_object_mut()
        .unwrap()
        .retain(|key, _| schema::properties(&declared).contains_key(key));
    merge(&mut settings, over.clone());
    let mut settings = settings.as_object().unwrap().clone();
    for (key, _) in algorithm.foreign(&settings) {
        if over.get(&key).is_none() {
            settings.shift_remove(&key);
        }
    }
    settings
}

/// Settings of an off-policy algorithm with small networks and updates from step 40 on, `over` laid over them.
pub fn quick(algo: &str, over: &Value) -> Settings {
    let mut settings = json!({
        "batch_size": 16, "learning_starts": 40, "random_steps": 60, "train_freq": 5, "gradient_steps": 5,
        "policy_kwargs": {"net_arch": [16, 16]},
    });
    merge(&mut settings, over.clone());
    shipped(algo, &settings)
}

/// Whether `algo` has a setting `key`: `buffer_size` if it learns from transitions, `n_steps` if from trajectories.
pub fn has_setting(algo: &str, key: &str) -> bool {
    schema::properties(&registry::find(algo).unwrap().schema()).contains_key(key)
}

/// The names of all algorithms that have it.
pub fn with_setting(key: &str) -> impl Iterator<Item = &'static str> {
    registry::ALGORITHMS.iter().map(|it| it.name).filter(move |algo| has_setting(algo, key))
}

/// The names of such algorithms that have a leader, each with that of its baseline.
pub fn led_with_setting(key: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let led = with_setting(key).map(|name| registry::find(name).unwrap());
    led.filter(|algorithm| algorithm.leader.is_some()).map(|algorithm| {
        let baseline = algorithm.forms().find(|form| form.leader.is_none()).unwrap();
        (algorithm.name, baseline.name)
    })
}

/// `settings` of a leader, where `algo` has one.
pub fn of_leader(algo: &str, settings: Value) -> Value {
    if registry::find(algo).unwrap().leader.is_some() { settings } else { json!({}) }
}

/// Networks and objectives of the off-policy algorithm `algo`, with `over` laid over its settings.
pub fn family<F: OffPolicy>(algo: &str, over: &Value, obs_dim: usize, action_dim: usize) -> F {
    let mut settings = shipped(algo, over);
    let common: Common = take(&mut settings).unwrap();
    let config = OffPolicyConfig { common, ..take(&mut settings).unwrap() };
    let own = F::Config::take(&mut settings).unwrap();
    F::new(&config, &own, obs_dim, action_dim)
}

/// Those of AC.
pub fn actor_critic(over: &Value, spaces: &Spaces) -> ActorCritic {
    let mut settings = shipped("ac", over);
    let common: Common = take(&mut settings).unwrap();
    let own = (take(&mut settings).unwrap(), take(&mut settings).unwrap());
    ActorCritic::new(&common, &own, spaces, Device::Cpu)
}
