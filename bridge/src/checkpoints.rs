//! Checkpoints that Python's classes write: one generation in a folder of its own.

use agents::checkpoint::{Checkpoint, Part, Reader, Store, load_agent, save_agent};
use agents::{Error, Learn, Result};
use std::collections::HashMap;
use std::fs;
use std::mem::take;
use std::path::{Path, PathBuf};

/// Writes a checkpoint of `agent` and `parts` beside `folder`, then takes its place.
pub(crate) fn save(
    agent: &mut dyn Learn,
    folder: &Path,
    step: u64,
    about: &str,
    mut parts: HashMap<String, Vec<u8>>,
) -> Result<()> {
    let wrong =
        |reason: &str| Error::Checkpoint { path: folder.to_owned(), reason: reason.to_owned() };
    let folder = std::path::absolute(folder).map_err(|error| wrong(&error.to_string()))?;
    if folder.exists() && Store::new(folder.clone()).steps().is_empty() {
        return Err(wrong("it is there and holds no checkpoint, so it is not replaced"));
    }
    let [new, old] = ["new", "old"].map(|end| beside(&folder, end));
    let io = |error: std::io::Error| wrong(&error.to_string());
    for left in [&new, &old].into_iter().filter(|path| path.exists()) {
        fs::remove_dir_all(left).map_err(io)?;
    }
    let about = serde_json::from_str(about).map_err(|error| wrong(&error.to_string()))?;
    let (own, replay) = save_agent(agent)?;
    let mut all: Vec<(&str, Part)> = own;
    all.extend(parts.iter_mut().map(|(name, bytes)| (name.as_str(), Part::Bytes(take(bytes)))));
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(io)?;
    }
    Store::new(new.clone()).write(step, about, &all, replay)?;
    if folder.exists() {
        fs::rename(&folder, &old).map_err(io)?;
    }
    fs::rename(&new, &folder).map_err(io)?;
    if old.exists() { fs::remove_dir_all(&old).map_err(io) } else { Ok(()) }
}

/// What was said of the checkpoint in `folder`, as JSON, and the bytes of its parts.
pub fn read_checkpoint(folder: &Path) -> Result<(String, HashMap<String, Vec<u8>>)> {
    newest(folder, &mut |checkpoint, _| {
        let parts = checkpoint
            .names()
            .filter_map(|name| Some((name.to_owned(), checkpoint.part(name)?.to_vec())));
        Ok((checkpoint.about().to_string(), parts.collect()))
    })
}

/// Brings `agent` to the checkpoint in `folder`.
pub(crate) fn load(agent: &mut dyn Learn, folder: &Path) -> Result<()> {
    newest(folder, &mut |checkpoint, rows| load_agent(agent, checkpoint, rows))
}

fn newest<T>(
    folder: &Path,
    read: &mut dyn FnMut(&Checkpoint, &mut Reader<'_>) -> Result<T>,
) -> Result<T> {
    Store::new(folder.to_owned()).newest(read)?.ok_or_else(|| Error::Checkpoint {
        path: folder.to_owned(),
        reason: "no checkpoint is there".to_owned(),
    })
}

/// `folder` with another end to its name.
fn beside(folder: &Path, end: &str) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(format!(".{end}"));
    PathBuf::from(name)
}
