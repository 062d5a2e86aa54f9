//! `docs/settings.md`: what all algorithms declare, in tables.

use crate::config::{self, ConfigError, Preset, yaml};
use agents::registry::{ALGORITHMS, Algorithm};
use agents::settings::{Settings, schema};
use serde_json::Value;
use std::fmt::Write as _;

const HEAD: &str = "\
# Settings

Written by `stac-bench settings --document`; a test compares. `stac-bench settings ALGO` prints those of one algorithm
on one environment, as a file for `--config`.

A setting is declared once, at its field in Rust. `configs/*.yml` say where an algorithm or an environment differs, then
comes `--preset`, then `--config`, then `--set`, then the options. The file that a run leaves, `config.yml`, has every
setting that applies. One that does not, of another solver for instance, is refused.

Names are Stable-Baselines3's wherever it has one, and mean the same. `train_freq` and `n_steps` count steps of each
environment, the other numbers of steps count all; evaluations at a step come before the updates that it makes due.
A key within `policy_kwargs` is written with a dot here, as in `--set policy_kwargs.net_arch=[64,64]`.
";

/// The whole document.
pub(super) fn text() -> Result<String, ConfigError> {
    let mut text = HEAD.to_owned();
    let mut records: Vec<Value> = Vec::new();
    let mut leader = Vec::new();
    for mut own in ALGORITHMS.iter().map(config::records) {
        // The leader's come last.
        leader = own.pop().into_iter().collect();
        own.retain(|record| records.iter().all(|other| other["title"] != record["title"]));
        records.extend(own);
    }
    for record in records.iter().chain(&leader) {
        section(&mut text, record)?;
    }
    presets(&mut text)?;
    Ok(text)
}

/// The table of one record.
fn section(text: &mut String, record: &Value) -> Result<(), ConfigError> {
    let has = |algorithm: &&Algorithm| {
        config::records(algorithm).iter().any(|other| other["title"] == record["title"])
    };
    let owners: Vec<_> = ALGORITHMS.iter().filter(has).collect();
    let title = record["title"].as_str().unwrap_or_default();
    let _ = write!(text, "\n## {title}\n\n");
    if owners.len() < ALGORITHMS.len() {
        let _ = write!(text, "Of {}.\n\n", names(&owners));
    }
    let _ = text.write_str("| key | values | default | meaning |\n|---|---|---|---|\n");
    let mut defaults = Vec::new();
    for owner in owners {
        defaults.push((owner, config::shipped(owner, "default", None)?));
    }
    rows(text, record, &[], &defaults);
    Ok(())
}

type Defaults<'a> = [(&'a Algorithm, Settings)];

fn rows(text: &mut String, declared: &Value, path: &[&str], defaults: &Defaults<'_>) {
    for (key, declared) in schema::properties(declared) {
        let path: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
        if declared.get("properties").is_some() {
            rows(text, declared, &path, defaults);
            continue;
        }
        let cells = [
            path.join("."),
            schema::values(declared),
            default(declared, &path, defaults),
            meaning(declared),
        ];
        let [key, values, default, meaning] = cells.map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(text, "| `{key}` | {values} | {default} | {meaning} |");
    }
}

/// The declared default, and those that algorithms are shipped with instead.
fn default(declared: &Value, path: &[&str], defaults: &Defaults<'_>) -> String {
    let default = &declared["default"];
    let mut others: Vec<(&Value, Vec<&Algorithm>)> = Vec::new();
    for (algorithm, settings) in defaults {
        let Some(value) = find(settings, path).filter(|value| !same(value, default)) else {
            continue;
        };
        match others.iter_mut().find(|(other, _)| same(other, value)) {
            Some((_, algorithms)) => algorithms.push(algorithm),
            None => others.push((value, vec![algorithm])),
        }
    }
    let others = others.iter().map(|(value, of)| format!("; {}: {}", names(of), code(value)));
    format!("{}{}", code(default), others.collect::<String>())
}

fn meaning(declared: &Value) -> String {
    let mut meaning = declared["description"].as_str().unwrap_or_default().to_owned();
    let choices = schema::choices(declared).into_iter().filter(|(_, words)| !words.is_empty());
    for (i, (name, words)) in choices.enumerate() {
        let between = if i == 0 { " " } else { "; " };
        let _ = write!(meaning, "{between}`{name}`: {}", words.trim_end_matches('.'));
    }
    schema::solvers(declared).map_or(meaning.clone(), |of| format!("{meaning} ({of})"))
}

/// What presets change.
fn presets(text: &mut String) -> Result<(), ConfigError> {
    let _ = text.write_str("\n## Presets\n\n| | algorithm | settings |\n|---|---|---|\n");
    for name in Preset::names() {
        for algorithm in ALGORITHMS {
            let plain = config::shipped(algorithm, "default", None)?;
            let changed = config::shipped(algorithm, "default", Preset::find(&name))?;
            let changed = changed.iter().filter(|(key, value)| plain.get(*key) != Some(*value));
            let changed: Vec<_> = changed
                .map(|(key, value)| format!("`{key}: {}`", yaml::in_one_line(value)))
                .collect();
            let changed =
                if changed.is_empty() { "as without".to_owned() } else { changed.join(", ") };
            let _ = writeln!(text, "| `--preset {name}` | `{}` | {changed} |", algorithm.name);
        }
    }
    Ok(())
}

fn find<'a>(settings: &'a Settings, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(settings.get(*first)?, |value, key| value.get(key))
}

fn same(a: &Value, b: &Value) -> bool {
    a == b || a.is_number() && a.as_f64() == b.as_f64()
}

fn code(value: &Value) -> String {
    format!("`{}`", yaml::in_one_line(value))
}

fn names(algorithms: &[&Algorithm]) -> String {
    let names: Vec<_> =
        algorithms.iter().map(|algorithm| format!("`{}`", algorithm.name)).collect();
    names.join(", ")
}
