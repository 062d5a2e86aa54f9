//! Checkpoints that Python's classes write: one generation in a folder of its own.

use agents::checkpoint::{Checkpoint, Reader, Store, load_agent, save_agent};
use agents::{Error, Learn, Result};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::{self, File};
use std::mem::take;
use std::path::{Path, PathBuf};

/// How the folder is called that is being written.
const NEW: &str = ".new-checkpoint";
/// How the folder is called that is being replaced.
const OLD: &str = ".old-checkpoint";

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
    let io = |error: std::io::Error| wrong(&error.to_string());
    let folder = named(folder)?;
    let [new, old] = [NEW, OLD].map(|end| beside(&folder, end));
    for path in [&folder, &new, &old].into_iter().filter(|path| is_there(path)) {
        let there = Store::new(path.clone());
        let is_none = *path == folder && there.steps()?.is_empty();
        if is_none || !there.is_all_there_is()? {
            return Err(Error::Checkpoint {
                path: path.clone(),
                reason: "it is there and is no checkpoint, so it is not replaced".to_owned(),
            });
        }
    }
    let about = serde_json::from_str(about).map_err(|error| wrong(&error.to_string()))?;
    let (own, replay) = save_agent(agent)?;
    let mut all: Vec<(&str, Vec<u8>)> = own;
    all.extend(parts.iter_mut().map(|(name, bytes)| (name.as_str(), take(bytes))));
    let parent = folder.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(io)?;
    Store::new(new.clone()).remove()?;
    Store::new(new.clone()).write(step, about, &all, replay)?;
    put(&new, &folder, &old)?;
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(io)?;
    Store::new(new).remove()?;
    Store::new(old).remove()
}

/// Puts the folder `new` in the place of `folder`. What was there is at `new` or `old` afterwards, and on the way too: a
/// process that is killed loses nothing.
fn put(new: &Path, folder: &Path, old: &Path) -> Result<()> {
    let unable = |error: std::io::Error| Error::Checkpoint {
        path: folder.to_owned(),
        reason: error.to_string(),
    };
    let rename = |from, to| fs::rename(from, to).map_err(unable);
    if !is_there(folder) {
        return rename(new, folder);
    }
    match renameat_with(CWD, new, CWD, folder, RenameFlags::EXCHANGE) {
        // Some file systems cannot. Until the second of two renames `OLD` is what `newest` finds.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            Store::new(old.to_owned()).remove()?;
            rename(folder, old)?;
            rename(new, folder)
        }
        exchanged => exchanged.map_err(|errno| unable(errno.into())),
    }
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
    // Its writer may have been killed.
    let folder = &named(folder)?;
    let old = beside(folder, OLD);
    let there = if is_there(folder) || !is_there(&old) { folder } else { &old };
    Store::new(there.to_owned()).newest(read)?.ok_or_else(|| Error::Checkpoint {
        path: folder.to_owned(),
        reason: "no checkpoint is there".to_owned(),
    })
}

/// Whether anything has that name, a link to nothing too.
fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// `folder` from the root on, without a slash at its end.
fn named(folder: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(folder).map_err(|error| Error::Checkpoint {
        path: folder.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(path.components().collect())
}

/// `folder` with another end to its name.
fn beside(folder: &Path, end: &str) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}
