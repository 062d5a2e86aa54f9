//! Settings as they are declared: documented, checked to their bounds, and known by name.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use agents::Error;
use agents::registry::{ALGORITHMS, Algorithm, find};
use agents::settings::schema;
use common::shipped::shipped;
use serde_json::{Value, json};

/// Every setting of `declared` with its path.
fn leaves(declared: &Value, path: &str) -> Vec<(String, Value)> {
    let within = schema::properties(declared).iter().flat_map(|(key, declared)| {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match declared.get("properties") {
            Some(_) => leaves(declared, &path),
            None => vec![(path, declared.clone())],
        }
    });
    within.collect()
}

/// `{"a": {"b": value}}` for `a.b`.
fn nested(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |value, key| json!({key: value}))
}

/// What is said of `value`, with everything else as it must be for the setting to apply.
fn said(algorithm: &Algorithm, path: &str, declared: &Value, value: Value) -> Option<String> {
    let mut over = nested(path, value);
    if let Some(solvers) = declared.get("x-solvers") {
        over["solver"] = solvers[0].clone();
    }
    match algorithm.prepare(&shipped(algorithm.name, &over)) {
        Ok(_) => None,
        Err(Error::Config { key, reason, .. }) => {
            assert_eq!(key, path, "{}: {reason}", algorithm.name);
            Some(reason)
        }
        Err(other) => panic!("{} {path}: {other}", algorithm.name),
    }
}

#[test]
fn every_setting_has_a_meaning_and_a_default() {
    for algorithm in ALGORITHMS {
        for (path, declared) in leaves(&algorithm.schema(), "") {
            let words = declared["description"].as_str().unwrap_or_default();
            assert!(words.ends_with('.') && !words.contains('\n'), "{path}: {words:?}");
            assert!(declared.get("default").is_some(), "{path} has no default");
            assert!(!schema::values(&declared).is_empty(), "{path}: {declared}");
        }
    }
}

/// Of every number, one beyond each bound is refused in the words of the range, and the bound is taken.
#[test]
fn bounds_are_checked_where_they_are_declared() {
    let mut bounds = 0;
    for algorithm in ALGORITHMS.iter().filter(|algorithm| algorithm.leader.is_some()) {
        for (path, declared) in leaves(&algorithm.schema(), "") {
            let whole = declared["type"] == "integer";
            let number = |x: f64| if whole { json!(x as i64) } else { json!(x) };
            let beyond = if whole { 1.0 } else { 1e-9 };
            let bound = |name: &str| declared.get(name).and_then(Value::as_f64);
            let list =
                |value: Value| if path.ends_with("net_arch") { json!([value]) } else { value };
            for (bound, step, taken) in [
                (bound("minimum"), -beyond, true),
                (bound("exclusiveMinimum"), 0.0, false),
                (bound("maximum"), beyond, true),
            ] {
                let Some(bound) = bound.filter(|bound| !(whole && bound + step < 0.0)) else {
                    continue;
                };
                bounds += 1;
                let reason = said(algorithm, &path, &declared, list(number(bound + step)));
                assert!(
                    reason.as_ref().is_some_and(|r| r.starts_with("it must be ")),
                    "{path}: {reason:?}"
                );
                if taken {
                    let reason = said(algorithm, &path, &declared, list(number(bound)));
                    assert_eq!(reason, None, "{} {path}", algorithm.name);
                }
            }
        }
    }
    assert!(bounds > 50, "{bounds}");
}

#[test]
fn names_beyond_the_choices_are_refused() {
    for algorithm in ALGORITHMS.iter().filter(|algorithm| algorithm.leader.is_some()) {
        for (path, declared) in leaves(&algorithm.schema(), "") {
            if !schema::choices(&declared).is_empty() {
                let reason = said(algorithm, &path, &declared, json!("nothing"));
                assert!(reason.is_some_and(|r| r.contains("nothing")), "{path}");
            }
        }
    }
}

