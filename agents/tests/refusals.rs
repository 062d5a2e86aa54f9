//! Settings and spaces that off-policy algorithms refuse, each by name.
#![allow(clippy::unwrap_used, clippy::panic)]

use agents::registry;
use agents::settings::Settings;
use agents::{ActionSpace, Error, Spaces};
use serde_json::json;

fn settings(extra: serde_json::Value) -> Settings {
    let mut settings = json!({
        "batch_size": 16, "learning_starts": 40, "random_steps": 60, "train_freq": 5, "gradient_steps": 5,
        "policy_kwargs": {"net_arch": [16, 16]},
    });
    let map = settings.as_object_mut().unwrap();
    map.extend(extra.as_object().unwrap().clone());
    map.clone()
}

#[test]
fn values_out_of_range_are_refused_by_name() {
    for (key, value) in [
        ("batch_size", json!(0)),
        ("gamma", json!(1.5)),
        ("gamma", json!(-0.1)),
        ("tau", json!(2.0)),
        ("learning_rate", json!(0.0)),
        ("learning_rate", json!(-1.0)),
        ("learning_rate", json!("fast")),
        ("train_freq", json!(0)),
        ("gradient_steps", json!(0)),
        ("gradient_steps", json!(-2)),
        ("noise_std", json!(-0.1)),
        ("buffer_size", json!(0)),
        ("unroll", json!(0)),
        ("target_update_interval", json!(0)),
        ("cg_iterations", json!(0)),
        ("solver_rank", json!(0)),
        ("lam", json!(-1.0)),
        ("norm_ratio_clamp", json!(0.0)),
        ("solver", json!("magic")),
        ("leader", json!("critic")),
        ("target_policy", json!("target")),
        ("learning_starts", json!(-5)),
        ("ent_coef", json!(-0.1)),
        ("ent_coef", json!("automatic")),
        ("ent_coef", json!("auto_-1")),
        ("target_entropy", json!("low")),
        ("lam_decay", json!("linear")),
        ("independent_minibatches", json!(3)),
    ] {
        let mut settings = settings(json!({}));
        settings.insert(key.into(), value.clone());
        match registry::find("stddpg-al").unwrap().prepare(&settings) {
            Err(Error::Config { key: named, .. }) => assert_eq!(named, key, "{value}"),
            other => panic!("{key}: {value} gave {other:?}"),
        }
    }
    let undamped = settings(json!({"solver": "nystrom", "lam": 0.0}));
    let error = registry::find("stddpg-cl").unwrap().prepare(&undamped).unwrap_err().to_string();
    assert!(error.contains("`lam` is 0") && error.contains("nystrom"), "{error}");
    let shared = settings(json!({"independent_minibatches": true, "solver": "woodbury"}));
    let error = registry::find("stsac-al").unwrap().prepare(&shared).unwrap_err().to_string();
    assert!(error.contains("independent_minibatches") && error.contains("woodbury"), "{error}");
    for (key, value) in [("solver", "woodbury"), ("curvature", "gauss_newton")] {
        let settings = settings(json!({key: value}));
        assert!(registry::find("stddpg-cl").unwrap().prepare(&settings).is_err(), "{key}");
    }
}

#[test]
fn unknown_algorithms_and_discrete_actions_are_named() {
    let error = registry::find("stdpg-al").unwrap_err().to_string();
    assert!(error.contains("stdpg-al") && error.contains("`stddpg-al`"), "{error}");
    let spaces = Spaces { obs_dim: 4, action: ActionSpace::Discrete { n: 2 } };
    let error = registry::find("ddpg")
        .unwrap()
        .build(&Settings::new(), &spaces, 0)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("Box") && error.contains("Discrete(2)"), "{error}");
}
