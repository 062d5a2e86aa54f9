//! How long runs take: as runs that are there took, or as a few seconds of training show.

use super::plan::Planned;
use super::state::State;
use crate::commands::manifest;
use crate::commands::pool::lines;
use crate::display;
use crate::failure::Failure;
use crossbeam::channel::RecvTimeoutError;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long learning is watched.
const WATCHED: Duration = Duration::from_secs(3);
/// How long it may take until then.
const PATIENCE: Duration = Duration::from_secs(60);

/// Label and environment: what the seeds of a grid share.
type Column<'a> = (&'a str, &'a str);

/// How fast the runs of a column are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Seconds until learning begins.
    before: f64,
    /// The steps until then.
    steps_before: u64,
    /// Seconds of a step from then on.
    per_step: f64,
}

impl Pace {
    /// How long a run of `steps` steps takes.
    pub fn takes(&self, steps: u64) -> Duration {
        let learning = steps.saturating_sub(self.steps_before);
        let seconds = self.before + learning as f64 * self.per_step;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// As these `(seconds, steps)` tell, the last of which is at least [`WATCHED`] after learning began, if any is.
    fn seen(lines: &[(f64, u64)], learning_starts: u64) -> Option<Self> {
        let begins = lines.iter().find(|(_, steps)| *steps > learning_starts);
        let &(before, steps_before) = begins.or(lines.first())?;
        let &(last, steps) = lines.last()?;
        let per_step = (last - before) / steps.checked_sub(steps_before).filter(|&n| n > 0)? as f64;
        Some(Self { before, steps_before, per_step })
    }
}

/// The pace of each column that has a run to do; none of one that could not be watched.
///
/// # Errors
/// If there is no folder to watch it in.
pub fn of<'a>(all: &[(&'a Planned, State)]) -> Result<HashMap<Column<'a>, Option<Pace>>, Failure> {
    let mut paces = recorded(all);
    for (run, state) in all {
        if !state.is_left() || paces.contains_key(&run.column()) {
            continue;
        }
        let (label, env) = run.column();
        complain!("{label} on {env}: a few seconds of training, to see how long it takes");
        paces.insert(run.column(), watched(run)?);
    }
    Ok(paces)
}

/// That of columns with runs that are there.
fn recorded<'a>(all: &[(&'a Planned, State)]) -> HashMap<Column<'a>, Option<Pace>> {
    let mut sums: HashMap<Column<'a>, (f64, f64)> = HashMap::new();
    for (run, _) in all {
        let record = manifest::read(&run.job.folder);
        let record = record.filter(|record| record.steps > 0 && record.seconds > 0.0);
        if let Some(record) = record {
            let sum = sums.entry(run.column()).or_default();
            *sum = (sum.0 + record.seconds, sum.1 + record.steps as f64);
        }
    }
    let pace = |(seconds, steps): (f64, f64)| Pace {
        before: 0.0,
        steps_before: 0,
        per_step: seconds / steps,
    };
    sums.into_iter().map(|(column, sums)| (column, Some(pace(sums)))).collect()
}

/// That of a run, which is begun in another folder and broken off.
fn watched(run: &Planned) -> Result<Option<Pace>, Failure> {
    bridge::initialize()?;
    bridge::handle_interrupts()?;
    let unable = |error| Failure::file("use", &std::env::temp_dir())(error);
    let folder = tempfile::tempdir().map_err(unable)?;
    let program = bridge::program()?;
    let Some((program, before)) = program.split_first() else { return Ok(None) };
    let steps = run.job.config.run.n_timesteps;
    let mut child = Command::new(program)
        .args(before)
        .args(&run.words)
        // The last of several counts.
        .arg("--out")
        .arg(folder.path())
        .args(["--eval-freq", &steps.to_string(), "--checkpoint-freq", "0"])
        .args(["--report", &run.job.seed.to_string()])
        .args(["--parent", &std::process::id().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(unable)?;
    // An environment may be silent for ever.
    let (ended, waits) = crossbeam::channel::bounded::<()>(1);
    let pid = Pid::from_raw(child.id() as i32);
    let watch = std::thread::spawn(move || {
        if waits.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
        }
    });
    let settings = &run.job.config.prepared.settings;
    let learning_starts = settings.get("learning_starts").and_then(Value::as_u64).unwrap_or(0);
    let start = Instant::now();
    let mut seen: Vec<(f64, u64)> = Vec::new();
    let mut learns = None;
    for line in lines(child.stdout.take()) {
        let Some((at, _)) = display::reported(&line) else { continue };
        seen.push((start.elapsed().as_secs_f64(), at));
        learns = learns.or((at > learning_starts).then(Instant::now));
        if learns.is_some_and(|learns| learns.elapsed() > WATCHED) {
            break;
        }
    }
    drop(ended);
    let _ = watch.join();
    let _ = child.kill();
    let ended = child.wait().map_err(unable)?;
    bridge::check_signals()?;
    if ended.success() {
        seen.push((start.elapsed().as_secs_f64(), steps));
    }
    Ok(Pace::seen(&seen, learning_starts).or_else(|| {
        let whole =
            Pace { before: start.elapsed().as_secs_f64(), steps_before: steps, per_step: 0.0 };
        ended.success().then_some(whole)
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_run_takes_its_time_before_it_learns_and_a_rate_after() {
        // 1,000 steps in the first two seconds, then 100 a second.
        let lines = [(1.0, 500), (2.0, 1_000), (3.0, 1_100), (5.0, 1_300)];
        let pace = Pace::seen(&lines, 999).unwrap();
        assert_eq!(pace.takes(11_000), Duration::from_secs(102));
    }

    #[test]
    fn a_time_that_cannot_be_is_the_longest_there_is() {
        for per_step in [-1.0, 1e300, f64::NAN] {
            let pace = Pace { before: 0.0, steps_before: 0, per_step };
            assert_eq!(pace.takes(10), Duration::MAX);
        }
    }

    #[test]
    fn one_line_tells_no_rate() {
        assert_eq!(Pace::seen(&[(1.0, 500)], 0), None);
        assert_eq!(Pace::seen(&[], 0), None);
    }
}
