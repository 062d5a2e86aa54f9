//! What schedulers run: each task is one run of a copy of the grid, by its number in the plan.

use super::plan::Planned;
use super::state::{State, states};
use crate::config::grid::GridFile;
use crate::failure::Failure;
use crate::run_dir::absolute;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The copy of the grid: what a task does must not change while it waits.
pub const GRID: &str = "grid.yml";

/// What is to be trained.
pub struct Grid<'a> {
    /// The grid.
    pub file: &'a GridFile,
    /// Every run of it.
    pub all: &'a [Planned],
    /// The folders of those that jobs of a scheduler are to train.
    pub queued: &'a HashSet<PathBuf>,
    /// Where runs go.
    pub out: &'a Path,
    /// How many at a time; none for as many as there is room for.
    pub jobs: Option<u64>,
    /// How often a run that failed is tried again.
    pub retries: u32,
    /// Nothing is said.
    pub quiet: bool,
}

impl Grid<'_> {
    /// The numbers of the runs whose state `is_wanted`.
    pub fn numbers(&self, is_wanted: fn(&State) -> bool) -> Vec<usize> {
        let states = states(self.all, self.queued);
        let wanted = states.iter().enumerate().filter(|(_, (_, state))| is_wanted(state));
        wanted.map(|(number, _)| number).collect()
    }

    /// The threads of a run.
    pub fn threads(&self) -> u16 {
        self.all.iter().map(|run| run.job.threads).max().unwrap_or(1)
    }
}

/// What tasks need.
pub struct Tasks {
    /// A folder of their own, with the grid.
    pub folder: PathBuf,
    /// What trains a run, but for its number.
    pub command: Vec<OsString>,
}

impl Tasks {
    /// Copies the grid to `<out>/<name>/<place>/<number>/`.
    pub fn prepare(grid: &Grid<'_>, place: &str) -> Result<Self, Failure> {
        let folder = new_folder(&folder(grid.file, grid.out, place)?)?;
        let copy = folder.join(GRID);
        fs::copy(grid.file.path(), &copy).map_err(Failure::file("write", &copy))?;
        let mut command = bridge::program()?;
        command.extend(["sweep".into(), copy.into()]);
        command.extend(["--out".into(), absolute(grid.out)?.into()]);
        command.extend(["--retries".into(), grid.retries.to_string().into(), "--only".into()]);
        Ok(Self { folder, command })
    }
}

/// The folder of all that was given to a scheduler.
pub fn folder(file: &GridFile, out: &Path, place: &str) -> Result<PathBuf, Failure> {
    absolute(&out.join(&file.grid.name).join(place))
}

/// A new folder below `folder`, with a number for its name.
fn new_folder(folder: &Path) -> Result<PathBuf, Failure> {
    fs::create_dir_all(folder).map_err(Failure::file("create", folder))?;
    let mut number = 1_u64;
    loop {
        let path = folder.join(number.to_string());
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(Failure::file("create", &path)(error)),
        }
    }
}
