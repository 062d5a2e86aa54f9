//! `progress.csv`: a row per logging interval, a column per tag.

use super::Sink;
use crate::failure::Failure;
use crate::run_dir::write_whole;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The column that holds the environment step.
const STEP: &str = "time/total_timesteps";

/// The file. A tag that turns up later becomes a new column, empty in the rows before.
pub struct Progress {
    path: PathBuf,
    columns: Vec<String>,
    rows: Vec<BTreeMap<String, f64>>,
    /// The row being collected, and its step.
    row: BTreeMap<String, f64>,
    file: Option<File>,
}

impl Progress {
    /// The file `progress.csv` in `folder`, made when its first row is.
    pub fn new(folder: &Path) -> Self {
        Self {
            path: folder.join("progress.csv"),
            columns: vec![STEP.to_owned()],
            rows: Vec::new(),
            row: BTreeMap::new(),
            file: None,
        }
    }

    /// Ends the row, if one was begun.
    fn end_row(&mut self) -> Result<(), Failure> {
        if self.row.is_empty() {
            return Ok(());
        }
        let row = std::mem::take(&mut self.row);
        let known = self.columns.len();
        let new = row.keys().filter(|tag| !self.columns.contains(tag)).cloned().collect::<Vec<_>>();
        self.columns.extend(new);
        self.rows.push(row);
        match &mut self.file {
            Some(file) if self.columns.len() == known => {
                let bytes = csv_bytes(&self.columns, self.rows.iter().rev().take(1));
                bytes
                    .and_then(|bytes| file.write_all(&bytes))
                    .map_err(Failure::file("write", &self.path))
            }
            _ => self.rewrite(),
        }
    }

    /// Writes the whole file anew, since its columns changed.
    fn rewrite(&mut self) -> Result<(), Failure> {
        let mut bytes = (self.columns.join(",") + "\n").into_bytes();
        let rows = csv_bytes(&self.columns, self.rows.iter());
        bytes.extend(rows.map_err(Failure::file("write", &self.path))?);
        write_whole(&self.path, &bytes)?;
        let file = OpenOptions::new().append(true).open(&self.path);
        self.file = Some(file.map_err(Failure::file("open", &self.path))?);
        Ok(())
    }
}

fn csv_bytes<'a>(
    columns: &[String],
    rows: impl Iterator<Item = &'a BTreeMap<String, f64>>,
) -> std::io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        let cell = |column: &String| row.get(column).map_or_else(String::new, f64::to_string);
        writer.write_record(columns.iter().map(cell))?;
    }
    writer.into_inner().map_err(std::io::Error::other)
}

impl Sink for Progress {
    fn scalar(&mut self, tag: &str, value: f64, step: u64) -> agents::Result<()> {
        let step = step as f64;
        if self.row.get(STEP).is_some_and(|&begun| begun != step) {
            self.end_row()?;
        }
        self.row.insert(STEP.to_owned(), step);
        self.row.insert(tag.to_owned(), value);
        Ok(())
    }

    fn flush(&mut self) -> agents::Result<()> {
        self.end_row()?;
        match &self.file {
            Some(file) => Ok(file.sync_data().map_err(Failure::file("write", &self.path))?),
            None => Ok(()),
        }
    }
}
