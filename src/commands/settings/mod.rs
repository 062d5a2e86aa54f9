//! `stac-bench settings`: what is set, with what it means and what else it could be.

mod document;

use crate::cli::{SettingsArgs, SettingsFormat};
use crate::config::{self, Config, ConfigError, Overrides, yaml};
use crate::failure::Failure;
use agents::algo::Common;
use agents::registry::{self, Algorithm};
use agents::settings::{Settings, schema};
use bridge::{EnvOptions, GymEnv};
use serde_json::Value;
use std::iter::once;

/// Prints the settings of an algorithm, as a file for `--config` or as JSON schema.
pub fn run(arguments: &SettingsArgs) -> Result<(), Failure> {
    if arguments.document {
        say!("{}", document::text()?.trim_end());
        return Ok(());
    }
    let algorithm = registry::find(arguments.algo.as_deref().unwrap_or_default())?;
    let env = arguments.env.as_deref().unwrap_or("default");
    let config = Config::resolve(algorithm, env, &arguments.overrides)?;
    if arguments.env.is_some() {
        let kwargs = config.run.env_kwargs.clone();
        let imports = arguments.env_import.clone();
        GymEnv::make(&EnvOptions { id: env.to_owned(), kwargs, imports, video: None })?;
    }
    let settings = config.all()?;
    let title = match &arguments.env {
        Some(env) => format!("{} on {env}", algorithm.name),
        None => algorithm.name.to_owned(),
    };
    match arguments.format {
        SettingsFormat::Yaml => {
            say!("# Settings of {title}, for `--config`.\ndefault:");
            let defaults = defaults(algorithm, &settings)?;
            let (mut rest, all) = (settings, config::declared(algorithm));
            for record in config::records(algorithm) {
                // A mapping that several records share is printed whole, with the first of them.
                let own: Vec<&String> = schema::properties(&record).keys().collect();
                let (now, later) = rest.into_iter().partition(|(key, _)| own.contains(&key));
                rest = later;
                let lines = lines(&all, &now, &defaults);
                if !lines.is_empty() {
                    say!("\n  # {}\n", record["title"].as_str().unwrap_or_default());
                    lines.iter().for_each(|line| say!("  {line}"));
                }
            }
        }
        SettingsFormat::JsonSchema => {
            let mut schema = schema::join(&title, config::records(algorithm));
            set_defaults(&mut schema, &settings);
            say!("{schema:#}");
        }
    }
    Ok(())
}

/// What `algorithm` has by default, with this solver.
fn defaults(algorithm: &'static Algorithm, settings: &Settings) -> Result<Settings, ConfigError> {
    let choice = |key: &&str| settings.contains_key(*key);
    let choices = ["solver"].into_iter().chain(Common::CONTROLS).filter(choice);
    let assignments = choices.map(|key| format!("{key}={}", yaml::in_one_line(&settings[key])));
    let assignments = assignments.collect();
    Config::resolve(algorithm, "default", &Overrides { assignments, ..Overrides::default() })?.all()
}

/// Lines of YAML for those of `settings` that `declared` has, each key behind what there is to say of it.
fn lines(declared: &Value, settings: &Settings, defaults: &Settings) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, declared) in schema::properties(declared) {
        let Some(value) = settings.get(key) else { continue };
        let default = defaults.get(key).unwrap_or(&Value::Null);
        match (value, default) {
            (Value::Object(nested), Value::Object(default))
                if declared.get("properties").is_some() =>
            {
                let nested = self::lines(declared, nested, default);
                lines.push(format!("{key}:"));
                lines.extend(nested.iter().map(|line| format!("  {line}")));
            }
            _ => {
                lines.extend(
                    wrapped(&words(declared, value, default)).map(|line| format!("# {line}")),
                );
                lines.push(format!("{key}: {}", yaml::in_one_line(value)));
            }
        }
    }
    lines
}

/// Meaning, range and default of a setting that is `value`.
fn words(declared: &Value, value: &Value, default: &Value) -> String {
    let default = (default != value).then(|| format!("default {}", yaml::in_one_line(default)));
    let facts: Vec<_> =
        once(schema::values(declared)).chain(schema::solvers(declared)).chain(default).collect();
    format!("{} ({})", declared["description"].as_str().unwrap_or_default(), facts.join("; "))
}

/// `text` in lines that a terminal has room for.
fn wrapped(text: &str) -> impl Iterator<Item = String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + word.chars().count() < 96 => {
                line.extend([" ", word]);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.into_iter()
}

/// Makes `settings` the defaults of `schema`, and removes what they do not have.
fn set_defaults(schema: &mut Value, settings: &Settings) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    properties.retain(|key, _| settings.contains_key(key));
    for (key, declared) in properties {
        match &settings[key] {
            Value::Object(nested) if declared.get("properties").is_some() => {
                set_defaults(declared, nested);
            }
            value => declared["default"] = value.clone(),
        }
    }
}
