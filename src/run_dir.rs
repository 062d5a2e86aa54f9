//! The folder of a run, and files that are written whole or not at all.

use crate::failure::Failure;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// `<out>/<algo>/<env>_<seed>`, with slashes in the environment's id as dashes, as RL Zoo does.
pub fn run_path(out: &Path, algo: &str, env: &str, seed: u64) -> PathBuf {
    out.join(algo).join(format!("{}_{seed}", env.replace('/', "-")))
}

/// Makes `path` an empty folder.
///
/// # Errors
/// [`Failure::RunExists`] if something is in it and `overwrite` is not set.
pub fn create(path: &Path, overwrite: bool) -> Result<(), Failure> {
    refuse_existing(path, overwrite)?;
    if path.is_dir() {
        fs::remove_dir_all(path).map_err(Failure::file("replace", path))?;
    }
    fs::create_dir_all(path).map_err(Failure::file("create", path))
}

/// [`Failure::RunExists`] if something is in `path` and `overwrite` is not set.
pub fn refuse_existing(path: &Path, overwrite: bool) -> Result<(), Failure> {
    let taken = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    if taken && !overwrite { Err(Failure::RunExists(path.to_owned())) } else { Ok(()) }
}

/// Writes `bytes` to `path`: a reader, or a crash, sees the old file or the new one.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().set_permissions(Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(Failure::file("write", path))
}
