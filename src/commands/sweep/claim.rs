//! Who is at a run: a file beside its folder, that its owner keeps fresh.
//!
//! Locks of the system end with their process, but some shared file systems have none. A claim needs nothing but files
//! and their times: `<folder>.claim-1` is made by one process alone, which touches it every [`BEAT`]; untouched for
//! [`EXPIRES`], it is nobody's, and the one process that makes `<folder>.claim-2` is the next owner. On the machine of its owner it is nobody's as soon as that process is gone. Both times
//! are the file system's, so clocks of machines may differ. The lock of the run folder stands behind it: two workers
//! that both believe a run to be theirs do not both train it.

use crate::failure::Failure;
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, FileTimes};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often an owner touches its claims.
pub const BEAT: Duration = Duration::from_secs(10);
/// How long a claim holds after that.
const EXPIRES: Duration = Duration::from_secs(60);

/// A run that is this process's to train, until it is dropped.
#[derive(Debug)]
pub struct Claim {
    /// Of the run.
    folder: PathBuf,
    number: u64,
    file: File,
}

/// Whose a claim is.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Owner {
    /// Whose processes its number is one of: the boot, and the space of process numbers.
    machine: String,
    /// For people.
    host: String,
    pid: i32,
}

impl Claim {
    /// Claims the run in `folder`; none if it is another's.
    pub fn take(folder: &Path) -> Result<Option<Self>, Failure> {
        let parent = folder.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(Failure::file("create", parent))?;
        let last = numbers(folder).last().copied();
        if last.is_some_and(|number| is_fresh(&path(folder, number))) {
            return Ok(None);
        }
        // Of several that find the last one expired, or none, one makes the next.
        let number = last.map_or(1, |last| last.saturating_add(1));
        let path = path(folder, number);
        let failed = |action| Failure::file(action, &path);
        match File::create_new(&path) {
            Ok(mut file) => {
                let owner = serde_json::to_vec(&Owner::this()).map_err(std::io::Error::from);
                owner.and_then(|owner| file.write_all(&owner)).map_err(failed("write"))?;
                Ok(Some(Self { folder: folder.to_owned(), number, file }))
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(failed("create")(error)),
        }
    }

    /// Whether somebody is at the run in `folder`.
    pub fn is_held(folder: &Path) -> bool {
        numbers(folder).last().is_some_and(|&number| is_fresh(&path(folder, number)))
    }

    /// Removes what an owner that was killed at the end of the run in `folder` has left of its claim.
    pub fn clear(folder: &Path) {
        if !numbers(folder).is_empty() {
            drop(Self::take(folder));
        }
    }

    /// Says that its owner lives.
    pub fn beat(&self) {
        let _ = self.file.set_times(FileTimes::new().set_modified(now(&self.folder)));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Its own last: until then nobody takes what an expired one stands for.
        for number in numbers(&self.folder).into_iter().filter(|&number| number <= self.number) {
            let _ = fs::remove_file(path(&self.folder, number));
        }
    }
}

impl Owner {
    fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let space = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Self {
            machine: format!("{} {}", read("/proc/sys/kernel/random/boot_id"), space.display()),
            host: read("/proc/sys/kernel/hostname"),
            pid: std::process::id() as i32,
        }
    }

    /// Whether it was a process of this machine that has ended.
    fn is_gone(&self) -> bool {
        let alive = |pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH);
        self.machine == Self::this().machine && !Pid::from_raw(self.pid).is_some_and(alive)
    }
}

/// What the name of a claim ends with, before its number.
const MARK: &str = ".claim-";

fn path(folder: &Path, number: u64) -> PathBuf {
    let mut path = folder.as_os_str().to_owned();
    path.push(format!("{MARK}{number}"));
    path.into()
}

