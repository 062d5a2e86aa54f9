//! Python programs that do a part of a command: they read JSON, and their last line on standard error says what is wrong.

use super::pool::pass_on;
use crate::failure::Failure;
use rustix::process::Pid;
use serde_json::Value;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};

/// What a program begins with: a file in the working folder stands in for no module.
const ALONE: &str = "import sys; sys.path[:] = filter(None, sys.path)\n";

/// The program that is a module of Python's.
pub fn module(name: &str) -> String {
    format!("import runpy; runpy.run_module('{name}', run_name='__main__', alter_sys=True)")
}

/// Python with a program, which signals to this process are passed on to.
pub fn spawn(program: &str, prepare: impl FnOnce(&mut Command)) -> Result<Child, Failure> {
    bridge::initialize()?;
    let python = bridge::python()?;
    let mut command = Command::new(&python);
    command.arg("-c").arg(format!("{ALONE}{program}")).process_group(0);
    prepare(&mut command);
    let child = command.spawn().map_err(Failure::file("run", &python))?;
    let pid = Pid::from_raw(child.id() as i32);
    bridge::relay_signals(move |signal| {
        pid.into_iter().for_each(|pid| pass_on(signal, pid));
    })?;
    Ok(child)
}

/// One that is running. Signals that would end this process are passed on to it.
pub struct Script {
    child: Child,
    messages: File,
}

impl Script {
    /// Starts a program with these words; it reads `input`.
    pub fn start(
        program: &str,
        words: &[&str],
        input: &Value,
        out: Stdio,
    ) -> Result<Self, Failure> {
        let unable = |error| Failure::file("use", &std::env::temp_dir())(error);
        let messages = tempfile::tempfile().map_err(unable)?;
        let errors = messages.try_clone().map_err(unable)?;
        let mut child = spawn(program, |command| {
            command.args(words).stdin(Stdio::piped()).stdout(out).stderr(errors);
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
