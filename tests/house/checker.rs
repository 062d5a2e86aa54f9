//! The checker can fail: each rule finds what breaks it in sources made up for that.

use crate::imports::{circles, imports};
use crate::rules;
use crate::sources::Sources;
use std::collections::BTreeSet;

/// The imports of the crate at `lib.rs`, as `from:line path to`.
fn lines<const N: usize>(files: [(&str, &str); N]) -> Vec<String> {
    imports(&Sources::of(files), "x/lib.rs")
        .iter()
        .map(|i| format!("{}:{} {} {}", i.from, i.line, i.path, i.to).replace("x/", ""))
        .collect()
}

fn knots<const N: usize>(files: [(&str, &str); N]) -> Vec<String> {
    circles(&imports(&Sources::of(files), "x/lib.rs"))
}

#[test]
fn a_circle_is_found_with_its_lines() {
    let found = knots([
        ("x/lib.rs", "mod a; mod b; mod c;"),
        ("x/a.rs", "use crate::b::{self, B, C};\npub struct A(B, C); fn f() { b::g(); }"),
        ("x/b.rs", "pub struct B; pub struct C; pub fn g() {}\n\nfn h(a: super::a::A) {}"),
        ("x/c.rs", "use crate::a::A;"),
    ]);
    let [circle] = found.as_slice() else { panic!("one circle, not {found:?}") };
    assert_eq!(
        circle.lines().take(4).collect::<Vec<_>>(),
        [
            "2 files import one another: x/a.rs, x/b.rs",
            "    x/a.rs:1 imports `crate::b::B`, `crate::b::C` from x/b.rs",
            "    x/a.rs:2 imports `b::g` from x/b.rs",
            "    x/b.rs:3 imports `super::a::A` from x/a.rs",
        ]
    );
}

#[test]
fn a_long_circle_is_one() {
    let found = knots([
        ("x/lib.rs", "mod a; mod b; mod c;"),
        ("x/a.rs", "use crate::b::B; pub struct A;"),
        ("x/b.rs", "use crate::c::C; pub struct B;"),
        ("x/c.rs", "use crate::a::A; pub struct C;"),
    ]);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("3 files"), "{found:?}");
}

#[test]
fn a_reexport_counts_for_the_file_that_defines_the_item() {
    let found = lines([
        ("x/lib.rs", "mod game; mod user; pub use game::Solver;"),
        ("x/game/mod.rs", "mod solvers; pub use solvers::{Kind as Renamed, Solver};"),
        ("x/game/solvers/mod.rs", "mod kinds; pub struct Solver; pub use kinds::*;"),
        ("x/game/solvers/kinds.rs", "pub enum Kind { A }"),
        ("x/user.rs", "use crate::Solver;\nuse crate::game::Renamed;\nfn f() { Renamed::A; }"),
    ]);
    assert_eq!(
        found,
        [
            "user.rs:1 crate::Solver game/solvers/mod.rs",
            "user.rs:2 crate::game::Renamed game/solvers/kinds.rs",
        ]
    );
}

#[test]
fn a_parent_may_pass_on_what_its_child_defines_but_not_use_it() {
    let child = ("x/a/child.rs", "use super::Game; pub struct Child;");
    let parent = "mod child; pub trait Game {} pub use child::Child;";
    let uses = format!("{parent}\nfn f(_: Child) {{}}");
    assert_eq!(knots([("x/lib.rs", "mod a;"), ("x/a/mod.rs", parent), child]).len(), 0);
    assert_eq!(knots([("x/lib.rs", "mod a;"), ("x/a/mod.rs", &uses), child]).len(), 1);
    assert_eq!(knots([("x/lib.rs", "mod a;"), ("x/a.rs", &uses), child]).len(), 1);
}

#[test]
fn tests_import_what_they_like() {
    let found = lines([
        ("x/lib.rs", "mod a; mod b; #[cfg(test)] mod not_even_there;"),
        ("x/a.rs", "#[cfg(test)] mod tests { use super::*; use crate::b::B; }"),
        ("x/b.rs", "pub struct B; #[cfg(test)] use crate::a::A;"),
    ]);
    assert_eq!(found.len(), 0, "{found:?}");
}

#[test]
fn names_in_macros_and_of_macros_count() {
    let found = lines([
        ("x/lib.rs", "#[macro_use] mod a; mod b;"),
        ("x/a.rs", "macro_rules! say { () => { $crate::b::g() } } pub const N: usize = 1;"),
        (
            "x/b.rs",
            "pub fn g() {}\nfn f() { say!(); }\nfn h() { println!(\"{}\", [crate::a::N]); }",
        ),
    ]);
    assert_eq!(
        found,
        ["a.rs:1 crate::b::g b.rs", "b.rs:2 crate::say! a.rs", "b.rs:3 crate::a::N a.rs"]
    );
}

#[test]
fn a_module_is_told_from_an_item_of_its_name() {
    let found = lines([
        ("x/lib.rs", "mod a; mod b; mod train; pub fn train() {}"),
        ("x/a.rs", "use super::train;\nfn f() { train::run(); }"),
        ("x/b.rs", "use super::train;\nfn f() { train(); }"),
        ("x/train.rs", "pub fn run() {}"),
    ]);
    assert_eq!(found, ["a.rs:2 train::run train.rs", "b.rs:2 train lib.rs"]);
}

