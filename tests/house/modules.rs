//! A crate as a tree of modules: what the names in each stand for, and which paths its code names.
//! Whatever is under `#[cfg(test)]` is left out.

use crate::sources::Sources;
use proc_macro2::{Ident, TokenStream, TokenTree};
use std::collections::BTreeMap;
use std::mem;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, Lit, LitStr, Macro, UseTree, Visibility};

/// Segments of a path. That of a module starts below the crate's root, whose own path is empty.
pub type Path = Vec<String>;

/// A module, in a file of its own or within another's.
#[derive(Default)]
pub struct Module {
    /// Where it stands.
    pub file: String,
    /// Names of items and imports. What `*` imports stands under `*`, and a macro under `name!`.
    pub names: BTreeMap<String, Vec<Meaning>>,
    /// Paths in its imports, code and macros.
    pub mentions: Vec<Mention>,
    /// String literals with their lines.
    pub literals: Vec<(String, usize)>,
}

/// What a name stands for, unless it is a module's.
pub enum Meaning {
    /// An item defined here.
    Item,
    /// What this path leads to: an import.
    Import(Path),
}

/// A path in the source.
pub struct Mention {
    /// As written; `*` is a segment, too.
    pub path: Path,
    /// Counted from 1.
    pub line: usize,
    /// How.
    pub by: By,
}

/// How a path is mentioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// `use`
    Import,
    /// `pub use`
    Reexport,
    /// As a type, a value, a pattern, a bound, a macro's argument.
    Code,
}

/// The modules of the crate whose root is the file `root`.
pub fn modules(sources: &Sources, root: &str) -> BTreeMap<Path, Module> {
    let mut reader =
        Reader { sources, modules: BTreeMap::new(), at: Path::new(), folder: "".into() };
    reader.read_file(root);
    reader.modules
}

struct Reader<'a> {
    sources: &'a Sources,
    modules: BTreeMap<Path, Module>,
    /// The module being read.
    at: Path,
    /// Where the files of its children lie.
    folder: String,
}

