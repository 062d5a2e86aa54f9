//! A file that grows: by whole rows or not at all, and cut back where a run goes on from earlier.

use crate::failure::Failure;
use std::fs::{self, File, OpenOptions};
use std::io::{Error, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// The file, and how long it is.
pub(super) struct AppendFile {
    path: PathBuf,
    file: File,
    len: u64,
}

impl AppendFile {
    /// A new file.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let file = OpenOptions::new().append(true).create_new(true).open(path);
        let file = file.map_err(Failure::file("create", path))?;
        Ok(Self { path: path.to_owned(), file, len: 0 })
    }

    /// A file that was `len` bytes long; what follows them is removed.
    pub(super) fn cut(path: &Path, len: u64) -> Result<Self, Failure> {
        Self::check(path, len)?;
        let open = || {
            let file = OpenOptions::new().append(true).open(path)?;
            file.set_len(len)?;
            Ok(file)
        };
        let file = open().map_err(Failure::file("go on with", path))?;
        Ok(Self { path: path.to_owned(), file, len })
    }

    /// An error if [`cut`](Self::cut) would be one.
    pub(super) fn check(path: &Path, len: u64) -> Result<(), Failure> {
        let check = || {
            let metadata = fs::metadata(path)?;
            let found = metadata.len();
            if !metadata.is_file() || found < len {
                let message = format!("it has {found} bytes and had {len} at the checkpoint");
                return Err(Error::new(ErrorKind::InvalidData, message));
            }
            Ok(())
        };
        check().map_err(Failure::file("go on with", path))
    }

    /// Adds `bytes`; after an error none of them.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if let Err(error) = self.file.write_all(bytes) {
            let _ = self.file.set_len(self.len);
            return Err(Failure::file("write", &self.path)(error));
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// What was added is safe afterwards. Returns how long the file is.
    pub(super) fn sync(&self) -> Result<u64, Failure> {
        self.file.sync_data().map_err(Failure::file("write", &self.path))?;
        Ok(self.len)
    }
}
