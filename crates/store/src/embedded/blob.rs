//! One blob: content, then a CRC32C for every block of it.
//!
//! A block's checksum starts from the blob's id and the block's number, so neither flipped bits nor
//! a block or file in another's place go unnoticed. A read verifies every block it touches before
//! any byte leaves. Length and owner are in the index, not here.
//!
//! The content of an encrypted object is sealed (`crate::seal`) under the blob's id before it is cut
//! into blocks; lengths here are then those of the sealed bytes.

use super::disk::Disk;
use crate::Error;
use crate::keys::DataKey;
use crate::names::PUT_BYTES_MAX;
use crate::seal::{Broken, HEADER_BYTES_MAX, Header, Opener, Sealer};
use md5::{Digest as _, Md5};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

/// Bytes under one checksum.
pub(crate) const BLOCK_BYTES: usize = 256 * 1024;
const SUM_BYTES: u64 = 4;

/// Takes content in pieces and keeps it off the books until it is attached to a name.
///
/// Dropping it at any point leaves nothing behind.
#[derive(Debug)]
pub struct BlobWriter {
    disk: Arc<Disk>,
    id: String,
    file: File,
    state: State,
    block: Vec<u8>,
    sums: Vec<u32>,
    bytes: u64,
    md5: Md5,
    data_key: Option<DataKey>,
    sealer: Option<Sealer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Staged,
    Published,
    Attached,
}

/// What a finished blob is, for the row that names it.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) id: String,
    pub(crate) bytes: u64,
    pub(crate) md5: [u8; 16],
}

impl BlobWriter {
    pub(crate) fn create(disk: Arc<Disk>, id: String) -> Result<Self, Error> {
        let file = disk.create(&id)?;
        Ok(BlobWriter {
            disk,
            id,
            file,
            state: State::Staged,
            block: Vec::new(),
            sums: Vec::new(),
            bytes: 0,
            md5: Md5::new(),
            data_key: None,
            sealer: None,
        })
    }

    /// The same writer, which seals what it takes. Nothing was taken yet.
    pub(crate) fn sealed(mut self, data_key: DataKey, sealer: Sealer) -> Self {
        self.data_key = Some(data_key);
        self.sealer = Some(sealer);
        self
    }

    /// What the content is encrypted with, if it is.
    pub(crate) fn data_key(&self) -> Option<&DataKey> {
        self.data_key.as_ref()
    }

    /// The key that the content is encrypted with, if it is.
    pub fn key_arn(&self) -> Option<&str> {
        self.data_key.as_ref().map(|key| key.key_arn.as_str())
    }

    /// Appends content. More than [`PUT_BYTES_MAX`] in all is refused.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let total = self.bytes + bytes.len() as u64;
        if total > PUT_BYTES_MAX {
            return Err(Error::TooLarge {
                what: "the content of one upload",
                limit: PUT_BYTES_MAX,
            });
        }
        self.bytes = total;
        self.md5.update(bytes);
        match &mut self.sealer {
            None => self.store(bytes),
            Some(sealer) => {
                let mut sealed = Vec::with_capacity(bytes.len() + HEADER_BYTES_MAX);
                sealer.push(bytes, &mut sealed);
                self.store(&sealed)
            }
        }
    }

    /// Appends bytes as they stand on disk.
    fn store(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            if self.block.is_empty() && bytes.len() >= BLOCK_BYTES {
                let (block, rest) = bytes.split_at(BLOCK_BYTES);
                self.write_block(block)?;
                bytes = rest;
                continue;
            }
            let (piece, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.block.len()));
            self.block.extend_from_slice(piece);
            bytes = rest;
            if self.block.len() == BLOCK_BYTES {
                self.flush_block()?;
            }
        }
        Ok(())
    }

    /// Bytes taken so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// MD5 of everything taken so far.
    pub fn md5(&self) -> [u8; 16] {
        self.md5.clone().finalize().into()
    }

    /// Makes the content durable under its id.
    pub(crate) fn publish(&mut self) -> Result<Written, Error> {
        if let Some(sealer) = self.sealer.take() {
            let mut sealed = Vec::new();
            sealer.finish(&mut sealed);
            self.store(&sealed)?;
        }
        if !self.block.is_empty() {
            self.flush_block()?;
        }
        let trailer: Vec<u8> = self.sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        if !trailer.is_empty() {
            self.disk.write(&self.id, &mut self.file, &trailer)?;
        }
        self.disk.publish(&self.id, &self.file)?;
        self.state = State::Published;
        Ok(Written {
            id: self.id.clone(),
            bytes: self.bytes,
            md5: self.md5(),
        })
    }

    /// Tells that a committed row (or one that may have been committed) names the blob.
    pub(crate) fn attached(&mut self) {
        self.state = State::Attached;
    }

    fn flush_block(&mut self) -> Result<(), Error> {
        let mut block = std::mem::take(&mut self.block);
        let written = self.write_block(&block);
        block.clear();
        self.block = block;
        written
    }

    fn write_block(&mut self, block: &[u8]) -> Result<(), Error> {
        self.sums
            .push(block_sum(&self.id, self.sums.len() as u64, block));
        self.disk.write(&self.id, &mut self.file, block)
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        match self.state {
            // A rename may have happened even where publishing failed; either name may be there.
            State::Staged => {
                self.disk.discard(&self.id);
                if self.disk.is_poisoned() {
                    return;
                }
                self.disk.remove(&self.id);
            }
            State::Published => self.disk.remove(&self.id),
            State::Attached => {}
        }
    }
}

