//! The folder of a run, which has one owner, and files that are written whole or not at all.

use crate::failure::Failure;
use rustix::fs::{FlockOperation, fcntl_lock};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The file that the owner has locked; the system takes the lock back when that process ends.
const LOCK: &str = ".lock";
/// How long a run that goes on waits for the end of its last process.
const PATIENCE: Duration = Duration::from_secs(3);
/// The file that makes a folder a run.
pub const MANIFEST: &str = "manifest.json";
/// What it says while the run is cleared away.
const CLEARED: &str = r#"{"started": 0, "seconds": 0, "steps": 0, "status": "interrupted", "exit_status": null, "error": "it was being replaced"}"#;
/// The folder of checkpoints within that of a run.
pub const CHECKPOINTS: &str = "checkpoints";

/// `<out>/<algo>/<env>_<seed>`, with slashes in the environment's id as dashes, as RL Zoo does.
pub fn run_path(out: &Path, algo: &str, env: &str, seed: u64) -> PathBuf {
    out.join(algo).join(format!("{}_{seed}", env.replace('/', "-")))
}

/// The same path whatever the working folder becomes: an environment may change it.
pub fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(Failure::file("find", path))
}

/// The folder of a run, owned by this process until it is dropped.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    folder: File,
    _lock: File,
}

/// In which folder a run begins.
pub enum Start {
    /// A new one.
    New {
        /// Whether a run that is there is replaced.
        overwrite: bool,
    },
    /// That of the same run, which goes on from its newest checkpoint, or begins again if it has none.
    Again(RunDir),
}

impl RunDir {
    /// Makes `path` an empty folder of a new run.
    ///
    /// # Errors
    /// [`Failure::RunExists`], [`Failure::NoRunToReplace`] or [`Failure::Running`].
    pub fn create(path: &Path, overwrite: bool) -> Result<Self, Failure> {
        refuse_existing(path, overwrite)?;
        fs::create_dir_all(path).map_err(Failure::file("create", path))?;
        let run = Self::own(path)?;
        refuse_existing(path, overwrite)?;
        run.clear()?;
        Ok(run)
    }

    /// The folder `path` of a run that goes on.
    ///
    /// # Errors
    /// [`Failure::Running`] while another process owns it.
    pub fn own(path: &Path) -> Result<Self, Failure> {
        let lock = lock(path)?;
        let folder = File::open(path).map_err(Failure::file("open", path))?;
        let run = Self { path: path.to_owned(), folder, _lock: lock };
        run.sweep()?;
        Ok(run)
    }

    /// The same, once an owner that is just ending has ended.
    pub fn own_soon(path: &Path) -> Result<Self, Failure> {
        let start = Instant::now();
        loop {
            match Self::own(path) {
                Err(Failure::Running { .. }) if start.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                owned => return owned,
            }
        }
    }

    /// Where it is; absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// [`Failure::Moved`] if `path` is no longer this folder.
    pub fn check(&self) -> Result<(), Failure> {
        let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let here = self.folder.metadata().map(id).ok();
        if here.is_some() && fs::metadata(&self.path).map(id).ok() == here {
            return Ok(());
        }
        let now = fs::read_link(format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&self.folder)
        ));
        let now = now.ok().filter(|now| fs::metadata(now).map(id).ok() == here);
        Err(Failure::Moved { path: self.path.clone(), now })
    }

    /// Removes all that is in it, so that a kill on the way leaves what is still a run, or nothing.
    pub fn clear(&self) -> Result<(), Failure> {
        let manifest = self.path.join(MANIFEST);
        if manifest.is_file() {
            // What it says, `done` say, is true no more.
            write_somehow(&manifest, CLEARED.as_bytes())?;
        }
        let checkpoints = self.path.join(CHECKPOINTS);
        if checkpoints.exists() {
            let gone = checkpoints.with_extension("old");
            remove(&gone)?;
            fs::rename(&checkpoints, &gone).map_err(Failure::file("remove", &checkpoints))?;
        }
        let others = entries(&self.path)?.into_iter().filter(|path| *path != manifest);
        others.into_iter().try_for_each(|path| remove(&path))?;
        remove(&manifest)
    }

    /// Removes what a killed process was just writing.
    fn sweep(&self) -> Result<(), Failure> {
        let models = ["best_model", "final_model"].map(|name| self.path.join(name));
        for folder in models.iter().filter(|folder| folder.is_dir()).chain([&self.path]) {
            for path in entries(folder)?.iter().filter(|path| is_unfinished(path)) {
                remove(path)?;
            }
        }
        Ok(())
    }
}

