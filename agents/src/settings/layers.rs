//! Settings by key, and how some are laid over others.

use serde_json::{Map, Value};

/// Settings by key.
pub type Settings = Map<String, Value>;

/// Lays `over` over `base`, key by key where both are mappings.
pub fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

/// The name closest to `name`.
pub fn nearest<S: AsRef<str>>(name: &str, names: impl IntoIterator<Item = S>) -> Option<S> {
    let distance = |other: &S| strsim::jaro_winkler(other.as_ref(), name);
    names.into_iter().max_by(|a, b| distance(a).total_cmp(&distance(b)))
}
