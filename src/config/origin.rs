//! Where settings come from.

use std::fmt;
use std::path::PathBuf;

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A default, or a file compiled into the program.
    BuiltIn(String),
    /// A file and a line in it.
    File(PathBuf, Option<usize>),
    /// `--set`
    Set,
    /// An option of the command line.
    Option(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(name) => write!(f, "built-in {name}"),
            Self::File(path, Some(line)) => write!(f, "{}:{line}", path.display()),
            Self::File(path, None) => write!(f, "{}", path.display()),
            Self::Set => write!(f, "--set"),
            Self::Option(name) => write!(f, "{name}"),
        }
    }
}