impl Reader<'_> {
    fn read_file(&mut self, file: &str) {
        let text = self.sources.get(file).unwrap_or_else(|| panic!("there is no {file}"));
        let syntax = syn::parse_file(text).unwrap_or_else(|e| panic!("{file}: {e}"));
        self.modules.insert(self.at.clone(), Module { file: file.into(), ..Module::default() });
        let own_folder = ["/lib.rs", "/mod.rs"].iter().find_map(|end| file.strip_suffix(end));
        self.folder = own_folder.unwrap_or(file.trim_end_matches(".rs")).into();
        self.visit_file(&syntax);
    }

    fn read_child(&mut self, child: &ItemMod) {
        let (name, folder, file) = (child.ident.to_string(), self.folder.clone(), self.file());
        self.at.push(name.clone());
        self.folder = format!("{folder}/{name}");
        if let Some((_, items)) = &child.content {
            self.modules.insert(self.at.clone(), Module { file, ..Module::default() });
            items.iter().for_each(|item| self.visit_item(item));
        } else {
            let beside = format!("{folder}/{name}.rs");
            let below = format!("{folder}/{name}/mod.rs");
            let is_beside = self.sources.get(&beside).is_some();
            self.read_file(if is_beside { &beside } else { &below });
        }
        self.at.pop();
        self.folder = folder;
    }

    fn module(&mut self) -> &mut Module {
        self.modules.get_mut(&self.at).expect("a module is entered before its items are read")
    }

    fn file(&mut self) -> String {
        self.module().file.clone()
    }

    fn name(&mut self, name: String, meaning: Meaning) {
        self.module().names.entry(name).or_default().push(meaning);
    }

    fn mention(&mut self, path: Path, line: usize, by: By) {
        self.module().mentions.push(Mention { path, line, by });
    }

    /// The imports of `tree`, each below the path `above`.
    fn import(&mut self, mut above: Path, tree: &UseTree, by: By) {
        let (segment, name) = match tree {
            UseTree::Path(path) => {
                above.push(path.ident.to_string());
                return self.import(above, &path.tree, by);
            }
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.import(above.clone(), tree, by));
            }
            UseTree::Name(it) if it.ident == "self" => (None, above.last().cloned()),
            UseTree::Name(it) => (Some(it.ident.to_string()), Some(it.ident.to_string())),
            UseTree::Rename(it) => (Some(it.ident.to_string()), Some(it.rename.to_string())),
            UseTree::Glob(_) => (Some("*".into()), Some("*".into())),
        };
        above.extend(segment.filter(|segment| segment != "self"));
        self.name(name.unwrap_or_default(), Meaning::Import(above.clone()));
        self.mention(above, line_of(tree), by);
    }

    /// Paths and strings in the arguments of a macro, which may have any syntax.
    fn read_tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut line, mut colons) = (Path::new(), 0, 0);
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.mention(mem::take(&mut path), line, By::Code);
                    }
                    line = ident.span().start().line;
                    path.push(ident.to_string());
                }
                other => {
                    self.mention(mem::take(&mut path), line, By::Code);
                    match other {
                        TokenTree::Group(group) => self.read_tokens(group.stream()),
                        TokenTree::Literal(literal) => {
                            if let Lit::Str(literal) = Lit::new(literal) {
                                self.visit_lit_str(&literal);
                            }
                        }
                        _ => {}
                    }
                }
            }
            colons = 0;
        }
        self.mention(path, line, By::Code);
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let (attributes, name) = parts(item);
        if attributes.iter().any(is_for_tests) {
            return;
        }
        if let Some(name) = name {
            self.name(name.to_string(), Meaning::Item);
        }
        match item {
            Item::Mod(child) => self.read_child(child),
            Item::Macro(definition) if definition.ident.is_some() => {
                let name = format!("{}!", definition.ident.as_ref().expect("it has a name"));
                let path = self.at.iter().cloned().chain([name.clone()]);
                let path = ["crate".to_owned()].into_iter().chain(path).collect();
                self.name(name.clone(), Meaning::Item);
                let root = self.modules.get_mut(&Path::new()).expect("the root is read first");
                root.names.entry(name).or_default().push(Meaning::Import(path));
                self.read_tokens(definition.mac.tokens.clone());
            }
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let private = matches!(item.vis, Visibility::Inherited);
        let by = if private { By::Import } else { By::Reexport };
        self.import(Path::new(), &item.tree, by);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let Some(first) = path.segments.first() {
            let segments = path.segments.iter().map(|segment| segment.ident.to_string());
            self.mention(segments.collect(), first.ident.span().start().line, By::Code);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        if let Some(name) = call.path.get_ident() {
            let line = name.span().start().line;
            self.mention(vec!["crate".into(), format!("{name}!")], line, By::Code);
        }
        self.read_tokens(call.tokens.clone());
    }

    fn visit_lit_str(&mut self, literal: &'ast LitStr) {
        let line = literal.span().start().line;
        self.module().literals.push((literal.value(), line));
    }
}

fn is_for_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<Ident>().is_ok_and(|condition| condition == "test")
}

fn line_of(tree: &UseTree) -> usize {
    let span = match tree {
        UseTree::Path(it) => it.ident.span(),
        UseTree::Name(it) => it.ident.span(),
        UseTree::Rename(it) => it.ident.span(),
        UseTree::Glob(it) => it.star_token.span,
        UseTree::Group(it) => it.brace_token.span.open(),
    };
    span.start().line
}

/// The attributes of an item, and the name that it brings into its module.
fn parts(item: &Item) -> (&[Attribute], Option<&Ident>) {
    match item {
        Item::Const(it) => (&it.attrs, Some(&it.ident)),
        Item::Enum(it) => (&it.attrs, Some(&it.ident)),
        Item::Fn(it) => (&it.attrs, Some(&it.sig.ident)),
        Item::Impl(it) => (&it.attrs, None),
        Item::Macro(it) => (&it.attrs, None),
        Item::Mod(it) => (&it.attrs, None),
        Item::Static(it) => (&it.attrs, Some(&it.ident)),
        Item::Struct(it) => (&it.attrs, Some(&it.ident)),
        Item::Trait(it) => (&it.attrs, Some(&it.ident)),
        Item::Type(it) => (&it.attrs, Some(&it.ident)),
        Item::Union(it) => (&it.attrs, Some(&it.ident)),
        Item::Use(it) => (&it.attrs, None),
        _ => (&[], None),
    }
}
