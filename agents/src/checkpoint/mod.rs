//! Checkpoints on disk. `<folder>/<step>/` is a generation: one file per part, and a `MANIFEST` with their lengths and
//! hashes, written last. `<folder>/replay/` holds the rows of the replay memory for all generations: files that only
//! grow, of which each manifest tells how much is its own.
//!
//! A generation is written under a temporary name, synced and renamed: whole, or not there. The two newest stay, so
//! that one that is damaged later has another behind it. `docs/checkpoints.md` has the format.

mod agent;
mod manifest;
mod segments;
mod synced;

pub use agent::{Parts, learner, load_agent, save_agent};

use crate::error::{Error, Result};
use crate::files;
use crate::memory::Replay;
use manifest::{Content, FILE, FORMAT, Manifest};
use segments::Segments;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use synced::{at, remove_folder, sync_folder, write_synced};

/// How many generations stay.
const KEPT: usize = 2;
/// The folder of the replay memory's rows.
const REPLAY: &str = "replay";
/// How the names of generations end that were being written or removed when the process was killed.
const LEFTOVERS: [&str; 2] = ["tmp", "old"];

/// The checkpoints of one run.
pub struct Store {
    folder: PathBuf,
    segments: Segments,
    /// The generation that was last written, or read to go on from.
    last: Option<u64>,
}

/// `value` as the bytes of a part, for [`Checkpoint::value`].
pub fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    postcard::to_allocvec(value)
        .map_err(|error| Error::State { of: "a checkpoint", reason: error.to_string() })
}

/// One generation, read and found unharmed; the rows of a replay memory are read later.
pub struct Checkpoint {
    path: PathBuf,
    manifest: Manifest,
    parts: BTreeMap<String, Vec<u8>>,
}

impl Store {
    /// The checkpoints in `folder`, which is made with the first of them.
    pub fn new(folder: PathBuf) -> Self {
        let segments = Segments::new(folder.join(REPLAY));
        Self { folder, segments, last: None }
    }

    /// The steps of all generations, the newest first.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if something is there that cannot be read: that is not to be without any.
    pub fn steps(&self) -> Result<Vec<u64>> {
        let mut steps: Vec<u64> = self.names()?.iter().filter_map(|name| step_of(name)).collect();
        steps.sort_unstable_by(|a, b| b.cmp(a));
        Ok(steps)
    }

    /// Whether nothing but generations, whole or begun, is in the folder: then it can be replaced.
    pub fn is_all_there_is(&self) -> Result<bool> {
        Ok(self.names()?.iter().all(|name| {
            let (stem, end) = name.split_once('.').unwrap_or((name, ""));
            let is_begun = LEFTOVERS.contains(&end) && step_of(stem).is_some();
            let is_whole = |step| Checkpoint::is_one(&self.path(step));
            name == REPLAY || is_begun || step_of(name).is_some_and(is_whole)
        }))
    }

