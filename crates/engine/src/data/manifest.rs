//! The manifest of a generation: which part files it has, and what they must look like.
//!
//! A generation exists when its manifest does; it is written last, in one move. It carries a
//! checksum of itself and of every part, so that damage is found when the data is read.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use kindred_store::Vault;
use kindred_types::schema::DatasetSchema;
use serde::{Deserialize, Serialize};

use super::Error;

/// The manifest's file name.
pub(crate) const FILE_NAME: &str = "generation.json";
const FORMAT: u32 = 1;
const MANIFEST_BYTES_MAX: u64 = 16 << 20;

/// What one import wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    pub(crate) schema: DatasetSchema,
    pub(crate) rows: u64,
    pub(crate) parts: Vec<Part>,
}

/// One Parquet file beside the manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) crc32c: u32,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    manifest: Manifest,
    crc32c: u32,
}

impl Manifest {
    pub(crate) fn new(schema: DatasetSchema, parts: Vec<Part>) -> Self {
        Manifest {
            format: FORMAT,
            schema,
            rows: parts.iter().map(|part| part.rows).sum(),
            parts,
        }
    }

    /// Writes the manifest into `dir` and makes it and the directory durable.
    pub(crate) fn write(&self, dir: &Path, vault: &Vault) -> Result<(), Error> {
        let path = dir.join(FILE_NAME);
        let sealed = Sealed {
            manifest: self.clone(),
            crc32c: self.checksum(),
        };
        let text = serde_json::to_vec_pretty(&sealed)
            .map_err(io::Error::from)
            .map_err(Error::file(&path))?;
        let staged = dir.join("generation.json.new");
        let write = || -> io::Result<()> {
            let mut file = vault.create(&staged)?;
            file.write_all(&text)?;
            file.finish()?;
            std::fs::rename(&staged, &path)?;
            File::open(dir)?.sync_all()
        };
        write().map_err(Error::file(&path))
    }

    /// Reads the manifest of `dir` and checks it against its own checksum.
    pub(crate) fn read(dir: &Path, vault: &Vault) -> Result<Self, Error> {
        let path = dir.join(FILE_NAME);
        let damaged = |detail: String| Error::Damaged {
            path: path.clone(),
            detail,
        };
        let mut text = Vec::new();
        vault
            .open(&path)
            .and_then(|file| file.take(MANIFEST_BYTES_MAX).read_to_end(&mut text))
            .map_err(Error::file(&path))?;
        let sealed: Sealed =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if sealed.crc32c != sealed.manifest.checksum() {
            return Err(damaged("its checksum does not match".into()));
        }
        if sealed.manifest.format != FORMAT {
            return Err(damaged(format!(
                "format {} is not known",
                sealed.manifest.format
            )));
        }
        Ok(sealed.manifest)
    }

    fn checksum(&self) -> u32 {
        // The compact form is a function of the value, so the file's layout does not matter.
        serde_json::to_vec(self).map_or(0, |text| crc32c::crc32c(&text))
    }
}

/// Passes bytes on and keeps their number and checksum.
pub(crate) struct Checked<W> {
    pub(crate) inner: W,
    pub(crate) bytes: u64,
    pub(crate) crc32c: u32,
}

impl<W> Checked<W> {
    pub(crate) fn new(inner: W) -> Self {
        Checked {
            inner,
            bytes: 0,
            crc32c: 0,
        }
    }
}

impl<W: Write> Write for Checked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