/// Whether something is in `path`, but for what a process leaves that was killed before its first file was whole.
pub fn is_taken(path: &Path) -> bool {
    entries(path).is_ok_and(|entries| entries.iter().any(|entry| !is_unfinished(entry)))
}

fn is_unfinished(path: &Path) -> bool {
    path.is_file() && path.to_string_lossy().ends_with(UNFINISHED)
}

/// An error if something is in `path`, unless it is a run and `overwrite` is set.
pub fn refuse_existing(path: &Path, overwrite: bool) -> Result<(), Failure> {
    match is_taken(path) {
        false => Ok(()),
        true if !overwrite => Err(Failure::RunExists(path.to_owned())),
        true if !path.join(MANIFEST).is_file() => Err(Failure::NoRunToReplace(path.to_owned())),
        true => Ok(()),
    }
}

/// An error as of [`refuse_existing`], or if the run in `path` has a live owner.
pub fn refuse(path: &Path, overwrite: bool) -> Result<(), Failure> {
    refuse_existing(path, overwrite)?;
    if is_taken(path) { RunDir::own(path).map(drop) } else { Ok(()) }
}

/// Whether a live process owns the run in `path`.
pub fn is_owned(path: &Path) -> bool {
    matches!(lock(path), Err(Failure::Running { .. }))
}

/// Locks the folder `path` of a run.
fn lock(path: &Path) -> Result<File, Failure> {
    let file = path.join(LOCK);
    let unable = |action| Failure::file(action, &file);
    let lock = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&file);
    let mut lock = lock.map_err(unable("open"))?;
    if let Err(error) = fcntl_lock(&lock, FlockOperation::NonBlockingLockExclusive) {
        if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::PermissionDenied) {
            return Err(unable("lock")(error.into()));
        }
        let mut owner = String::new();
        let _ = lock.read_to_string(&mut owner);
        return Err(Failure::Running { path: path.to_owned(), owner: owner.trim().to_owned() });
    }
    // For whoever is refused; a full disk is no reason to go without.
    let _ = lock.set_len(0).and_then(|()| lock.rewind());
    let _ = writeln!(lock, "{}", std::process::id());
    Ok(lock)
}

/// What is in a folder, but for a lock.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(folder).map_err(Failure::file("read", folder))?;
    let paths = entries.flatten().filter(|entry| entry.file_name() != LOCK);
    Ok(paths.map(|entry| entry.path()).collect())
}

/// What the name of a file ends with until it is whole.
const UNFINISHED: &str = ".unfinished";

/// Writes `bytes` to `path`, whose folder is there: a reader, or a crash, sees the old file or the new one.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    let unfinished = PathBuf::from(name);
    let write = || {
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&unfinished);
        Failure::file("write", path)(error)
    })
}

/// The same; on a full disk in place, which takes no room that the file does not have if it is no longer than before.
pub fn write_somehow(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let in_place = || {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.write_all(bytes)?;
        file.set_len(bytes.len() as u64)?;
        file.sync_all()
    };
    write_whole(path, bytes).or_else(|failure| in_place().map_err(|_| failure))
}

/// Makes `folder`, whose own folder is there, unless it is there.
pub fn make_folder(folder: &Path) -> Result<(), Failure> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(Failure::file("create", folder)(error))
        }
        _ => Ok(()),
    }
}

/// Removes a file or a folder, if it is there.
pub fn remove(path: &Path) -> Result<(), Failure> {
    let removed = match path.is_dir() && !path.is_symlink() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Failure::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}
