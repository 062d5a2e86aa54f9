//! Settings and spaces that off-policy algorithms refuse, each by name.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use agents::registry;
use agents::settings::merge;
use agents::{ActionSpace, Error, Spaces};
use common::shipped::quick;
use serde_json::json;

#[test]
fn values_out_of_range_are_refused_by_name() {
    for (algo, key, value) in [
        ("ddpg", "batch_size", json!(0)),
        ("ddpg", "gamma", json!(1.5)),
        ("ddpg", "gamma", json!(-0.1)),
        ("ddpg", "tau", json!(2.0)),
        ("ddpg", "learning_rate", json!(0.0)),
        ("ddpg", "learning_rate", json!(-1.0)),
        ("ddpg", "learning_rate", json!("fast")),
        ("ddpg", "train_freq", json!(0)),
        ("ddpg", "train_freq", json!([0, "episode"])),
        ("ddpg", "gradient_steps", json!(0)),
        ("ddpg", "gradient_steps", json!(-2)),
        ("ddpg", "noise_std", json!(-0.1)),
        ("ddpg", "buffer_size", json!(0)),
        ("ddpg", "learning_starts", json!(-5)),
        ("ddpg", "unroll", json!(0)),
        ("ddpg", "ent_coef", json!(0.1)),
        ("sac", "noise_std", json!(0.1)),
        ("sac", "target_update_interval", json!(0)),
        ("sac", "ent_coef", json!(-0.1)),
        ("sac", "ent_coef", json!("automatic")),
        ("sac", "ent_coef", json!("auto_-1")),
        ("sac", "target_entropy", json!("low")),
        ("stddpg-cl", "cg_iterations", json!(0)),
        ("stddpg-al", "lam", json!(-1.0)),
        ("stddpg-al", "norm_ratio_clamp", json!(0.0)),
        ("stddpg-al", "solver", json!("magic")),
        ("stddpg-al", "leader", json!("critic")),
        ("stddpg-al", "target_policy", json!("target")),
        ("stddpg-al", "lam_decay", json!("linear")),
        ("stddpg-al", "independent_minibatches", json!(3)),
        ("stsac-al", "independent_minibatches", json!(true)),
    ] {
        match registry::find(algo).unwrap().prepare(&quick(algo, &json!({key: value}))) {
            Err(Error::Config { key: named, .. }) => assert_eq!(named, key, "{value}"),
            other => panic!("{algo} {key}: {value} gave {other:?}"),
        }
    }
    // Where the critic leads, Gauss-Newton needs critics that are piecewise linear in the action.
    for (algo, key, value, other) in [
        ("stddpg-cl", "solver", "woodbury", json!({"policy_kwargs": {"activation_fn": "tanh"}})),
        (
            "sttd3-cl",
            "curvature",
            "gauss_newton",
            json!({"policy_kwargs": {"activation_fn": "tanh"}}),
        ),
        ("stsac-cl", "solver", "woodbury", json!({"use_sde": true})),
    ] {
        let solver = if key == "solver" { value } else { "cg" };
        let mut all = json!({"solver": solver, key: value});
        merge(&mut all, other);
        let error = registry::find(algo).unwrap().prepare(&quick(algo, &all)).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains(&format!("`{key}` is {value}")) && error.contains("`cg`"),
            "{error}"
        );
    }
    let undamped = quick("stddpg-cl", &json!({"solver": "nystrom", "lam": 0.0}));
    let error = registry::find("stddpg-cl").unwrap().prepare(&undamped).unwrap_err().to_string();
    assert!(error.contains("`lam` is 0") && error.contains("nystrom"), "{error}");
    let rank = quick("stddpg-cl", &json!({"solver": "nystrom", "solver_rank": 0}));
    let error = registry::find("stddpg-cl").unwrap().prepare(&rank).unwrap_err().to_string();
    assert!(error.contains("`solver_rank` is 0: it must be at least 1"), "{error}");
}

#[test]
fn unknown_algorithms_and_discrete_actions_are_named() {
    let error = registry::find("stdpg-al").unwrap_err().to_string();
    assert!(error.contains("stdpg-al") && error.contains("`stddpg-al`"), "{error}");
    let spaces = Spaces::new(4, ActionSpace::Discrete { n: 2 });
    let error = registry::find("ddpg")
        .unwrap()
        .build(&agents::settings::Settings::new(), &spaces, 0)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("Box") && error.contains("Discrete(2)"), "{error}");
}
