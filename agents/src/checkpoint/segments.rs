//! A replay memory on disk: files of so many rows each, which grow at their end alone.

use super::manifest::{Rows, Segment, hex};
use super::synced::{at, sync_folder};
use crate::error::{Error, Result};
use crate::files;
use crate::memory::Replay;
use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

/// Into how many files a full memory is split: what one file has too much is the price of never
/// rewriting a row.
const FILES: usize = 64;
/// A file has at least so many rows, since each one costs a call that waits for the disk.
const ROWS: usize = 64;

/// The files of one memory, and how far they are written.
pub(super) struct Segments {
    folder: PathBuf,
    list: Vec<Segment>,
    /// Of the last one, which grows.
    hash: Xxh3,
}

impl Segments {
    /// Nothing is written yet.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, list: Vec::new(), hash: Xxh3::new() }
    }

    /// Writes the rows of `replay` that are not on disk yet. Returns what holds all of it.
    pub(super) fn append(&mut self, replay: &Replay) -> Result<Rows> {
        if !self.folder.is_dir() {
            fs::create_dir(&self.folder).map_err(at(&self.folder))?;
        }
        let held = replay.pushed() - replay.len() as u64..replay.pushed();
        let rows = replay.capacity().div_ceil(FILES).max(ROWS) as u64;
        let mut next = self.list.last().map_or(held.start, Segment::end).max(held.start);
        let mut bytes = Vec::new();
        while next < held.end {
            let grows = |last: &Segment| last.end() == next && last.rows < rows;
            if !self.list.last().is_some_and(grows) {
                self.list.push(Segment { first: next, rows: 0, xxh3: String::new() });
                self.hash = Xxh3::new();
            }
            let Some(last) = self.list.last_mut() else { break };
            let end = (last.first + rows).min(held.end);
            bytes.clear();
            replay.write_rows(next..end, &mut bytes);
            let path = path(&self.folder, last.first);
            write_at(&path, last.rows * replay.row_bytes() as u64, &bytes).map_err(at(&path))?;
            self.hash.update(&bytes);
            (last.rows, last.xxh3) = (end - last.first, hex(self.hash.digest()));
            next = end;
        }
        sync_folder(&self.folder)?;
        self.list.retain(|segment| segment.end() > held.start);
        Ok(Rows { row_bytes: replay.row_bytes(), segments: self.list.clone() })
    }

    /// Puts the rows into `replay`, an empty memory, and goes on from there. What `replay` held before
    /// is gone in any case.
    pub(super) fn read(&mut self, rows: &Rows, replay: &mut Replay) -> Result<()> {
        replay.clear();
        let Rows { row_bytes, segments } = rows;
        let mut hash = Xxh3::new();
        for segment in segments {
            let path = path(&self.folder, segment.first);
            let damaged =
                |reason: &str| Error::Checkpoint { path: path.clone(), reason: reason.to_owned() };
            if !replay.reads_rows_of(*row_bytes) {
                return Err(damaged("its rows are of other observations or actions"));
            }
            let len = segment.rows.saturating_mul(*row_bytes as u64);
            let bytes = files::start(&path, len).map_err(at(&path))?;
            hash = Xxh3::new();
            hash.update(&bytes);
            if bytes.len() as u64 != len || hex(hash.digest()) != segment.xxh3 {
                return Err(damaged("it has changed since it was written"));
            }
            replay.read_rows(&bytes);
        }
        (self.list, self.hash) = (segments.clone(), hash);
        Ok(())
    }

    /// Removes the files that none of `kept` needs.
    pub(super) fn prune(&self, kept: &[Rows]) -> Result<()> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Ok(()) };
        let needed = |name: &str| {
            let mut segments = kept.iter().flat_map(|rows| &rows.segments);
            segments.any(|segment| file_name(segment.first) == name)
        };
        for entry in entries {
            let entry = entry.map_err(at(&self.folder))?;
            if !needed(&entry.file_name().to_string_lossy()) {
                fs::remove_file(entry.path()).map_err(at(&entry.path()))?;
            }
        }
        Ok(())
    }
}

impl Segment {
    /// The number of the row after its last.
    fn end(&self) -> u64 {
        self.first.saturating_add(self.rows)
    }
}

fn file_name(first: u64) -> String {
    format!("{first}.bin")
}

fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(file_name(first))
}

/// Writes `bytes` behind the first `len` bytes of a file, in place of what follows there.
fn write_at(path: &Path, len: u64, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    file.set_len(len)?;
    file.seek(SeekFrom::Start(len))?;
    file.write_all(bytes)?;
    file.sync_data()
}
