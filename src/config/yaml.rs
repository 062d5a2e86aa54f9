//! YAML into values: the only file that names `serde_yaml`, which is no longer maintained.

use saphyr::{LoadableYamlNode as _, MarkedYaml, YamlData};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// A YAML mapping, and where its keys stand.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// The mapping.
    pub(super) values: Map<String, Value>,
    lines: HashMap<Vec<String>, usize>,
}

impl Document {
    /// The 1-based line of the key at `path`.
    pub(super) fn line(&self, path: &[&str]) -> Option<usize> {
        self.lines.get(&path.iter().map(|&key| key.to_owned()).collect::<Vec<_>>()).copied()
    }

    /// Reads a mapping; an error is one line and carries its position.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let yaml: serde_yaml::Value = serde_yaml::from_str(text).map_err(|e| e.to_string())?;
        let mut lines = HashMap::new();
        // serde_yaml has just read it, so a second opinion on its syntax is not needed.
        for document in MarkedYaml::load_from_str(text).unwrap_or_default() {
            note_lines(&document, &mut Vec::new(), &mut lines);
        }
        match to_value(&yaml)? {
            Value::Null => Ok(Self::default()),
            Value::Object(values) => Ok(Self { values, lines }),
            other => Err(format!("`{other}` is not a mapping of keys to values")),
        }
    }
}

/// One value as in `--set key=VALUE`.
pub(super) fn parse_value(text: &str) -> Result<Value, String> {
    to_value(&serde_yaml::from_str(text).map_err(|error| error.to_string())?)
}

/// Writes `value` as YAML.
pub fn to_string(value: &impl Serialize) -> Result<String, serde_yaml::Error> {
    serde_yaml::to_string(value)
}

/// Whole numbers below this are exact in float64.
const EXACT: f64 = 9e15;

/// JSON has no NaN and no infinity, and no setting takes them. A whole number is one however it is
/// written: RL Zoo's files say `n_timesteps: !!float 1e6`.
fn to_value(yaml: &serde_yaml::Value) -> Result<Value, String> {
    match yaml {
        serde_yaml::Value::Number(number)
            if number.as_f64().is_some_and(|x| x.fract() == 0.0 && x.abs() < EXACT) =>
        {
            Ok(Value::from(number.as_f64().unwrap_or_default() as i64))
        }
        serde_yaml::Value::Number(number) if !number.as_f64().is_some_and(f64::is_finite) => {
            Err(format!("`{number}` is not a finite number"))
        }
        serde_yaml::Value::Sequence(items) => items.iter().map(to_value).collect(),
        serde_yaml::Value::Mapping(entries) => {
            let entries = entries.iter().map(|(key, value)| match key {
                serde_yaml::Value::String(key) => match to_value(value) {
                    Ok(value) => Ok((key.clone(), value)),
                    Err(error) => Err(format!("`{key}`: {error}")),
                },
                other => Err(format!("the key {other:?} is not a string")),
            });
            Ok(Value::Object(entries.collect::<Result<_, _>>()?))
        }
        other => serde_json::to_value(other).map_err(|error| error.to_string()),
    }
}

fn note_lines(
    node: &MarkedYaml<'_>,
    path: &mut Vec<String>,
    lines: &mut HashMap<Vec<String>, usize>,
) {
    let YamlData::Mapping(entries) = &node.data else { return };
    for (key, value) in entries {
        let Some(name) = key.data.as_str() else { continue };
        path.push(name.to_owned());
        lines.insert(path.clone(), key.span.start.line());
        note_lines(value, path, lines);
        path.pop();
    }
}
