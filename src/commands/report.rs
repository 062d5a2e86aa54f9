//! `stac-bench report`: Python reads the runs, and does the numbers and the pictures.

use super::script;
use crate::cli::ReportArgs;
use crate::failure::Failure;
use std::ffi::OsString;

/// Has Python do it. Without the packages for that, the module itself says what is missing.
const PROGRAM: &str = "
import runpy
try:
    runpy.run_module('stac_bench.report', run_name='__main__', alter_sys=True)
except ModuleNotFoundError as error:
    sys.exit(f'error: {error}')
";

/// Writes the report of the runs in some folders.
///
/// # Errors
/// [`Failure::Report`] with the module's exit status: it has said why.
pub fn run(arguments: &ReportArgs) -> Result<(), Failure> {
    let mut child = script::spawn(PROGRAM, |command| {
        command.args(words(arguments));
    })?;
    let status = child.wait().map_err(|_| Failure::Report(1))?;
    bridge::check_signals()?;
    match status.code() {
        Some(0) => Ok(()),
        code => Err(Failure::Report(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))),
    }
}

fn words(arguments: &ReportArgs) -> Vec<OsString> {
    let ReportArgs { folders, out, baseline, every_seed, unfinished, quiet } = arguments;
    let mut words = Vec::new();
    words.extend(out.iter().flat_map(|out| ["--out".into(), out.clone().into_os_string()]));
    words.extend(baseline.iter().flat_map(|name| ["--baseline".into(), name.into()]));
    for (given, option) in
        [(every_seed, "--every-seed"), (unfinished, "--unfinished"), (quiet, "--quiet")]
    {
        words.extend(given.then(|| option.into()));
    }
    words.push("--".into());
    words.extend(folders.iter().map(|folder| folder.clone().into_os_string()));
    words
}
