//! Which file of a crate needs which other, and where these needs run in a circle.

use crate::modules::{By, Meaning, Module, Path, modules};
use crate::sources::Sources;
use std::collections::{BTreeMap, BTreeSet};

/// `from` names an item that `to` defines.
pub struct Import {
    /// The file that names it.
    pub from: String,
    /// Where, first.
    pub line: usize,
    /// The path as written.
    pub path: String,
    /// The file that defines it, whoever re-exports it.
    pub to: String,
}

/// Every import of one file of the crate at `root` from another, once per item.
///
/// A module that passes on what modules below it define, with `pub use`, does not import it.
pub fn imports(sources: &Sources, root: &str) -> Vec<Import> {
    let names = Names(modules(sources, root));
    let mut seen = BTreeSet::new();
    let mut imports = Vec::new();
    for (at, module) in &names.0 {
        for mention in &module.mentions {
            let resolve = |last| names.resolve(at, &mention.path, last, DEPTH);
            // `use` of a module needs nothing yet; paths that go on from it do.
            let of_module = matches!(resolve(Last::Module), Some(Place::Module(_)));
            if of_module && mention.by != By::Code {
                continue;
            }
            let Some(Place::Item(home, item)) = resolve(Last::Item) else { continue };
            let passed_on = mention.by == By::Reexport && home.starts_with(at);
            let (from, to) = (&module.file, &names.0[&home].file);
            if passed_on || from == to || !seen.insert((from, home, item)) {
                continue;
            }
            let (line, path) = (mention.line, mention.path.join("::"));
            imports.push(Import { from: from.clone(), line, path, to: to.clone() });
        }
    }
    imports
}

/// How many re-exports may stand between an import and what it imports.
const DEPTH: usize = 8;

struct Names(BTreeMap<Path, Module>);

/// Where a path leads.
enum Place {
    Module(Path),
    /// The module that defines it, and its name there.
    Item(Path, String),
}

/// What the end of a path means where a module and an item share its name.
#[derive(Clone, Copy)]
enum Last {
    Module,
    Item,
}

impl Names {
    /// Where `path`, written in the module `at`, leads; `None` if out of this crate.
    fn resolve(&self, at: &Path, path: &[String], last: Last, depth: usize) -> Option<Place> {
        let mut place = Place::Module(at.clone());
        for (i, name) in path.iter().enumerate() {
            // What follows an item is a variant of it, a function or the like.
            let Place::Module(module) = &place else { break };
            let last = if i + 1 == path.len() { last } else { Last::Module };
            place = match name.as_str() {
                "crate" => Place::Module(Path::new()),
                "self" => Place::Module(module.clone()),
                "super" => Place::Module(module.split_last()?.1.to_vec()),
                "*" => Place::Item(module.clone(), name.clone()),
                _ => self.look_up(module, name, last, depth)?,
            };
        }
        Some(place)
    }

    /// What `name` stands for in `module`.
    fn look_up(&self, module: &Path, name: &str, last: Last, depth: usize) -> Option<Place> {
        let depth = depth.checked_sub(1)?;
        let names = &self.0[module].names;
        let meanings = |name| names.get(name).into_iter().flatten();

        let path: Path = module.iter().cloned().chain([name.into()]).collect();
        let child = self.0.contains_key(&path).then_some(Place::Module(path));
        let here = || Place::Item(module.clone(), name.into());
        let defined = meanings(name).any(|it| matches!(it, Meaning::Item)).then(here);
        let imported = meanings(name).find_map(|meaning| match meaning {
            Meaning::Import(path) => self.resolve(module, path, last, depth),
            Meaning::Item => None,
        });
        // What another crate defines counts for the module that imports it.
        let foreign = meanings(name).next().map(|_| here());
        let found = match last {
            Last::Module => child.or(imported).or(foreign),
            Last::Item => defined.or(imported).or(child).or(foreign),
        };
        // Last of all, what `*` imports bring.
        found.or_else(|| {
            meanings("*").find_map(|meaning| {
                let Meaning::Import(path) = meaning else { return None };
                let all_of = &path[..path.len() - 1];
                match self.resolve(module, all_of, Last::Module, depth)? {
                    Place::Module(other) => self.look_up(&other, name, last, depth),
                    Place::Item(..) => None,
                }
            })
        })
    }
}

/// The circles among `imports`, described: files that all reach one another, and by which lines.
pub fn circles(imports: &[Import]) -> Vec<String> {
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for import in imports {
        next.entry(&import.from).or_default().insert(&import.to);
    }
    let reached: BTreeMap<_, _> = next.keys().map(|&file| (file, reach(&next, file))).collect();
    let reaches = |from, to| reached.get(from).is_some_and(|files| files.contains(to));
    let knots: BTreeSet<Vec<&str>> = next
        .keys()
        .filter(|&&file| reaches(file, file))
        .map(|&file| {
            next.keys()
                .copied()
                .filter(|other| reaches(file, other) && reaches(other, file))
                .collect()
        })
        .collect();
    knots.iter().map(|files| describe(files, imports)).collect()
}

/// The files that `file` needs, and those that these need, and so on.
fn reach<'a>(next: &BTreeMap<&'a str, BTreeSet<&'a str>>, file: &'a str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(file) = open.pop() {
        for &other in next.get(file).into_iter().flatten() {
            if reached.insert(other) {
                open.push(other);
            }
        }
    }
    reached
}

fn describe(files: &[&str], imports: &[Import]) -> String {
    let within = |file: &String| files.contains(&file.as_str());
    let mut lines: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for Import { from, line, path, to } in imports {
        if within(from) && within(to) {
            lines.entry((from, line, to)).or_default().push(format!("`{path}`"));
        }
    }
    let mut text = format!("{} files import one another: {}", files.len(), files.join(", "));
    for ((from, line, to), paths) in lines {
        text += &format!("\n    {from}:{line} imports {} from {to}", paths.join(", "));
    }
    text + "\n    Move what both sides need to a file below them, or pass it as an argument."
}