    /// What is in the folder; nothing if it is not there.
    fn names(&self) -> Result<Vec<String>> {
        let folder = &self.folder;
        if fs::symlink_metadata(folder).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            return Ok(Vec::new());
        }
        let names = fs::read_dir(folder).and_then(|entries| {
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        });
        names.map_err(at(folder))
    }

    /// Writes the generation of `step`, unless it is there already. `about` is for the reader. It is
    /// safe afterwards; an error leaves the earlier ones as they were.
    pub fn write(
        &mut self,
        step: u64,
        about: Value,
        parts: &[(&str, Vec<u8>)],
        replay: Option<&Replay>,
    ) -> Result<()> {
        if self.last == Some(step) {
            return Ok(());
        }
        if !self.folder.is_dir() {
            fs::create_dir(&self.folder).map_err(at(&self.folder))?;
        }
        let replay = replay.map(|replay| self.segments.append(replay)).transpose()?;
        let (temporary, path) = (self.temporary(step), self.path(step));
        let manifest = Manifest { format: FORMAT, step, about, parts: BTreeMap::new(), replay };
        let written = write_generation(&temporary, manifest, parts).and_then(|()| {
            if path.exists() {
                // It was found damaged, or is of a time that never came.
                remove_folder(&path)?;
            }
            fs::rename(&temporary, &path).map_err(at(&path))?;
            sync_folder(&self.folder)
        });
        if let Err(error) = written {
            let _ = fs::remove_dir_all(&temporary);
            return Err(error);
        }
        self.last = Some(step);
        self.prune(step)
    }

    /// Hands the newest generation to `read`, and to go on from; if it is damaged, or `read` finds
    /// that it cannot be read, the one before it, with a warning. None without any.
    ///
    /// # Errors
    /// The last generation's, if none can be read.
    pub fn newest<T>(
        &mut self,
        read: &mut dyn FnMut(&Checkpoint, &mut Reader<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut failed = None;
        for step in self.steps()? {
            let path = self.path(step);
            let mut reader = Reader(&mut self.segments);
            let found =
                Checkpoint::open(&path).and_then(|checkpoint| read(&checkpoint, &mut reader));
            match found {
                Ok(found) => {
                    self.last = Some(step);
                    return Ok(Some(found));
                }
                Err(error) => {
                    tracing::warn!("a checkpoint is left out: {error}");
                    failed = Some(error);
                }
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// Removes all checkpoints.
    pub fn remove(&self) -> Result<()> {
        if !self.folder.exists() {
            return Ok(());
        }
        // The newest last: whoever looks meanwhile finds one that is whole.
        for step in self.steps()?.into_iter().rev() {
            remove_folder(&self.path(step))?;
        }
        fs::remove_dir_all(&self.folder).map_err(at(&self.folder))
    }

    /// The folder of the generation of `step`.
    pub fn path(&self, step: u64) -> PathBuf {
        self.folder.join(step.to_string())
    }

    fn temporary(&self, step: u64) -> PathBuf {
        self.folder.join(format!("{step}.tmp"))
    }

    /// Removes all but the newest generations up to `step`, and what none of them needs.
    fn prune(&self, step: u64) -> Result<()> {
        let steps = self.steps()?;
        let (kept, gone): (Vec<u64>, Vec<u64>) = {
            let mut left = KEPT;
            steps.into_iter().partition(|&other| {
                let kept = other <= step && left > 0;
                left -= usize::from(kept);
                kept
            })
        };
        gone.iter().try_for_each(|&step| remove_folder(&self.path(step)))?;
        let entries = fs::read_dir(&self.folder).map_err(at(&self.folder))?;
        for entry in entries.flatten().filter(|entry| {
            let name = entry.file_name();
            let end = Path::new(&name).extension().and_then(OsStr::to_str);
            end.is_some_and(|end| LEFTOVERS.contains(&end))
        }) {
            fs::remove_dir_all(entry.path()).map_err(at(&entry.path()))?;
        }
        let manifests = kept.iter().filter_map(|&step| Manifest::read(&self.path(step)).ok());
        let rows: Vec<_> = manifests.filter_map(|manifest| manifest.replay).collect();
        self.segments.prune(&rows)
    }
}

/// Reads the rows of a replay memory.
pub struct Reader<'a>(&'a mut Segments);

impl Reader<'_> {
    /// Puts the rows of `checkpoint` into `replay`, which they replace.
    pub fn fill(&mut self, checkpoint: &Checkpoint, replay: &mut Replay) -> Result<()> {
        match &checkpoint.manifest.replay {
            Some(rows) => self.0.read(rows, replay),
            None => Err(checkpoint.damaged(FILE, "it has no replay memory")),
        }
    }
}

impl Checkpoint {
    /// Reads the generation at `path`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is not what was written.
    pub fn open(path: &Path) -> Result<Self> {
        let manifest = Manifest::read(path)?;
        let mut checkpoint = Self { path: path.to_owned(), manifest, parts: BTreeMap::new() };
        for (name, content) in &checkpoint.manifest.parts {
            if Path::new(name).file_name() != Some(OsStr::new(name)) {
                return Err(
                    checkpoint.damaged(FILE, &format!("`{name}` is no name of a file in it"))
                );
            }
            let file = path.join(name);
            let bytes = files::read(&file, content.bytes).map_err(at(&file))?;
            if Content::of(&bytes) != *content {
                return Err(checkpoint.damaged(name, "it has changed since it was written"));
            }
            checkpoint.parts.insert(name.clone(), bytes);
        }
        Ok(checkpoint)
    }

    /// Whether `path` looks like a generation.
    pub fn is_one(path: &Path) -> bool {
        path.join(FILE).is_file()
    }

    /// Environment steps before it.
    pub fn step(&self) -> u64 {
        self.manifest.step
    }

    /// What was said of it.
    pub fn about(&self) -> &Value {
        &self.manifest.about
    }

    /// The names of its parts.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.keys().map(String::as_str)
    }

    /// The bytes of a part, if it has that.
    pub fn part(&self, name: &str) -> Option<&[u8]> {
        self.parts.get(name).map(Vec::as_slice)
    }

    /// The bytes of a part that each checkpoint has.
    pub fn bytes(&self, name: &str) -> Result<&[u8]> {
        self.part(name).ok_or_else(|| self.damaged(name, "it is missing"))
    }

    /// The value that [`encode`] wrote.
    pub fn value<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        postcard::from_bytes(self.bytes(name)?)
            .map_err(|error| self.damaged(name, &error.to_string()))
    }

    fn damaged(&self, name: &str, reason: &str) -> Error {
        Error::Checkpoint { path: self.path.join(name), reason: reason.to_owned() }
    }
}

/// The step of a generation called `name`. A name such as `007` is not ours.
fn step_of(name: &str) -> Option<u64> {
    name.parse().ok().filter(|step: &u64| step.to_string() == name)
}

/// Writes all parts, and the manifest last, into the new folder `path`.
fn write_generation(path: &Path, mut manifest: Manifest, parts: &[(&str, Vec<u8>)]) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).map_err(at(path))?;
    }
    fs::create_dir(path).map_err(at(path))?;
    for (name, bytes) in parts {
        write_synced(&path.join(name), bytes)?;
        manifest.parts.insert((*name).to_owned(), Content::of(bytes));
    }
    write_synced(&path.join(FILE), &manifest.to_bytes()?)?;
    sync_folder(path)
}
