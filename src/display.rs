//! What a run shows on the terminal.

use crate::score::Score;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How a run shows its progress.
pub enum Display {
    /// A bar, on a terminal.
    Bar(ProgressBar),
    /// One line per evaluation, elsewhere.
    Lines,
    /// Lines `steps return` on standard output, a few times a second, for the parent process.
    Report {
        /// When the last line was written.
        last: Instant,
        /// The return of the last episode.
        last_return: f64,
    },
    /// Nothing.
    Quiet,
}

/// The template of a bar; `{msg}` is the last return.
const TEMPLATE: &str = "{prefix}{bar:30} {human_pos}/{human_len} steps  {speed}  {eta} left  {msg}";

/// A bar of `steps` steps called `prefix`.
pub fn bar(steps: u64, prefix: String) -> ProgressBar {
    let style = ProgressStyle::with_template(TEMPLATE);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let speed = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = write!(out, "{:.0} steps/s", state.per_sec());
    };
    ProgressBar::new(steps).with_prefix(prefix).with_style(style.with_key("speed", speed))
}

/// Steps and return, from a line of a process whose display is [`Display::Report`].
pub fn reported(line: &str) -> Option<(u64, f64)> {
    let (steps, last_return) = line.split_once(' ')?;
    Some((steps.parse().ok()?, last_return.parse().ok()?))
}

/// How the return of an episode is shown.
pub fn message(last_return: f64) -> String {
    format!("return {last_return:.1}")
}

impl Display {
    /// A bar on a terminal, lines elsewhere, unless `quiet` or `report` is set.
    pub fn new(steps: u64, quiet: bool, report: bool) -> Self {
        if report {
            Self::Report { last: Instant::now(), last_return: f64::NAN }
        } else if quiet {
            Self::Quiet
        } else if std::io::stderr().is_terminal() {
            let bar = bar(steps, String::new());
            bar.enable_steady_tick(Duration::from_millis(200));
            Self::Bar(bar)
        } else {
            Self::Lines
        }
    }

    /// After each step.
    pub fn step(&mut self, steps: u64, ended: Option<f64>) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(steps);
                if let Some(last_return) = ended {
                    bar.set_message(message(last_return));
                }
            }
            Self::Report { last, last_return } => {
                *last_return = ended.unwrap_or(*last_return);
                if last.elapsed() > Duration::from_millis(200) {
                    *last = Instant::now();
                    say!("{steps} {last_return}");
                }
            }
            Self::Lines | Self::Quiet => {}
        }
    }

    /// After each evaluation.
    pub fn evaluated(&self, score: &Score) {
        let Score { steps, mean, std } = score;
        let line = format!("step {steps}: evaluation {mean:.1} ± {std:.1}");
        match self {
            Self::Bar(bar) => bar.println(line),
            Self::Lines => complain!("{line}"),
            Self::Report { .. } | Self::Quiet => {}
        }
    }

    /// After the last step.
    pub fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Prints the command that shows the runs in `out` in TensorBoard.
pub fn say_where_to_look(out: &Path) {
    say!("{} --logdir {}", tensorboard().display(), out.display());
}

/// The name of TensorBoard if it is on the PATH, else its path in the environment that set-up made.
fn tensorboard() -> PathBuf {
    let name = "tensorboard";
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path);
    let installed = match folders.any(|folder| folder.join(name).is_file()) {
        true => None,
        false => bridge::installed(name),
    };
    installed.unwrap_or_else(|| name.into())
}
