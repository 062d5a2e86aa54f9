//! TensorBoard events: the only file that names `tensorboard-rs`.
//!
//! The crate's own writer thread panics on I/O errors, so its record format is written from here, where
//! an error is a value.

use super::Sink;
use crate::failure::Failure;
use protobuf::Message as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tensorboard_proto::event::Event;
use tensorboard_rs::record_writer::RecordWriter;
use tensorboard_rs::summary;

/// An event file in a run's folder. Each scalar is in the file as soon as it is recorded.
pub struct TensorBoard {
    path: PathBuf,
    writer: RecordWriter<File>,
}

impl TensorBoard {
    /// Starts an event file in `folder`.
    pub fn create(folder: &Path) -> Result<Self, Failure> {
        let name = format!("events.out.tfevents.{:010}.{}.0", now() as u64, std::process::id());
        let path = folder.join(name);
        let file = File::create_new(&path).map_err(Failure::file("create", &path))?;
        let mut sink = Self { path, writer: RecordWriter::new(file) };
        let mut event = Event::new();
        event.set_file_version("brain.Event:2".to_owned());
        sink.write(event)?;
        Ok(sink)
    }

    fn write(&mut self, mut event: Event) -> Result<(), Failure> {
        event.set_wall_time(now());
        let written = event
            .write_to_bytes()
            .map_err(std::io::Error::other)
            .and_then(|bytes| self.writer.write(&bytes));
        written.map_err(Failure::file("write", &self.path))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |time| time.as_secs_f64())
}

impl Sink for TensorBoard {
    fn scalar(&mut self, tag: &str, value: f64, step: u64) -> agents::Result<()> {
        let mut event = Event::new();
        event.set_step(step as i64);
        event.set_summary(summary::scalar(tag, value as f32));
        Ok(self.write(event)?)
    }

    fn flush(&mut self) -> agents::Result<()> {
        Ok(self.writer.flush().map_err(Failure::file("write", &self.path))?)
    }
}
