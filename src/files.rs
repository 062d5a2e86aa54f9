//! Files that people write.

pub use agents::files::read;

use std::io::{Error, Result};
use std::path::Path;

/// The most bytes of a file that people write.
pub const WRITTEN: u64 = 1_000_000;

/// A file that people write, as text.
pub fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read(path, WRITTEN)?).map_err(Error::other)
}