/// Reads ranges of one published blob.
#[derive(Debug)]
pub(crate) struct BlobReader {
    id: String,
    file: File,
    bytes: u64,
    opener: Option<Opener>,
}

/// Why a blob could not be read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// Its bytes are not those that were written.
    Damaged,
    /// The disk said no.
    Io(io::Error),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound => Unreadable::Damaged,
            _ => Unreadable::Io(error),
        }
    }
}

impl From<Broken> for Unreadable {
    fn from(_: Broken) -> Self {
        Unreadable::Damaged
    }
}

impl BlobReader {
    /// Opens blob `id`, which holds `bytes` bytes of content sealed with `data_key`.
    pub(crate) fn open_sealed(
        disk: &Disk,
        id: &str,
        bytes: u64,
        data_key: &DataKey,
    ) -> Result<Self, Unreadable> {
        let (key_arn, wrapped) = (&data_key.key_arn, &data_key.wrapped);
        let stored = crate::seal::sealed_bytes(key_arn, wrapped, bytes);
        let mut reader = Self::open(disk, id, stored)?;
        let mut head = Vec::new();
        reader.read_stored(0..stored.min(HEADER_BYTES_MAX as u64), &mut head)?;
        let header = Header::parse(&head)?;
        if header.key_arn != *key_arn || header.wrapped != *wrapped {
            return Err(Unreadable::Damaged);
        }
        reader.opener = Some(Opener::new(&header, &data_key.secret, id, stored)?);
        Ok(reader)
    }

    /// Opens blob `id`, which holds `bytes` bytes of content.
    pub(crate) fn open(disk: &Disk, id: &str, bytes: u64) -> Result<Self, Unreadable> {
        let file = disk.open_blob(id)?;
        let blocks = bytes.div_ceil(BLOCK_BYTES as u64);
        if file.metadata()?.len() != bytes + blocks * SUM_BYTES {
            return Err(Unreadable::Damaged);
        }
        Ok(BlobReader {
            id: id.to_owned(),
            file,
            bytes,
            opener: None,
        })
    }

    /// Appends the bytes `range` to `out`; the range lies within the content.
    pub(crate) fn read(&self, range: Range<u64>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        match &self.opener {
            None => self.read_stored(range, out),
            Some(opener) => opener.read(range, out, |stored, out| self.read_stored(stored, out)),
        }
    }

    /// Appends bytes as they stand on disk.
    fn read_stored(&self, range: Range<u64>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        if range.is_empty() {
            return Ok(());
        }
        let block_bytes = BLOCK_BYTES as u64;
        let first = range.start / block_bytes;
        let last = (range.end - 1) / block_bytes;
        let mut sums = vec![0u8; ((last - first + 1) * SUM_BYTES) as usize];
        self.file
            .read_exact_at(&mut sums, self.bytes + first * SUM_BYTES)?;
        // Whole blocks are read in place, then the ends that were not asked for are cut off.
        let read_start = first * block_bytes;
        let read_end = ((last + 1) * block_bytes).min(self.bytes);
        let base = out.len();
        out.resize(base + (read_end - read_start) as usize, 0);
        self.file.read_exact_at(&mut out[base..], read_start)?;
        for (at, (block, sum)) in out[base..]
            .chunks(BLOCK_BYTES)
            .zip(sums.chunks_exact(SUM_BYTES as usize))
            .enumerate()
        {
            if block_sum(&self.id, first + at as u64, block).to_le_bytes() != sum {
                out.truncate(base);
                return Err(Unreadable::Damaged);
            }
        }
        out.truncate(base + (range.end - read_start) as usize);
        out.drain(base..base + (range.start - read_start) as usize);
        Ok(())
    }
}

fn block_sum(id: &str, number: u64, block: &[u8]) -> u32 {
    let seed = crc32c::crc32c_append(crc32c::crc32c(id.as_bytes()), &number.to_le_bytes());
    crc32c::crc32c_append(seed, block)
}
