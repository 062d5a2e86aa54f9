//! The rules of the house: what holds of the sources of all crates, read with `syn`.
//!
//! Each test holds one sentence of `docs/architecture.md`. [`checker`] tests that they can fail.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod checker;
mod imports;
mod modules;
mod rules;
mod sources;

use imports::{circles, imports};
use sources::Sources;

/// The sentences, in the order of the tests.
const INVARIANTS: &[&str] = &[
    "Architecture invariant: the imports of a crate have no circle.",
    "Architecture invariant: no Rust or Python file is longer than 500 lines.",
    "Architecture invariant: the game and its toys name no tensor, engine, algorithm or learner.",
    "Architecture invariant: only `bridge/` names `pyo3` and `numpy`.",
    "Architecture invariant: the name of an algorithm stands in the registry alone.",
    "Architecture invariant: `agents/` and `src/` have no unsafe code.",
    "Architecture invariant: dependencies between crates go one way.",
];

/// Where the algorithms are listed.
const REGISTRY: &str = "agents/src/registry.rs";

/// The root file of each crate.
const CRATES: &[&str] =
    &["agents/src/lib.rs", "bridge/src/lib.rs", "bridge/python/src/lib.rs", "src/lib.rs"];

#[test]
fn imports_have_no_circle() {
    let sources = repository();
    hold(CRATES.iter().flat_map(|root| circles(&imports(&sources, root))).collect());
}

#[test]
fn no_file_is_longer_than_500_lines() {
    hold(rules::long_files(&repository(), 500));
}

#[test]
fn the_game_knows_no_engine() {
    let folders = ["agents/src/game", "agents/src/toy"];
    let forbidden = ["agents/src/engine", "agents/src/algo", "agents/src/learner"];
    let sources = repository();
    let mut found = rules::words(&sources, &folders, &["tch"]);
    found.extend(rules::imports_across(&sources, "agents/src/lib.rs", &folders, &forbidden));
    hold(found);
}

#[test]
fn only_the_bridge_names_python() {
    let python = ["pyo3", "numpy"];
    let sources = repository();
    let mut found = rules::words(&sources, &["agents/", "src/"], &python);
    found.extend(rules::dependencies(&sources, "agents/Cargo.toml", &python));
    found.extend(rules::dependencies(&sources, "Cargo.toml", &python));
    hold(found);
}

#[test]
fn an_algorithm_is_named_in_the_registry_alone() {
    let sources = repository();
    let names = rules::algorithms(&sources, REGISTRY);
    hold(rules::strings(&sources, CRATES, &names, REGISTRY));
}

#[test]
fn agents_and_src_have_no_unsafe_code() {
    let crates = [("agents/Cargo.toml", "agents/src/lib.rs"), ("Cargo.toml", "src/lib.rs")];
    let sources = repository();
    let mut found = rules::words(&sources, &["agents/", "src/"], &["unsafe"]);
    found.extend(rules::without_lint(&sources, &crates));
    hold(found);
}

#[test]
fn dependencies_go_one_way() {
    let sources = repository();
    let mut found = rules::words(&sources, &["agents/"], &["bridge", "stac_bench"]);
    // `bridge/src/` says `stac_bench` where it means the Python package.
    found.extend(rules::words(&sources, &["bridge/tests/"], &["stac_bench"]));
    found.extend(rules::dependencies(&sources, "agents/Cargo.toml", &["bridge", "stac-bench"]));
    found.extend(rules::dependencies(&sources, "bridge/Cargo.toml", &["stac-bench"]));
    hold(found);
}

#[test]
fn the_architecture_states_every_invariant() {
    hold(rules::unsaid(&repository(), "docs/architecture.md", INVARIANTS));
}

/// The sources of this repository; cargo tells tests where it is.
fn repository() -> Sources {
    let root = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this test");
    Sources::read(root.as_ref())
}

/// Fails with everything that was found.
#[track_caller]
fn hold(found: Vec<String>) {
    assert!(found.is_empty(), "{} found:\n  {}", found.len(), found.join("\n  "));
}
