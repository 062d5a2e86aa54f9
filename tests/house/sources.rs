//! The files of the repository, as text.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Text by path from the root of the repository, with `/` between folders.
#[derive(Default)]
pub struct Sources(BTreeMap<String, String>);

impl Sources {
    /// Everything that ends in `.rs`, `.py`, `.toml` or `.md` below `root`, built and hidden things
    /// aside.
    pub fn read(root: &Path) -> Self {
        let mut sources = Self::default();
        sources.read_folder(root, "");
        sources
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) {
        for entry in fs::read_dir(folder).expect("the folder is readable") {
            let entry = entry.expect("the folder is readable");
            let name = entry.file_name().into_string().expect("names are UTF-8");
            let path = format!("{prefix}{name}");
            if name.starts_with('.') || ["target", "runs", "dist"].contains(&name.as_str()) {
                continue;
            }
            if entry.file_type().expect("the entry is there").is_dir() {
                self.read_folder(&entry.path(), &format!("{path}/"));
            } else if [".rs", ".py", ".toml", ".md"].iter().any(|end| name.ends_with(end)) {
                let text = fs::read_to_string(entry.path()).expect("sources are UTF-8");
                self.0.insert(path, text);
            }
        }
    }

    /// Sources made up for a test of the checker.
    pub fn of<const N: usize>(files: [(&str, &str); N]) -> Self {
        Self(files.map(|(path, text)| (path.into(), text.into())).into())
    }

    /// The text of `path`, if there is such a file.
    pub fn get(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// Paths that start with one of `starts` and end in `end`, with their texts.
    pub fn files<'a>(
        &'a self,
        starts: &'a [&str],
        end: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .filter(move |(path, _)| starts.iter().any(|start| path.starts_with(start)))
            .filter(move |(path, _)| path.ends_with(end))
    }
}
