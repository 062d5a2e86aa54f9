//! `progress.csv`: a row per logging interval, a column per tag.

use super::Sink;
use super::append::AppendFile;
use crate::failure::Failure;
use crate::run_dir::{remove, write_whole};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The column that holds the environment step.
const STEP: &str = "time/total_timesteps";

/// The file. A tag that turns up later becomes a new column, empty in the rows before.
pub struct Progress {
    path: PathBuf,
    table: Saved,
    file: Option<AppendFile>,
}

/// What the file holds, and the row that is being collected.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Saved {
    columns: Vec<String>,
    /// Shorter than `columns` where those behind came later.
    rows: Vec<Vec<Option<f64>>>,
    row: BTreeMap<String, f64>,
}

impl Progress {
    /// The file `progress.csv` in `folder`, made when its first row is, or as `saved`.
    pub fn open(folder: &Path, saved: Option<Saved>) -> Result<Self, Failure> {
        let fresh =
            || Saved { columns: vec![STEP.to_owned()], rows: Vec::new(), row: BTreeMap::new() };
        let path = folder.join("progress.csv");
        let mut progress = Self { path, table: saved.unwrap_or_else(fresh), file: None };
        if progress.table.rows.is_empty() {
            remove(&progress.path)?;
        } else {
            progress.rewrite()?;
        }
        Ok(progress)
    }

    /// What was recorded is safe afterwards. Returns all of it.
    pub fn save(&mut self) -> Result<Saved, Failure> {
        if let Some(file) = &self.file {
            file.sync()?;
        }
        Ok(self.table.clone())
    }

    /// Ends the row, if one was begun.
    fn end_row(&mut self) -> Result<(), Failure> {
        let Saved { columns, rows, row } = &mut self.table;
        if row.is_empty() {
            return Ok(());
        }
        let mut row = std::mem::take(row);
        let mut cells: Vec<_> = columns.iter().map(|tag| row.remove(tag)).collect();
        let widens = !row.is_empty();
        for (tag, value) in row {
            columns.push(tag);
            cells.push(Some(value));
        }
        rows.push(cells);
        match &mut self.file {
            Some(file) if !widens => {
                let bytes = csv_bytes(columns.len(), rows.last().into_iter());
                file.append(&bytes.map_err(Failure::file("write", &self.path))?)
            }
            _ => self.rewrite(),
        }
    }

    /// Writes the whole file anew, since its columns changed.
    fn rewrite(&mut self) -> Result<(), Failure> {
        let Saved { columns, rows, .. } = &self.table;
        let mut bytes = (columns.join(",") + "\n").into_bytes();
        let rows = csv_bytes(columns.len(), rows.iter());
        bytes.extend(rows.map_err(Failure::file("write", &self.path))?);
        write_whole(&self.path, &bytes)?;
        self.file = Some(AppendFile::cut(&self.path, bytes.len() as u64)?);
        Ok(())
    }
}

fn csv_bytes<'a>(
    columns: usize,
    rows: impl Iterator<Item = &'a Vec<Option<f64>>>,
) -> std::io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        let value = |i: usize| row.get(i).copied().flatten();
        let cell = |i| value(i).map_or_else(String::new, |x: f64| x.to_string());
        writer.write_record((0..columns).map(cell))?;
    }
    writer.into_inner().map_err(std::io::Error::other)
}

impl Sink for Progress {
    fn scalar(&mut self, tag: &str, value: f64, step: u64) -> Result<(), Failure> {
        let step = step as f64;
        if self.table.row.get(STEP).is_some_and(|&begun| begun != step) {
            self.end_row()?;
        }
        self.table.row.insert(STEP.to_owned(), step);
        self.table.row.insert(tag.to_owned(), value);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.end_row()?;
        self.file.as_ref().map_or(Ok(()), |file| file.sync().map(drop))
    }
}
