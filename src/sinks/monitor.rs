//! `<i>.monitor.csv`: training episodes, in the format of Stable-Baselines3's `Monitor`.

use super::append::AppendFile;
use crate::failure::Failure;
use agents::train::Episode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// One file per environment, and its rows that are not written yet.
pub struct Monitor {
    files: Vec<(AppendFile, String)>,
}

/// How long each file is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Saved(Vec<u64>);

impl Saved {
    /// Name and length of each file.
    pub fn files(&self) -> impl Iterator<Item = (String, u64)> {
        self.0.iter().enumerate().map(|(i, &len)| (name(i), len))
    }
}

fn name(i: usize) -> String {
    format!("{i}.monitor.csv")
}

impl Monitor {
    /// Files for `n` environments `env` in `folder`: new ones, or those that go on as `saved`.
    pub fn open(folder: &Path, env: &str, n: usize, saved: Option<Saved>) -> Result<Self, Failure> {
        let files: Result<Vec<AppendFile>, Failure> = match saved {
            Some(saved) => {
                saved.files().map(|(name, len)| AppendFile::cut(&folder.join(name), len)).collect()
            }
            None => (0..n).map(|i| create(folder.join(name(i)), env)).collect(),
        };
        Ok(Self { files: files?.into_iter().map(|file| (file, String::new())).collect() })
    }

    /// Adds an episode that ended after `seconds` of training.
    pub fn episode(&mut self, episode: &Episode, seconds: f64) {
        if let Some((_, rows)) = self.files.get_mut(episode.env) {
            rows.push_str(&format!("{},{},{seconds:.6}\n", episode.total_reward, episode.length));
        }
    }

    /// What was added is safe afterwards. Returns where it ends.
    pub fn flush(&mut self) -> Result<Saved, Failure> {
        let flush = |(file, rows): &mut (AppendFile, String)| {
            file.append(std::mem::take(rows).as_bytes())?;
            file.sync()
        };
        self.files.iter_mut().map(flush).collect::<Result<_, _>>().map(Saved)
    }
}

fn create(path: PathBuf, env: &str) -> Result<AppendFile, Failure> {
    let t_start = SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |time| time.as_secs_f64());
    let header = json!({ "t_start": t_start, "env_id": env });
    let mut file = AppendFile::create(&path)?;
    file.append(format!("#{header}\nr,l,t\n").as_bytes())?;
    Ok(file)
}