#[test]
fn other_crates_are_no_files() {
    let found = lines([
        ("x/lib.rs", "mod a; mod b;"),
        ("x/a.rs", "use std::fmt; use serde; fn f() -> fmt::Result { ::b::x(); serde::y() }"),
        ("x/b.rs", ""),
    ]);
    assert_eq!(found.len(), 0, "{found:?}");
}

#[test]
fn what_another_crate_defines_counts_for_the_file_that_passes_it_on() {
    let found = lines([
        ("x/lib.rs", "mod a; mod b;"),
        ("x/a.rs", "pub use serde::Value as Colour; fn f(_: Colour) {}"),
        ("x/b.rs", "use super::a::Colour;"),
    ]);
    assert_eq!(found, ["b.rs:1 super::a::Colour a.rs"]);
}

#[test]
fn a_long_file_is_found() {
    let long = "\n".repeat(4);
    let sources = Sources::of([("a.rs", &long), ("b.py", &long), ("c.md", &long), ("d.rs", "")]);
    let found = rules::long_files(&sources, 3);
    assert_eq!(found, ["a.rs has 4 lines: split it", "b.py has 4 lines: split it"]);
    assert_eq!(rules::long_files(&sources, 4).len(), 0);
}

#[test]
fn a_word_is_found_in_code_alone() {
    let text = "// tch\n/// tch\nfn f() { \"tch\"; x!(a, tch::Tensor) }\nuse tchx::tch_y;";
    let found = rules::words(&Sources::of([("a/b.rs", text), ("c/d.rs", text)]), &["a/"], &["tch"]);
    assert_eq!(found, ["a/b.rs:3 names `tch`: it has no place here"]);
}

#[test]
fn an_import_across_is_found_through_a_reexport() {
    let sources = Sources::of([
        ("x/lib.rs", "mod game; mod engine; pub use engine::Engine;"),
        ("x/game/mod.rs", "use crate::Engine;"),
        ("x/engine.rs", "pub struct Engine;"),
    ]);
    let across = |from, to| rules::imports_across(&sources, "x/lib.rs", &[from], &[to]);
    let found = across("x/game", "x/engine");
    assert_eq!(found, ["x/game/mod.rs:1 imports `crate::Engine` of x/engine.rs: turn it round"]);
    assert_eq!(across("x/engine", "x/game").len(), 0);
}

#[test]
fn a_dependency_is_found_however_it_is_written() {
    let manifest = "[workspace.dependencies]\nnumpy = 1\n[dependencies]\npyo3.workspace = true\n\
                    numpy-like = 1\n[dependencies.numpy]\nversion = 1\n[dev-dependencies]\npyo3 = 1";
    let sources = Sources::of([("Cargo.toml", manifest)]);
    let found = rules::dependencies(&sources, "Cargo.toml", &["pyo3", "numpy"]);
    assert_eq!(
        found,
        ["Cargo.toml:4 depends on `pyo3`: remove it", "Cargo.toml:6 depends on `numpy`: remove it"]
    );
}

#[test]
fn the_name_of_an_algorithm_is_found_as_a_whole_string() {
    let registry = r#"
        mod a;
        pub const ALGORITHMS: &[Algorithm] = &[Algorithm { name: "sac", about: "soft" }, new("x")];
        const OTHERS: &[Other] = &[Other { name: "soft" }];
    "#;
    let user = r#"
        //! "sac"
        const EXAMPLES: &str = "train sac Pendulum-v1";
        fn f() { "sac"; format!("{}", "sac"); "soft"; }
        #[cfg(test)] mod tests { const ALGO: &str = "sac"; }
    "#;
    let sources = Sources::of([("x/lib.rs", registry), ("x/a.rs", user)]);
    let names = rules::algorithms(&sources, "x/lib.rs");
    assert_eq!(names, BTreeSet::from(["sac".to_owned()]));
    let found = rules::strings(&sources, &["x/lib.rs"], &names, "x/lib.rs");
    assert_eq!(found, ["x/a.rs:4 names \"sac\": ask x/lib.rs for it"; 2]);
}

#[test]
#[should_panic(expected = "has no `ALGORITHMS`")]
fn a_registry_without_names_is_refused() {
    rules::algorithms(&Sources::of([("lib.rs", "const ALGORITHMS: &[A] = &[];")]), "lib.rs");
}

#[test]
fn a_crate_that_allows_unsafe_code_is_found() {
    let workspace = "[workspace.lints.rust]\nunsafe_code = \"forbid\"\n";
    let sources = Sources::of([
        ("Cargo.toml", workspace),
        ("a/Cargo.toml", "\n[lints]\nworkspace = true\n"),
        ("b/Cargo.toml", ""),
        ("b/lib.rs", "//! B\n#![forbid(unsafe_code)]\n"),
        ("c/Cargo.toml", ""),
        ("c/lib.rs", "// #![forbid(unsafe_code)]\n"),
    ]);
    let crates =
        [("a/Cargo.toml", "a/lib.rs"), ("b/Cargo.toml", "b/lib.rs"), ("c/Cargo.toml", "c/lib.rs")];
    let found = rules::without_lint(&sources, &crates);
    assert_eq!(found, ["c/lib.rs:1 lacks `#![forbid(unsafe_code)]`: add it"]);
}

#[test]
fn a_missing_sentence_is_found() {
    let sources = Sources::of([("docs/a.md", "Said in\ntwo lines.")]);
    let found = rules::unsaid(&sources, "docs/a.md", &["Said in two lines.", "Not said."]);
    assert_eq!(found, ["docs/a.md:1 does not say: Not said."]);
}
