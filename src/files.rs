//! Files that others give us.

use std::fs::File;
use std::io::{Error, Read as _, Result};
use std::path::Path;

/// The most bytes of a file that people write.
pub const WRITTEN: u64 = 1_000_000;

/// The content of a regular file of at most `most` bytes. A pipe would wait for ever, and a device never end.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(Error::other("it is a folder, not a file"));
    }
    if !metadata.is_file() {
        return Err(Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(Error::other(format!("it has more than {most} bytes"))),
        false => Ok(bytes),
    }
}

/// The same as text, of a file that people write.
pub fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read(path, WRITTEN)?).map_err(Error::other)
}
