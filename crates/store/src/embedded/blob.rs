//! One blob: content, then a CRC32C for every block of it.
//!
//! A block's checksum starts from the blob's id and the block's number, so neither flipped bits nor
//! a block or file in another's place go unnoticed. A read verifies every block it touches before
//! any byte leaves. Length and owner are in the index, not here.

use super::disk::Disk;
use crate::Error;
use crate::names::PUT_BYTES_MAX;
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
        })
    }

    /// Appends content. More than [`PUT_BYTES_MAX`] in all is refused.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        let total = self.bytes + bytes.len() as u64;
        if total > PUT_BYTES_MAX {
            return Err(Error::TooLarge {
                what: "the content of one upload",
                limit: PUT_BYTES_MAX,
            });
        }
        self.bytes = total;
        self.md5.update(bytes);
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

impl BlobReader {
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
        })
    }

    /// Appends the bytes `range` to `out`; the range lies within the content.
    pub(crate) fn read(&self, range: Range<u64>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
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
