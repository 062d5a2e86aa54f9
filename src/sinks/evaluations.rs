//! `evaluations.npz`, in the format of Stable-Baselines3's `EvalCallback`.

use crate::failure::Failure;
use crate::run_dir::write_whole;
use agents::train::Evaluation;
use ndarray::{Array1, Array2};
use ndarray_npy::NpzWriter;
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// All evaluations so far; the file is written anew with each.
pub struct Evaluations {
    path: PathBuf,
    episodes: usize,
    timesteps: Vec<i64>,
    returns: Vec<f64>,
    lengths: Vec<i64>,
}

impl Evaluations {
    /// The file `evaluations.npz` in `folder`, made at the first evaluation of `episodes` episodes.
    pub fn new(folder: &Path, episodes: usize) -> Self {
        Self {
            path: folder.join("evaluations.npz"),
            episodes,
            timesteps: Vec::new(),
            returns: Vec::new(),
            lengths: Vec::new(),
        }
    }

    /// Adds the evaluation after `steps` environment steps.
    pub fn add(&mut self, steps: u64, evaluation: &Evaluation) -> Result<(), Failure> {
        self.timesteps.push(steps as i64);
        self.returns.extend(&evaluation.returns);
        self.lengths.extend(evaluation.lengths.iter().map(|&length| length as i64));
        let bytes = self.npz().map_err(Failure::file("write", &self.path))?;
        write_whole(&self.path, &bytes)
    }

    /// `timesteps (n,)`, `results (n, episodes)`, `ep_lengths (n, episodes)`
    fn npz(&self) -> std::io::Result<Vec<u8>> {
        use std::io::Error;
        let shape = (self.timesteps.len(), self.episodes);
        let results = Array2::from_shape_vec(shape, self.returns.clone()).map_err(Error::other)?;
        let lengths = Array2::from_shape_vec(shape, self.lengths.clone()).map_err(Error::other)?;
        let mut npz = NpzWriter::new(Cursor::new(Vec::new()));
        npz.add_array("timesteps", &Array1::from_vec(self.timesteps.clone()))
            .and_then(|()| npz.add_array("results", &results))
            .and_then(|()| npz.add_array("ep_lengths", &lengths))
            .and_then(|()| npz.finish())
            .map(Cursor::into_inner)
            .map_err(Error::other)
    }
}
