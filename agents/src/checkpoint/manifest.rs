//! `MANIFEST`: what a generation holds, and how to know that it is unharmed.

use crate::error::{Error, Result};
use crate::files;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

/// The file within a generation, written last.
pub(super) const FILE: &str = "MANIFEST";

/// The version of the format that is written. All up to it are read.
pub(super) const FORMAT: u32 = 1;

/// The most bytes of a manifest that is read; those that are written have some thousands.
const LARGEST: u64 = 10_000_000;

/// What is in a generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    pub(super) step: u64,
    /// What the caller says of it.
    pub(super) about: Value,
    pub(super) parts: BTreeMap<String, Content>,
    /// Of a replay memory.
    pub(super) replay: Option<Rows>,
}

/// How long a file is, and its hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Content {
    pub(super) bytes: u64,
    pub(super) xxh3: String,
}

/// The rows of a replay memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Rows {
    pub(super) row_bytes: usize,
    pub(super) segments: Vec<Segment>,
}

/// The rows at the start of one file of `replay/`; what follows them there is of later generations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Segment {
    /// The number of the first row, which is the file's name.
    pub(super) first: u64,
    pub(super) rows: u64,
    pub(super) xxh3: String,
}

impl Manifest {
    /// JSON, and a last line that is its hash.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        let unfit = |error: serde_json::Error| Error::State {
            of: "a checkpoint",
            reason: error.to_string(),
        };
        let json = serde_json::to_string_pretty(self).map_err(unfit)?;
        let hash = hash(json.as_bytes());
        Ok(format!("{json}\n{hash}\n").into_bytes())
    }

    /// Reads the manifest of the generation at `path`.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let path = path.join(FILE);
        let damaged = |reason: String| Error::Checkpoint { path: path.clone(), reason };
        let bytes = files::read(&path, LARGEST).map_err(|error| damaged(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|error| damaged(error.to_string()))?;
        let lines = text.strip_suffix('\n').and_then(|text| text.rsplit_once('\n'));
        let (json, said) = lines.ok_or_else(|| damaged("its end is missing".to_owned()))?;
        if said != hash(json.as_bytes()) {
            return Err(damaged("it has changed since it was written".to_owned()));
        }
        // Another format may have another form: its number is read first.
        let value: Value =
            serde_json::from_str(json).map_err(|error| damaged(error.to_string()))?;
        match value.get("format").and_then(Value::as_u64) {
            Some(format) if format <= FORMAT.into() => {}
            format => {
                let format = format.map_or("none".to_owned(), |format| format.to_string());
                let reason = format!(
                    "its format is {format}, and this program reads up to {FORMAT}: take a newer one"
                );
                return Err(damaged(reason));
            }
        }
        serde_json::from_value(value).map_err(|error| damaged(error.to_string()))
    }
}

impl Content {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, xxh3: hash(bytes) }
    }
}

fn hash(bytes: &[u8]) -> String {
    hex(xxh3_64(bytes))
}

/// As a number of JSON it would lose digits in some readers.
pub(super) fn hex(hash: u64) -> String {
    format!("{hash:016x}")
}
