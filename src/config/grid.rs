//! A grid file: one comparison, as environments times runs times seeds.

use super::error::ConfigError;
use super::origin::Origin;
use super::yaml::Document;
use crate::harness::Harness;
use agents::settings::{Record, Settings, refuse_rest, schema, take};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The most seeds that a grid can have.
const SEEDS: u64 = 10_000;

/// What a grid file says.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Grid {
    /// The folder of its runs, below that of `--out`.
    pub name: String,
    /// What is compared, in a line.
    pub about: String,
    /// Gymnasium ids.
    pub envs: Vec<String>,
    /// How many, from 0 on, or which.
    pub seeds: Seeds,
    /// Environment steps of every run.
    #[schemars(range(min = 1))]
    pub steps: u64,
    /// Options of `stac-bench train` that every run has.
    pub options: Vec<String>,
    /// What is compared, by label.
    pub runs: Settings,
}

/// How many seeds, from 0 on, or which.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Seeds {
    /// How many.
    Count(u64),
    /// Which.
    List(Vec<u64>),
}

impl Default for Seeds {
    fn default() -> Self {
        Self::Count(1)
    }
}

/// One of the `runs`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Column {
    /// Algorithm, one of `stac-bench algos`, or of the harness.
    pub algo: String,
    /// Who trains, if not this program.
    pub harness: Option<Harness>,
    /// Named settings.
    pub preset: Option<String>,
    /// Settings, as with `--set`.
    pub set: Settings,
}

impl Record for Grid {}
impl Record for Column {}

/// A grid and the file that it stands in, for messages.
#[derive(Debug)]
pub struct GridFile {
    path: PathBuf,
    document: Document,
    /// What it says.
    pub grid: Grid,
    /// The columns in the file's order.
    pub columns: Vec<(String, Column)>,
    /// The seeds, each once.
    pub seeds: Vec<u64>,
}

impl GridFile {
    /// Reads and checks the file at `path`; what its runs say is checked by whoever plans them.
    ///
    /// # Errors
    /// [`ConfigError`] with file, line and key.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        let text = crate::files::read_text(path).map_err(unreadable)?;
        let origin = Origin::File(path.to_owned(), None);
        let document =
            Document::parse(&text).map_err(|reason| ConfigError::Syntax { origin, reason })?;
        let mut rest = document.values.clone();
        let mut file = Self {
            path: path.to_owned(),
            document,
            grid: Grid::default(),
            columns: Vec::new(),
            seeds: Vec::new(),
        };
        file.grid = file.record(&[], &mut rest)?;
        file.check()?;
        let runs = file.grid.runs.clone();
        for (label, column) in runs {
            let Value::Object(mut column) = column else {
                return Err(
                    file.invalid(&["runs", &label], "it holds keys and values, like `algo: ddpg`")
                );
            };
            let column: Column = file.record(&["runs", &label], &mut column)?;
            if column.algo.is_empty() {
                return Err(file.invalid(&["runs", &label], "it needs `algo`"));
            }
            file.columns.push((label, column));
        }
        file.seeds = file.all_seeds()?;
        Ok(file)
    }

    fn record<R: Record>(&self, path: &[&str], rest: &mut Settings) -> Result<R, ConfigError> {
        let locate = |error: agents::Error| match ConfigError::from(error) {
            ConfigError::Invalid { key, value, reason, .. } => {
                let within: Vec<&str> = path.iter().copied().chain(key.split('.')).collect();
                let origin = Some(self.origin(&within));
                ConfigError::Invalid { origin, key: within.join("."), value, reason }
            }
            other => other,
        };
        let record = take(rest).map_err(locate)?;
        refuse_rest(rest, &schema::of::<R>()).map_err(locate)?;
        Ok(record)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let Grid { name, envs, steps, runs, .. } = &self.grid;
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            return Err(self.invalid(
                &["name"],
                "it is to be a folder's name: letters, digits, `_`, `-`, `.`",
            ));
        }
        if *steps == 0 {
            return Err(
                self.invalid(&["steps"], "every run takes that many environment steps, at least 1")
            );
        }
        if envs.is_empty() {
            return Err(self.invalid(&["envs"], "a grid has at least one environment"));
        }
        if runs.is_empty() {
            return Err(
                self.invalid(&["runs"], "a grid has at least one run, like `ddpg: {algo: ddpg}`")
            );
        }
        for (i, env) in envs.iter().enumerate() {
            if envs.iter().take(i).any(|other| other == env) {
                return Err(self.invalid(&["envs"], &format!("`{env}` stands in it twice")));
            }
        }
        for (i, label) in runs.keys().enumerate() {
            let folder = folder_of(label);
            if folder.is_empty() || folder.starts_with('.') {
                return Err(self.invalid(&["runs", label], "a label is no folder's name"));
            }
            if let Some(other) = runs.keys().take(i).find(|other| folder_of(other) == folder) {
                let reason = format!("its folder would be that of `{other}`, `{folder}`");
                return Err(self.invalid(&["runs", label], &reason));
            }
        }
        Ok(())
    }

    fn all_seeds(&self) -> Result<Vec<u64>, ConfigError> {
        let seeds: Vec<u64> = match &self.grid.seeds {
            Seeds::Count(0) => Vec::new(),
            Seeds::Count(count) if *count > SEEDS => {
                return Err(self.invalid(&["seeds"], &format!("at most {SEEDS} seeds")));
            }
            Seeds::Count(count) => (0..*count).collect(),
            Seeds::List(list) => list.clone(),
        };
        if seeds.is_empty() {
            return Err(self.invalid(&["seeds"], "a grid has at least one seed"));
        }
        let mut sorted = seeds.clone();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair.first() == pair.last()) {
            Some(pair) => Err(self.invalid(
                &["seeds"],
                &format!("{} stands in it twice", pair.first().unwrap_or(&0)),
            )),
            None => Ok(seeds),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the key at `path` stands, or the nearest one that it lies in.
    pub fn origin(&self, path: &[&str]) -> Origin {
        let within = (0..=path.len()).rev();
        let line = within.filter_map(|n| self.document.line(path.get(..n)?)).next();
        Origin::File(self.path.clone(), line)
    }

    /// That the value at `path` is wrong.
    pub fn invalid(&self, path: &[&str], reason: &str) -> ConfigError {
        let mut value = None;
        for (i, key) in path.iter().enumerate() {
            value = if i == 0 {
                self.document.values.get(*key)
            } else {
                value.and_then(|v: &Value| v.get(*key))
            };
        }
        ConfigError::Invalid {
            origin: Some(self.origin(path)),
            key: path.join("."),
            value: value.map_or_else(|| "not set".to_owned(), Value::to_string),
            reason: reason.to_owned(),
        }
    }
}

/// The folder of the runs of a label.
pub fn folder_of(label: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.=,+".contains(c);
    label.chars().map(|c| if plain(c) { c } else { '-' }).collect()
}
