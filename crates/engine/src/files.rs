//! Files of a vault as the Parquet reader wants them.

use bytes::Bytes;
use kindred_store::files::VaultReader;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};
use std::io::{self, BufReader, Read};
use std::sync::Arc;

/// Bytes read ahead where the reader parses a page's head byte by byte.
const AHEAD_BYTES: usize = 8 << 10;

/// A Parquet file, in the clear or sealed.
pub(crate) struct ParquetFile(Arc<VaultReader>);

impl ParquetFile {
    pub(crate) fn new(reader: VaultReader) -> Self {
        ParquetFile(Arc::new(reader))
    }
}

impl Length for ParquetFile {
    fn len(&self) -> u64 {
        self.0.length()
    }
}

impl ChunkReader for ParquetFile {
    type T = BufReader<Stretch>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        let stretch = Stretch {
            reader: Arc::clone(&self.0),
            position: start,
        };
        Ok(BufReader::with_capacity(AHEAD_BYTES, stretch))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let end = start
            .checked_add(length as u64)
            .filter(|end| *end <= self.0.length())
            .ok_or_else(|| ParquetError::EOF("the file ends before its content".into()))?;
        let mut bytes = Vec::with_capacity(length);
        self.0.read_range(start..end, &mut bytes)?;
        Ok(bytes.into())
    }
}

/// Reads on from a position.
pub(crate) struct Stretch {
    reader: Arc<VaultReader>,
    position: u64,
}

impl Read for Stretch {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let start = self.position.min(self.reader.length());
        let end = self.reader.length().min(start + target.len() as u64);
        let mut bytes = Vec::with_capacity((end - start) as usize);
        self.reader.read_range(start..end, &mut bytes)?;
        target[..bytes.len()].copy_from_slice(&bytes);
        self.position = end;
        Ok(bytes.len())
    }
}
