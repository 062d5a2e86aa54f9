//! `evaluations.npz`, in the format of Stable-Baselines3's `EvalCallback`.

use crate::failure::Failure;
use crate::run_dir::{remove, write_whole};
use agents::train::Evaluation;
use ndarray::{Array1, Array2};
use ndarray_npy::NpzWriter;
use serde::{Deserialize, Serialize};
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// All evaluations so far; the file is written anew with each.
pub struct Evaluations {
    path: PathBuf,
    episodes: usize,
    table: Saved,
}

/// What the file holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Saved {
    timesteps: Vec<i64>,
    returns: Vec<f64>,
    lengths: Vec<i64>,
}

impl Evaluations {
    /// The file `evaluations.npz` in `folder`, made at the first evaluation of `episodes` episodes, or
    /// as `saved`.
    pub fn open(folder: &Path, episodes: usize, saved: Option<Saved>) -> Result<Self, Failure> {
        let path = folder.join("evaluations.npz");
        let evaluations = Self { path, episodes, table: saved.unwrap_or_default() };
        if evaluations.table.timesteps.is_empty() {
            remove(&evaluations.path)?;
        } else {
            evaluations.write()?;
        }
        Ok(evaluations)
    }

    /// Adds the evaluation after `steps` environment steps.
    pub fn add(&mut self, steps: u64, evaluation: &Evaluation) -> Result<(), Failure> {
        self.table.timesteps.push(steps as i64);
        self.table.returns.extend(&evaluation.returns);
        self.table.lengths.extend(evaluation.lengths.iter().map(|&length| length as i64));
        self.write()
    }

    /// All of it.
    pub fn save(&self) -> Saved {
        self.table.clone()
    }

    fn write(&self) -> Result<(), Failure> {
        let bytes = self.npz().map_err(Failure::file("write", &self.path))?;
        write_whole(&self.path, &bytes)
    }

    /// `timesteps (n,)`, `results (n, episodes)`, `ep_lengths (n, episodes)`
    fn npz(&self) -> std::io::Result<Vec<u8>> {
        use std::io::Error;
        let Saved { timesteps, returns, lengths } = self.table.clone();
        let shape = (timesteps.len(), self.episodes);
        let results = Array2::from_shape_vec(shape, returns).map_err(Error::other)?;
        let lengths = Array2::from_shape_vec(shape, lengths).map_err(Error::other)?;
        let mut npz = NpzWriter::new(Cursor::new(Vec::new()));
        npz.add_array("timesteps", &Array1::from_vec(timesteps))
            .and_then(|()| npz.add_array("results", &results))
            .and_then(|()| npz.add_array("ep_lengths", &lengths))
            .and_then(|()| npz.finish())
            .map(Cursor::into_inner)
            .map_err(Error::other)
    }
}