/// The numbers of the claims of a run, in order: the last one counts.
fn numbers(folder: &Path) -> Vec<u64> {
    let parent = folder.parent().unwrap_or(Path::new("."));
    let Some(name) = folder.file_name() else { return Vec::new() };
    let mark = format!("{}{MARK}", name.to_string_lossy());
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let number =
        |entry: fs::DirEntry| entry.file_name().to_string_lossy().strip_prefix(&mark)?.parse().ok();
    let mut numbers: Vec<u64> = entries.filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// Whether the claim at `path` holds.
fn is_fresh(path: &Path) -> bool {
    let Ok(touched) = fs::metadata(path).and_then(|metadata| metadata.modified()) else {
        return false;
    };
    let owner = fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Owner>(&bytes).ok());
    let gone = owner.is_some_and(|owner| owner.is_gone());
    !gone && age(path, touched) < EXPIRES
}

/// How long ago `touched` was, by the clock of the file system.
fn age(path: &Path, touched: SystemTime) -> Duration {
    now(path).duration_since(touched).unwrap_or_default()
}

/// What time it is in the folder of `path`.
fn now(path: &Path) -> SystemTime {
    let folder = path.parent().unwrap_or(Path::new("."));
    let probe = tempfile::tempfile_in(folder).and_then(|file| file.metadata()?.modified());
    probe.unwrap_or_else(|_| SystemTime::now())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A claim of another process, touched so many seconds ago.
    fn claim_of(owner: &Owner, folder: &Path, seconds: u64) {
        let mut file = File::create_new(path(folder, 1)).unwrap();
        file.write_all(&serde_json::to_vec(owner).unwrap()).unwrap();
        let touched = SystemTime::now() - Duration::from_secs(seconds);
        file.set_times(FileTimes::new().set_modified(touched)).unwrap();
    }

    fn elsewhere() -> Owner {
        Owner { machine: "another".into(), host: "node-7".into(), pid: 1 }
    }

    #[test]
    fn a_run_has_one_owner_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("below").join("run");
        let claim = Claim::take(&run).unwrap();
        assert!(claim.is_some() && Claim::is_held(&run));
        assert!(Claim::take(&run).unwrap().is_none());
        drop(claim);
        assert!(!Claim::is_held(&run));
        assert!(Claim::take(&run).unwrap().is_some());
    }

    #[test]
    fn a_claim_of_another_machine_holds_a_minute_after_its_last_beat() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        claim_of(&elsewhere(), &run, 50);
        assert!(Claim::take(&run).unwrap().is_none());
        fs::remove_file(path(&run, 1)).unwrap();
        claim_of(&elsewhere(), &run, 70);
        assert!(Claim::take(&run).unwrap().is_some());
    }

    #[test]
    fn a_beat_makes_an_old_claim_hold() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let claim = Claim::take(&run).unwrap().unwrap();
        let old = SystemTime::now() - Duration::from_secs(70);
        claim.file.set_times(FileTimes::new().set_modified(old)).unwrap();
        assert!(!Claim::is_held(&run));
        claim.beat();
        assert!(Claim::is_held(&run));
    }

    #[test]
    fn a_claim_of_a_process_that_is_gone_is_nobodys() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        claim_of(&Owner { pid: gone.id() as i32, ..Owner::this() }, &run, 0);
        assert!(!Claim::is_held(&run));
        assert!(Claim::take(&run).unwrap().is_some());
    }

    #[test]
    fn what_nobody_holds_is_cleared_and_what_somebody_holds_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        claim_of(&elsewhere(), &run, 50);
        Claim::clear(&run);
        assert_eq!(numbers(&run), [1]);
        fs::remove_file(path(&run, 1)).unwrap();
        claim_of(&elsewhere(), &run, 70);
        Claim::clear(&run);
        assert!(numbers(&run).is_empty());
    }

    #[test]
    fn of_many_that_find_a_claim_expired_one_takes_it() {
        for _ in 0..300 {
            let folder = tempfile::tempdir().unwrap();
            let run = folder.path().join("run");
            claim_of(&elsewhere(), &run, 70);
            let taken = std::thread::scope(|scope| {
                let all: Vec<_> = (0..4).map(|_| scope.spawn(|| Claim::take(&run))).collect();
                all.into_iter()
                    .filter_map(|one| one.join().unwrap().ok().flatten())
                    .collect::<Vec<_>>()
            });
            assert_eq!(taken.len(), 1);
            drop(taken);
            assert!(numbers(&run).is_empty());
        }
    }
}
