//! Files and folders that are safe once they are written.

use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

/// Removes a generation; one that is half removed is none.
pub(super) fn remove_folder(path: &Path) -> Result<()> {
    let gone = path.with_extension("old");
    if gone.exists() {
        fs::remove_dir_all(&gone).map_err(at(&gone))?;
    }
    fs::rename(path, &gone).map_err(at(path))?;
    fs::remove_dir_all(&gone).map_err(at(&gone))
}

pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(at(path))
}

/// What was made, renamed or removed in `folder` is safe afterwards.
pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

/// For `map_err`: something failed at `path`.
pub(super) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::Checkpoint { path, reason: error.to_string() }
}
