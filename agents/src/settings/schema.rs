//! What a record declares, as JSON schema: read off it, joined, checked, and put in words.

use super::layers::{Settings, merge};
use crate::error::{Error, Result};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// What `R` declares: names, documentation, types, ranges and defaults.
pub fn of<R: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<R>().to_value();
    tidy(&mut schema);
    schema
}

/// Documentation in one line, no names of Rust's types, and defaults where the fields are.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(parts) => parts.iter_mut().for_each(tidy),
        Value::Object(parts) => {
            parts.shift_remove("format");
            if let Some(Value::String(text)) = parts.get_mut("description") {
                *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            }
            parts.values_mut().for_each(tidy);
            if let Some(Value::Object(nested)) = parts.get("default").cloned()
                && let Some(Value::Object(properties)) = parts.get_mut("properties")
            {
                for (key, value) in nested {
                    properties.entry(key).or_insert_with(|| json!({}))["default"] = value;
                }
                parts.shift_remove("default");
            }
        }
        _ => {}
    }
}

/// The settings that `schema` declares, by key; none if it is not a mapping's.
pub fn properties(schema: &Value) -> &Settings {
    static NONE: LazyLock<Settings> = LazyLock::new(Settings::new);
    schema.get("properties").and_then(Value::as_object).unwrap_or(&NONE)
}

