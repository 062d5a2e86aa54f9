//! Files that others give us.

use std::fs::File;
use std::io::{Error, Read as _, Result};
use std::path::Path;

/// The content of a regular file of at most `most` bytes.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let bytes = start(path, most.saturating_add(1))?;
    match bytes.len() as u64 > most {
        true => Err(Error::other(format!("it has more than {most} bytes"))),
        false => Ok(bytes),
    }
}

/// The first `most` bytes of a regular file, or all that it has. A pipe would wait for ever, and a device never end.
pub fn start(path: &Path, most: u64) -> Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(Error::other("it is a folder, not a file"));
    }
    if !metadata.is_file() {
        return Err(Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
