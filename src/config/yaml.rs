//! YAML into values: the only file that names `serde_yaml`, which is no longer maintained.

use saphyr::{LoadableYamlNode as _, MarkedYaml, YamlData};
use saphyr_parser::{Event, Parser};
use serde_json::{Map, Number, Value};
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
        let yaml = read(text)?;
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

/// A mapping of keys to values.
pub fn mapping(text: &str) -> Result<Map<String, Value>, String> {
    Document::parse(text).map(|document| document.values)
}

/// One value as in `--set key=VALUE`.
pub(super) fn parse_value(text: &str) -> Result<Value, String> {
    to_value(&read(text)?)
}

/// How deep YAML may be nested.
const DEEPEST: usize = 64;
/// How many brackets may be open at once, those within words too.
const BRACKETS: usize = 1_000;
/// The most bytes of a text whose aliases have been replaced by what they stand for.
const WHOLE: usize = 2_000_000;

fn read(text: &str) -> Result<serde_yaml::Value, String> {
    weigh(text)?;
    serde_yaml::from_str(text).map_err(|error| error.to_string())
}

/// An error if `text` is nested too deep, or its aliases stand for too much: reading it would take all memory.
fn weigh(text: &str) -> Result<(), String> {
    // Brackets that are never closed take the parsers a time that grows with the square of their number.
    let mut brackets = 0_usize;
    for c in text.bytes() {
        match c {
            b'[' | b'{' => brackets += 1,
            b']' | b'}' => brackets = brackets.saturating_sub(1),
            _ => {}
        }
        if brackets > BRACKETS {
            return Err(format!("more than {BRACKETS} of its brackets are open at once"));
        }
    }
    let mut anchors: HashMap<usize, usize> = HashMap::new();
    // Of each collection that is open, its anchor and the weight before it.
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut weight = 0_usize;
    // What cannot be read is for the reader to say.
    for (event, _) in Parser::new_from_str(text).map_while(Result::ok) {
        match event {
            Event::Scalar(scalar, _, anchor, _) => {
                weight = weight.saturating_add(scalar.len() + 1);
                anchors.insert(anchor, scalar.len() + 1);
            }
            Event::Alias(anchor) => {
                weight = weight.saturating_add(anchors.get(&anchor).copied().unwrap_or(0));
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                open.push((anchor, weight));
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some((anchor, before)) = open.pop() {
                    anchors.insert(anchor, weight.saturating_sub(before) + 1);
                }
            }
            _ => {}
        }
        if open.len() > DEEPEST {
            return Err(format!("it is nested more than {DEEPEST} deep"));
        }
        if weight > WHOLE {
            return Err(format!("its aliases stand for more than {WHOLE} bytes"));
        }
    }
    Ok(())
}

/// `value` as YAML: mappings as blocks, everything else in one line.
pub fn to_string(value: &Value) -> String {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            let lines = entries.iter().map(|(key, value)| match value {
                Value::Object(nested) if !nested.is_empty() => {
                    let nested = to_string(value);
                    let nested = nested.lines().map(|line| format!("  {line}\n"));
                    format!("{}:\n{}", word(key), nested.collect::<String>())
                }
                _ => format!("{}: {}\n", word(key), in_one_line(value)),
            });
            lines.collect()
        }
        other => format!("{}\n", in_one_line(other)),
    }
}

/// `value` in YAML's flow style.
pub fn in_one_line(value: &Value) -> String {
    let list = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::String(text) => word(text),
        Value::Number(number) => number_as_text(number),
        Value::Array(items) => format!("[{}]", list(items.iter().map(in_one_line).collect())),
        Value::Object(entries) => {
            let pair =
                |(key, value): (&String, &Value)| format!("{}: {}", word(key), in_one_line(value));
            format!("{{{}}}", list(entries.iter().map(pair).collect()))
        }
        Value::Null | Value::Bool(_) => value.to_string(),
    }
}

/// A number that YAML 1.1 reads as one too, where an exponent needs a dot before it and a sign.
fn number_as_text(number: &Number) -> String {
    let text = number.to_string();
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let dot = if digits.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['-', '+']) { "" } else { "+" };
    format!("{digits}{dot}e{sign}{exponent}")
}

/// A string, in quotes where YAML could take it for something else.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let read = serde_yaml::from_str::<serde_yaml::Value>(text);
    // Words of YAML 1.1 besides.
    let other = ["y", "n", "yes", "no", "on", "off"].contains(&text.to_lowercase().as_str());
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic());
    if starts
        && text.chars().all(plain)
        && !other
        && matches!(read, Ok(serde_yaml::Value::String(_)))
    {
        text.to_owned()
    } else {
        // JSON is YAML, if what cannot be printed is escaped.
        let escaped = |c: char| match c.is_control() {
            true => format!("\\u{:04x}", u32::from(c)),
            false => c.to_string(),
        };
        Value::from(text).to_string().chars().map(escaped).collect()
    }
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
