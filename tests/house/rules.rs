//! The other rules: each lists what breaks it, with file, line and what to do.

use crate::imports::imports;
use crate::modules::modules;
use crate::sources::Sources;
use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeSet;
use syn::visit::{self, Visit};
use syn::{Expr, ExprLit, FieldValue, Item, Lit, Member};

/// Rust and Python files with more than `limit` lines.
pub fn long_files(sources: &Sources, limit: usize) -> Vec<String> {
    let files = sources.files(&[""], ".rs").chain(sources.files(&[""], ".py"));
    files
        .map(|(file, text)| (file, text.lines().count()))
        .filter(|&(_, lines)| lines > limit)
        .map(|(file, lines)| format!("{file} has {lines} lines: split it"))
        .collect()
}

/// Where files below `folders` have one of `words` in their code; comments and strings are free.
pub fn words(sources: &Sources, folders: &[&str], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in sources.files(folders, ".rs") {
        let tokens = text.parse().unwrap_or_else(|e| panic!("{file}: {e}"));
        find_words(tokens, words, &mut |word, line| {
            found.push(format!("{file}:{line} names `{word}`: it has no place here"));
        });
    }
    found
}

fn find_words(tokens: TokenStream, words: &[&str], found: &mut dyn FnMut(String, usize)) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => find_words(group.stream(), words, found),
            TokenTree::Ident(ident) if words.iter().any(|word| ident == word) => {
                found(ident.to_string(), ident.span().start().line);
            }
            _ => {}
        }
    }
}

/// Where files below `folders` import from files below `forbidden`, in the crate at `root`.
pub fn imports_across(
    sources: &Sources,
    root: &str,
    folders: &[&str],
    forbidden: &[&str],
) -> Vec<String> {
    let starts = |file: &str, with: &[&str]| with.iter().any(|start| file.starts_with(start));
    imports(sources, root)
        .iter()
        .filter(|import| starts(&import.from, folders) && starts(&import.to, forbidden))
        .map(|i| format!("{}:{} imports `{}` of {}: turn it round", i.from, i.line, i.path, i.to))
        .collect()
}

/// Where the manifest `file` has one of `packages` in `[dependencies]`.
pub fn dependencies(sources: &Sources, file: &str, packages: &[&str]) -> Vec<String> {
    let mut section = "";
    let mut found = Vec::new();
    let text = sources.get(file).unwrap_or_else(|| panic!("there is no {file}"));
    for (i, line) in text.lines().enumerate() {
        let package = if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
            section.strip_prefix("dependencies.")
        } else if section == "dependencies" {
            line.split(['=', '.']).next()
        } else {
            None
        };
        if let Some(package) = package.map(str::trim).filter(|name| packages.contains(name)) {
            found.push(format!("{file}:{} depends on `{package}`: remove it", i + 1));
        }
    }
    found
}

/// The names of the algorithms: the `name`s in the constant `ALGORITHMS` of the file `registry`.
pub fn algorithms(sources: &Sources, registry: &str) -> BTreeSet<String> {
    struct Names(BTreeSet<String>);
    impl<'ast> Visit<'ast> for Names {
        fn visit_field_value(&mut self, field: &'ast FieldValue) {
            match (&field.member, &field.expr) {
                (Member::Named(member), Expr::Lit(ExprLit { lit: Lit::Str(name), .. }))
                    if member == "name" =>
                {
                    self.0.insert(name.value());
                }
                _ => visit::visit_field_value(self, field),
            }
        }
    }
    let text = sources.get(registry).unwrap_or_else(|| panic!("there is no {registry}"));
    let syntax = syn::parse_file(text).unwrap_or_else(|e| panic!("{registry}: {e}"));
    let mut names = Names(BTreeSet::new());
    for item in &syntax.items {
        if matches!(item, Item::Const(constant) if constant.ident == "ALGORITHMS") {
            names.visit_item(item);
        }
    }
    assert!(!names.0.is_empty(), "{registry} has no `ALGORITHMS` with a `name: \"...\"`");
    names.0
}

/// Where a string of the crates at `roots` is one of `names`, outside the file `registry`.
///
/// Only a string that is a name from end to end counts, so that help texts may have examples.
pub fn strings(
    sources: &Sources,
    roots: &[&str],
    names: &BTreeSet<String>,
    registry: &str,
) -> Vec<String> {
    let mut found = Vec::new();
    for module in roots.iter().flat_map(|root| modules(sources, root).into_values()) {
        for (literal, line) in module.literals {
            if names.contains(&literal) && module.file != registry {
                let file = &module.file;
                found.push(format!("{file}:{line} names \"{literal}\": ask {registry} for it"));
            }
        }
    }
    found
}

/// Crates, each a manifest and a root file, that allow unsafe code: neither their root file, nor
/// their manifest, nor that of the workspace, if theirs refers to it, forbids it.
pub fn without_lint(sources: &Sources, crates: &[(&str, &str)]) -> Vec<String> {
    let has = |file: &str, text: &str| sources.get(file).is_some_and(|all| all.contains(text));
    let lint = "\nunsafe_code = \"forbid\"\n";
    crates
        .iter()
        .filter(|(manifest, root)| {
            let of_workspace = has(manifest, "\n[lints]\nworkspace = true\n");
            let forbids = has(root, "\n#![forbid(unsafe_code)]\n") || has(manifest, lint);
            !(forbids || of_workspace && has("Cargo.toml", lint))
        })
        .map(|(_, root)| format!("{root}:1 lacks `#![forbid(unsafe_code)]`: add it"))
        .collect()
}

/// Sentences that the text of `file`, however its lines are broken, does not have.
pub fn unsaid(sources: &Sources, file: &str, sentences: &[&str]) -> Vec<String> {
    let said =
        sources.get(file).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    sentences
        .iter()
        .filter(|sentence| !said.contains(*sentence))
        .map(|sentence| format!("{file}:1 does not say: {sentence}"))
        .collect()
}