#[test]
fn ranges_are_said_in_the_words_of_what_is_wrong() {
    for (algo, path, value, words) in [
        ("ddpg", "gamma", json!(2), "it must be between 0 and 1"),
        ("ddpg", "learning_rate", json!(0), "it must be a finite number above 0"),
        ("ddpg", "noise_std", json!(-1), "it must be a finite number, 0 or more"),
        ("ddpg", "batch_size", json!(0), "it must be at least 1"),
        ("ddpg", "batch_size", json!(2_000_000), "it must be at most 1000000"),
        ("ddpg", "policy_kwargs.net_arch", json!([0]), "it must be at least 1"),
        ("ddpg", "policy_kwargs.net_arch", json!([8, 20_000]), "it must be at most 16384"),
        ("ddpg", "policy_kwargs.net_arch", json!(vec![1; 101]), "it must have at most 100 entries"),
        ("ddpg", "train_freq", json!(0), "it must be at least 1"),
        ("ddpg", "train_freq", json!([0, "step"]), "it must be at least 1"),
        (
            "ddpg",
            "gradient_steps",
            json!(0),
            "it must be at least 1, or -1 for one update per environment step",
        ),
        (
            "sac",
            "sde_sample_freq",
            json!(-2),
            "it must be at least 1, or -1 for one matrix per rollout",
        ),
        ("sac", "policy_kwargs.n_critics", json!(0), "it must be at least 1"),
        ("sac", "ent_coef", json!(-0.1), "it must be a finite number, 0 or more"),
    ] {
        let algorithm = find(algo).unwrap();
        let declared = json!({});
        assert_eq!(said(algorithm, path, &declared, value).as_deref(), Some(words), "{path}");
    }
}

#[test]
fn a_name_that_nobody_declares_is_refused_with_the_nearest() {
    for (algo, given, key, nearest) in [
        ("ddpg", json!({"gama": 0.9}), "gama", "`gamma`"),
        ("ddpg", json!({"ent_coef": 0.1}), "ent_coef", "no such setting"),
        ("sac", json!({"noise_std": 0.1}), "noise_std", "no such setting"),
        ("sac", json!({"policy_kwargs": {"n_critic": 3}}), "policy_kwargs.n_critic", "`n_critics`"),
        ("ddpg", json!({"policy_kwargs": {"n_critics": 3}}), "policy_kwargs.n_critics", "no such"),
        ("ac", json!({"policy_kwargs": {"log_std": 0}}), "policy_kwargs.log_std", "`log_std_init`"),
    ] {
        match find(algo).unwrap().prepare(&shipped(algo, &given)) {
            Err(Error::Config { key: named, reason, .. }) => {
                assert!(named == key && reason.contains(nearest), "{named}: {reason}");
            }
            other => panic!("{given}: {other:?}"),
        }
    }
}

#[test]
fn what_is_resolved_resolves_to_itself() {
    for algorithm in ALGORITHMS {
        let settings = algorithm.prepare(&shipped(algorithm.name, &json!({}))).unwrap().settings;
        assert!(algorithm.foreign(&settings).is_empty());
        assert_eq!(algorithm.prepare(&settings).unwrap().settings, settings);
        if algorithm.leader.is_some() {
            assert!(settings["lam"].is_number() && settings["curvature"].is_string());
            let woodbury = settings["solver"] == "woodbury";
            assert_eq!(woodbury, settings.get("cg_iterations").is_none());
        } else {
            assert!(settings.get("solver").is_none() && settings["step_match"] == false);
        }
    }
}

#[test]
fn settings_of_other_solvers_are_refused() {
    let algorithm = ALGORITHMS.iter().find(|algorithm| algorithm.leader.is_some()).unwrap();
    let declared = algorithm.schema();
    let solvers = schema::choices(&declared["properties"]["solver"]);
    let mut refused = 0;
    for (key, declared) in leaves(&algorithm.schema(), "") {
        let Some(own) = declared.get("x-solvers").and_then(Value::as_array) else { continue };
        for (solver, _) in &solvers {
            let mut given = json!({"solver": solver});
            given[&key] = declared["default"].clone();
            match algorithm.prepare(&shipped(algorithm.name, &given)) {
                Ok(_) => assert!(own.contains(&json!(solver)), "{key} {solver}"),
                Err(Error::Config { key: named, reason, .. }) => {
                    assert!(
                        named == key && !own.contains(&json!(solver)),
                        "{key} {solver}: {reason}"
                    );
                    assert!(reason.contains(&format!("not of `{solver}`")), "{reason}");
                    refused += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert!(refused > 10);
}
