//! Settings as they come from files and options: read over defaults, and checked.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// Settings by key.
pub type Settings = Map<String, Value>;

/// A number, or a word: `auto` or, for a coefficient and its start, `auto_0.1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NumberOrAuto {
    /// A number.
    Number(f64),
    /// `auto`, or `auto_` and a number.
    Auto(String),
}

impl NumberOrAuto {
    /// What stands for `auto`.
    pub fn auto() -> Self {
        Self::Auto("auto".into())
    }

    /// `default` for `auto`, `x` for `auto_x`; `None` for other words.
    pub(crate) fn start(word: &str, default: f64) -> Option<f64> {
        match word.strip_prefix("auto")? {
            "" => Some(default),
            rest => rest.strip_prefix('_')?.parse().ok(),
        }
    }
}

/// Reads typed settings over `defaults`, nested objects key by key; an error names the key.
pub(crate) fn parse<C: DeserializeOwned + Serialize>(
    defaults: &C,
    settings: &Settings,
) -> Result<C> {
    let unreadable = |key: String, value: String, error: &serde_json::Error| {
        Error::config(key, value, error.to_string())
    };
    let mut whole = serde_json::to_value(defaults)
        .map_err(|error| unreadable(String::new(), String::new(), &error))?;
    merge(&mut whole, &Value::Object(settings.clone()));
    serde_path_to_error::deserialize(whole.clone()).map_err(|error| {
        let key = error.path().to_string();
        let pointer = format!("/{}", key.replace('.', "/"));
        let value = whole.pointer(&pointer).map_or_else(String::new, ToString::to_string);
        unreadable(key, value, error.inner())
    })
}

/// Writes `over` over `base`, key by key where both are objects.
fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => base.clone_from(over),
    }
}

pub(crate) fn not_negative(key: &str, value: f64) -> Result<()> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::config(key, value, "it must be a finite number, 0 or more"))
}

pub(crate) fn positive(key: &str, value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::config(key, value, "it must be a finite number above 0"))
}

pub(crate) fn within(key: &str, value: f64, range: RangeInclusive<f64>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(Error::config(
        key,
        value,
        format!("it must be between {} and {}", range.start(), range.end()),
    ))
}

/// More than any machine can hold is a slip of the keyboard.
pub(crate) fn at_most(key: &str, value: usize, limit: usize) -> Result<()> {
    if value <= limit {
        return Ok(());
    }
    Err(Error::config(key, value, format!("it must be at most {limit}")))
}

/// Checks the widths of hidden layers.
pub(crate) fn hidden_layers(net_arch: &[usize]) -> Result<()> {
    let key = "policy_kwargs.net_arch";
    at_most(key, net_arch.len(), 100)?;
    net_arch.iter().try_for_each(|&width| {
        at_least_one(key, width)?;
        at_most(key, width, 16_384)
    })
}

pub(crate) fn at_least_one<N: PartialOrd + From<u8> + ToString>(key: &str, value: N) -> Result<()> {
    if value >= N::from(1) {
        return Ok(());
    }
    Err(Error::config(key, value, "it must be at least 1"))
}

/// Checks `sde_sample_freq`.
pub(crate) fn validate_sample_freq(sample_freq: i64) -> Result<()> {
    if sample_freq == -1 || sample_freq > 0 {
        return Ok(());
    }
    let reason = "it must be at least 1, or -1 for one matrix per rollout";
    Err(Error::config("sde_sample_freq", sample_freq, reason))
}
