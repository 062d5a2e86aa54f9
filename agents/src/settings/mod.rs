//! Settings, each declared once: as a field of a [`Record`] with its type, default, range and a line
//! of documentation. What files and options say is laid over the defaults, read, and checked.

mod layers;
pub mod schema;

pub use layers::{Settings, merge, nearest};

use crate::error::{Error, Result};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Settings that are declared together. The default is theirs, documentation and ranges stand at
/// their fields, and [`Record::check`] has what cannot be said of a single field.
pub trait Record: Default + Serialize + DeserializeOwned + JsonSchema {
    /// Checks fields against one another.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// Takes the keys of `R` out of `settings`, lays them over its defaults, reads and checks them. An
/// error names the key.
pub fn take<R: Record>(settings: &mut Settings) -> Result<R> {
    let schema = schema::of::<R>();
    let mut whole = to_value(&R::default())?;
    merge(&mut whole, Value::Object(split(&schema, settings)));
    let record: R = serde_path_to_error::deserialize(&whole).map_err(|error| {
        let key = error.path().to_string();
        let pointer = format!("/{}", key.replace(['.', '['], "/").replace(']', ""));
        let value = whole.pointer(&pointer).map_or_else(String::new, ToString::to_string);
        Error::config(key, value, error.inner().to_string())
    })?;
    schema::check(&schema, "", &whole)?;
    record.check()?;
    Ok(record)
}

/// What an algorithm reads: one record, or two.
pub trait Records: Sized {
    /// Takes them out of `settings`.
    fn take(settings: &mut Settings) -> Result<Self>;

    /// What they declare, one schema a record.
    fn schemas() -> Vec<Value>;

    /// All their settings.
    fn settings(&self) -> Result<Value>;
}

impl<R: Record> Records for R {
    fn take(settings: &mut Settings) -> Result<Self> {
        take(settings)
    }

    fn schemas() -> Vec<Value> {
        vec![schema::of::<R>()]
    }

    fn settings(&self) -> Result<Value> {
        to_value(self)
    }
}

impl<A: Record, B: Record> Records for (A, B) {
    fn take(settings: &mut Settings) -> Result<Self> {
        Ok((take(settings)?, take(settings)?))
    }

    fn schemas() -> Vec<Value> {
        vec![schema::of::<A>(), schema::of::<B>()]
    }

    fn settings(&self) -> Result<Value> {
        let mut settings = to_value(&self.0)?;
        merge(&mut settings, to_value(&self.1)?);
        Ok(settings)
    }
}

/// Moves what `schema` declares from `settings` to the result; in a mapping, key by key.
fn split(schema: &Value, settings: &mut Settings) -> Settings {
    let mut own = Settings::new();
    for (key, declared) in schema::properties(schema) {
        match settings.get_mut(key) {
            Some(Value::Object(nested)) if declared.get("properties").is_some() => {
                own.insert(key.clone(), Value::Object(split(declared, nested)));
                if nested.is_empty() {
                    settings.shift_remove(key);
                }
            }
            Some(_) => own.extend(settings.shift_remove(key).map(|value| (key.clone(), value))),
            None => {}
        }
    }
    own
}

/// An error if something is left that no record of `schema` has taken.
pub fn refuse_rest(rest: &Settings, schema: &Value) -> Result<()> {
    let Some((key, value)) = rest.iter().next() else { return Ok(()) };
    let (mut path, mut value, mut known) = (key.clone(), value, schema);
    // Of a mapping that is known, the key within.
    while let (Some(declared), Value::Object(nested)) =
        (schema::properties(known).get(last(&path)), value)
        && let Some((key, inner)) = nested.iter().next()
    {
        (path, value, known) = (format!("{path}.{key}"), inner, declared);
    }
    let nearest = nearest(last(&path), schema::properties(known).keys());
    let nearest = nearest.map(|name| format!("; the nearest is `{name}`")).unwrap_or_default();
    Err(Error::config(path, value, format!("there is no such setting{nearest}")))
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or_default()
}

/// `value` as JSON.
pub fn to_value(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::config("settings", "", error.to_string()))
}

/// A number, or a word: `auto` or, for a coefficient and its start, `auto_0.1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    pub fn start(word: &str, default: f64) -> Option<f64> {
        match word.strip_prefix("auto")? {
            "" => Some(default),
            rest => rest.strip_prefix('_')?.parse().ok(),
        }
    }
}