/// The schema of settings that several records share.
pub fn join(title: &str, records: impl IntoIterator<Item = Value>) -> Value {
    let mut properties = json!({});
    for mut record in records {
        merge(&mut properties, record["properties"].take());
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

/// The defaults of what `schema` declares.
pub fn defaults(schema: &Value) -> Settings {
    let default = |declared: &Value| match declared.get("default") {
        Some(value) => value.clone(),
        None => Value::Object(defaults(declared)),
    };
    properties(schema).iter().map(|(key, declared)| (key.clone(), default(declared))).collect()
}

/// Checks the ranges of `value`, whose types are right. `key` is its name, empty for a whole record.
pub fn check(schema: &Value, key: &str, value: &Value) -> Result<()> {
    for (name, declared) in properties(schema) {
        let path = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        check(declared, &path, &value[name])?;
    }
    if let Some(values) = value.as_array() {
        let limit = schema.get("maxItems").and_then(Value::as_u64).unwrap_or(u64::MAX);
        if values.len() as u64 > limit {
            return Err(Error::config(key, value, format!("it must have at most {limit} entries")));
        }
        for (i, value) in values.iter().enumerate() {
            let declared = schema.get("prefixItems").map_or(&schema["items"], |first| &first[i]);
            check(declared, key, value)?;
        }
    }
    let outside = value.as_f64().and_then(|number| outside(schema, number));
    let branches: Vec<_> = branches(schema).filter(|branch| takes(branch, value)).collect();
    let fits = |branch: &&Value| check(branch, key, value).is_ok();
    match (outside, branches.as_slice()) {
        (Some(range), _) => Err(Error::config(key, value, format!("it must be {range}"))),
        (None, [one]) => check(one, key, value),
        (None, []) => Ok(()),
        (None, several) if several.iter().any(fits) => Ok(()),
        (None, _) => {
            let range = range(schema).unwrap_or_default();
            Err(Error::config(key, value, format!("it must be {range}")))
        }
    }
}

/// The alternatives of `schema`.
fn branches(schema: &Value) -> impl Iterator<Item = &Value> {
    let several = |name: &str| schema.get(name).and_then(Value::as_array).into_iter().flatten();
    several("anyOf").chain(several("oneOf"))
}

/// Whether values of this type are `schema`'s business.
fn takes(schema: &Value, value: &Value) -> bool {
    let name = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    types(schema)
        .is_none_or(|mut own| own.any(|own| own == name || own == "integer" && name == "number"))
}

/// The names of the types of `schema`, if it says them.
fn types(schema: &Value) -> Option<impl Iterator<Item = &str>> {
    let names = match schema.get("type")? {
        Value::Array(names) => names.as_slice(),
        name => std::slice::from_ref(name),
    };
    Some(names.iter().filter_map(Value::as_str))
}

/// The bounds of a number in words, if it is beyond them; of a count, the bound that was missed.
fn outside(schema: &Value, number: f64) -> Option<String> {
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    let below = bound("minimum").is_some_and(|least| number < least)
        || bound("exclusiveMinimum").is_some_and(|least| number <= least);
    let above = bound("maximum").is_some_and(|most| number > most);
    let another = schema.get("const").is_some_and(|only| only.as_f64() != Some(number));
    if !(below || above || another) {
        return None;
    }
    match (schema.get("minimum"), schema.get("maximum")) {
        (Some(least), Some(_)) if below && is_whole(schema) => Some(format!("at least {least}")),
        (Some(_), Some(most)) if above && is_whole(schema) => Some(format!("at most {most}")),
        _ => range(schema).or_else(|| Some(String::new())),
    }
}

/// Whether numbers of `schema` are whole ones.
fn is_whole(schema: &Value) -> bool {
    match types(schema) {
        Some(mut names) => names.any(|name| name == "integer"),
        None => branches(schema).all(is_whole),
    }
}

/// The range of `schema` in words, as in "it must be at least 1"; none if its type says all.
pub fn range(schema: &Value) -> Option<String> {
    let bound = |name: &str| schema.get(name).filter(|bound| bound.is_number());
    let own = match (bound("minimum"), bound("exclusiveMinimum"), bound("maximum")) {
        (Some(least), _, Some(most)) => Some(format!("between {least} and {most}")),
        (Some(least), ..) if is_whole(schema) => Some(format!("at least {least}")),
        (Some(least), ..) => Some(format!("a finite number, {least} or more")),
        (_, Some(least), _) => Some(format!("a finite number above {least}")),
        (_, _, Some(most)) => Some(format!("at most {most}")),
        _ => bound("const").map(|only| match schema["description"].as_str() {
            Some(meaning) => format!("{only} for {meaning}"),
            None => only.to_string(),
        }),
    };
    let branches: Vec<_> = branches(schema).filter_map(range).collect();
    own.or_else(|| (!branches.is_empty()).then(|| branches.join(", or ")))
}

/// The names that `schema` takes, each with its documentation.
pub fn choices(schema: &Value) -> Vec<(&str, &str)> {
    let named = schema.get("const").and_then(Value::as_str);
    let own = named.map(|name| (name, schema["description"].as_str().unwrap_or_default()));
    let names = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    let plain = names.filter_map(Value::as_str).map(|name| (name, ""));
    own.into_iter().chain(plain).chain(branches(schema).flat_map(choices)).collect()
}

/// What `schema` takes: names, or a type and a range.
pub fn values(schema: &Value) -> String {
    let kind = kind(schema);
    let (kind, null) = match kind.strip_suffix(" or null") {
        Some(kind) => (kind, ", or null"),
        None => (kind.as_str(), ""),
    };
    match range(schema) {
        Some(range) => match range.strip_prefix("a finite number") {
            Some(rest) => format!("{kind}{rest}{null}"),
            None => format!("{kind}, {range}{null}"),
        },
        None => format!("{kind}{null}"),
    }
}

/// The type of `schema` in words.
fn kind(schema: &Value) -> String {
    let names: Vec<_> = choices(schema).iter().map(|(name, _)| format!("`{name}`")).collect();
    let mut kinds = if names.is_empty() { Vec::new() } else { vec![names.join(", ")] };
    let mut own: Vec<String> = match types(schema) {
        Some(types) => types.map(|name| word(schema, name)).collect(),
        None => branches(schema).map(kind).collect(),
    };
    own.retain(|kind| names.is_empty() || kind == "null");
    own.dedup();
    kinds.append(&mut own);
    kinds.join(" or ")
}

fn word(schema: &Value, name: &str) -> String {
    match name {
        "boolean" => "`true`, `false`".to_owned(),
        "integer" => "whole number".to_owned(),
        "string" => "word".to_owned(),
        "object" => "mapping".to_owned(),
        "array" => match schema.get("items") {
            Some(items) => format!("list of {}s {}", kind(items), range(items).unwrap_or_default()),
            None => "list".to_owned(),
        },
        other => other.to_owned(),
    }
}

/// The solvers that a setting belongs to (`x-solvers`) in words, if not to all.
pub fn solvers(schema: &Value) -> Option<String> {
    let names = schema.get("x-solvers")?.as_array()?.iter().filter_map(Value::as_str);
    Some(format!("of `{}`", names.collect::<Vec<_>>().join("` and `")))
}
