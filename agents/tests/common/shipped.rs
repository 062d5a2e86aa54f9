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

/// The names of all algorithms that have a setting `key`: `buffer_size` of those that learn from transitions, `n_steps` of
/// those that learn from trajectories.
pub fn with_setting(key: &str) -> impl Iterator<Item = &'static str> {
    let own = registry::ALGORITHMS
        .iter()
        .filter(move |algorithm| schema::properties(&algorithm.schema()).contains_key(key));
    own.map(|algorithm| algorithm.name)
}

/// The names of such algorithms that have a leader, each with that of its baseline.
pub fn led_with_setting(key: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let led = with_setting(key).filter(|name| registry::find(name).unwrap().leader.is_some());
    led.map(|name| {
        let base = registry::find(name).unwrap().base;
        let mut all = registry::ALGORITHMS.iter();
        let baseline = all.find(|it| it.leader.is_none() && it.base.config == base.config).unwrap();
        (name, baseline.name)
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
