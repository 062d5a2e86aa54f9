//! `<i>.monitor.csv`: training episodes, in the format of Stable-Baselines3's `Monitor`.

use crate::failure::Failure;
use agents::train::Episode;
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

/// One file per environment.
pub struct Monitor {
    files: Vec<(PathBuf, BufWriter<File>)>,
    start: Instant,
}

impl Monitor {
    /// Files for `n` environments `env` in `folder`.
    pub fn create(folder: &Path, env: &str, n: usize) -> Result<Self, Failure> {
        let t_start = SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |time| time.as_secs_f64());
        let header = json!({ "t_start": t_start, "env_id": env });
        let create = |i: usize| {
            let path = folder.join(format!("{i}.monitor.csv"));
            let write = || {
                let mut file = BufWriter::new(File::create_new(&path)?);
                writeln!(file, "#{header}\nr,l,t")?;
                file.flush()?;
                Ok(file)
            };
            let file = write().map_err(Failure::file("create", &path))?;
            Ok((path, file))
        };
        Ok(Self {
            files: (0..n).map(create).collect::<Result<_, Failure>>()?,
            start: Instant::now(),
        })
    }

    /// Adds an episode: return, length, seconds since the start.
    pub fn episode(&mut self, episode: &Episode) -> Result<(), Failure> {
        let Some((path, file)) = self.files.get_mut(episode.env) else { return Ok(()) };
        let t = self.start.elapsed().as_secs_f64();
        writeln!(file, "{},{},{t:.6}", episode.total_reward, episode.length)
            .map_err(Failure::file("write", path))
    }

    /// What was added is safe afterwards.
    pub fn flush(&mut self) -> Result<(), Failure> {
        for (path, file) in &mut self.files {
            let flushed = file.flush().and_then(|()| file.get_ref().sync_data());
            flushed.map_err(Failure::file("write", path))?;
        }
        Ok(())
    }
}
