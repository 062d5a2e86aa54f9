//! TensorBoard events: the only file that names `tensorboard-rs`.
//!
//! The crate's own writer thread panics on I/O errors, so its record format is written from here, where
//! an error is a value.

use super::Sink;
use super::append::AppendFile;
use crate::failure::Failure;
use protobuf::Message as _;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::time::SystemTime;
use tensorboard_proto::event::Event;
use tensorboard_rs::record_writer::RecordWriter;
use tensorboard_rs::summary;

/// What the name of each event file starts with; the second of its start and the process follow.
const NAME: &str = "events.out.tfevents.";

/// The event file of this process in a run's folder. Each scalar is in the file as soon as it is recorded.
pub struct TensorBoard {
    /// Those of the processes before, as they were at the checkpoint that this one goes on from.
    earlier: Saved,
    name: String,
    file: AppendFile,
}

/// Event files, and how long each is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Saved(Vec<(String, u64)>);

impl Saved {
    /// Name and length of each file. A name that is no event file's of this folder is left out.
    pub fn files(&self) -> impl Iterator<Item = (String, u64)> {
        let ours = |name: &str| name.starts_with(NAME) && !name.contains('/');
        self.0.iter().filter(move |(name, _)| ours(name)).cloned()
    }
}

impl TensorBoard {
    /// Starts an event file in `folder`, behind those of `saved`; others are of no checkpoint and go.
    pub fn open(folder: &Path, saved: Option<Saved>) -> Result<Self, Failure> {
        let earlier = saved.unwrap_or_default();
        for (name, len) in earlier.files() {
            AppendFile::cut(&folder.join(name), len)?;
        }
        for entry in fs::read_dir(folder).map_err(Failure::file("read", folder))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(NAME) && !earlier.0.iter().any(|(known, _)| *known == name) {
                fs::remove_file(entry.path()).map_err(Failure::file("remove", &entry.path()))?;
            }
        }
        // TensorBoard reads files in the order of their names.
        let second = |(name, _): &(String, u64)| name.strip_prefix(NAME)?.get(..10)?.parse().ok();
        let last = earlier.0.iter().filter_map(second).max().unwrap_or(0u64);
        let second = (now() as u64).max(last + 1);
        let name = format!("{NAME}{second:010}.{}.0", std::process::id());
        let file = AppendFile::create(&folder.join(&name))?;
        let mut sink = Self { earlier, name, file };
        let mut event = Event::new();
        event.set_file_version("brain.Event:2".to_owned());
        sink.write(event)?;
        Ok(sink)
    }

    /// What was recorded is safe afterwards. Returns where it ends.
    pub fn save(&mut self) -> Result<Saved, Failure> {
        let mut saved = self.earlier.clone();
        saved.0.push((self.name.clone(), self.file.sync()?));
        Ok(saved)
    }

    fn write(&mut self, mut event: Event) -> Result<(), Failure> {
        event.set_wall_time(now());
        let mut record = Vec::new();
        let written = event
            .write_to_bytes()
            .map_err(std::io::Error::other)
            .and_then(|bytes| RecordWriter::new(&mut record).write(&bytes));
        written.map_err(Failure::file("write", Path::new(&self.name)))?;
        self.file.append(&record)
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |time| time.as_secs_f64())
}

impl Sink for TensorBoard {
    fn scalar(&mut self, tag: &str, value: f64, step: u64) -> Result<(), Failure> {
        let mut event = Event::new();
        event.set_step(step as i64);
        event.set_summary(summary::scalar(tag, value as f32));
        self.write(event)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.file.sync().map(drop)
    }
}
