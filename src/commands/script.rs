//! Python programs that do a part of a command: they read JSON, and their last line on standard error says what is wrong.

use crate::failure::Failure;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use signal_hook::consts::SIGINT;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Python, which looks for modules in its own places alone: a file in the working folder stands in for nothing.
pub fn command(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.env("PYTHONSAFEPATH", "1");
    command
}

/// One that is running. Signals that would end this process are passed on to it.
pub struct Script {
    child: Child,
    messages: File,
}

impl Script {
    /// Starts Python with these words; the program reads `input`.
    pub fn start(words: &[&str], input: &Value, out: Stdio) -> Result<Self, Failure> {
        bridge::initialize()?;
        let python = bridge::python()?;
        let unable = |error: std::io::Error| Failure::file("run", &python)(error);
        let messages = tempfile::tempfile().map_err(unable)?;
        let mut child = command(&python)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(messages.try_clone().map_err(unable)?)
            .process_group(0)
            .spawn()
            .map_err(unable)?;
        let pid = Pid::from_raw(child.id() as i32);
        bridge::relay_signals(move |signal| {
            let signal = if signal == SIGINT { Signal::INT } else { Signal::TERM };
            let _ = pid.map(|pid| kill_process(pid, signal));
        })?;
        if let Some(mut stdin) = child.stdin.take() {
            // It may have ended at once; its message says why.
            let _ = stdin.write_all(input.to_string().as_bytes());
        }
        Ok(Self { child, messages })
    }

    /// Its standard output, if that is a pipe.
    pub fn out(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// That of a signal to this process, and what `failed` makes of the program's last line.
    pub fn end(mut self, failed: impl Fn(String) -> Failure) -> Result<(), Failure> {
        let status = self.child.wait().map_err(|error| failed(error.to_string()))?;
        bridge::check_signals()?;
        if status.success() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let read = self.messages.rewind().and_then(|()| self.messages.read_to_end(&mut bytes));
        read.map_err(|error| failed(error.to_string()))?;
        let text = String::from_utf8_lossy(&bytes);
        let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
        Err(failed(last.map_or_else(|| status.to_string(), str::to_owned)))
    }
}
