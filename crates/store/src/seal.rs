//! Sealed bytes: content under AES-256-GCM in chunks, readable by ranges.
//!
//! A header names the key and carries the wrapped data key and a salt; the key of this very content
//! is derived from the data key and the salt. Then come chunks of [`CHUNK_BYTES`], each with a tag;
//! the last one may be shorter or, of empty content, empty. A chunk is bound to the header, to the
//! content's identity, to its number and to whether it is the last one. So nothing can be changed,
//! cut off, joined, put in another order, or moved under another identity without an error.
//!
//! Only bytes are handled here. Where they lie is the business of `embedded::blob` (objects) and of
//! `files` (datasets, models, checkpoints).

use crate::keys::{DataKey, Secret};
use kindred_types::parts::Random;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::{digest, hkdf};
use std::ops::Range;

/// Bytes of content under one tag.
pub const CHUNK_BYTES: usize = 64 << 10;
/// Most bytes of a header.
pub const HEADER_BYTES_MAX: usize = 16 << 10;
const TAG_BYTES: usize = 16;
const SALT_BYTES: usize = 32;
/// What sealed bytes start with; the last byte is the version of the form.
const MAGIC: &[u8; 8] = b"KINDSEA\x01";
/// What the content's key is derived for.
const PURPOSE: &[u8] = b"kindred sealed content";

/// Sealed bytes that cannot be opened: damaged, changed, or sealed for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sealed bytes are damaged, or do not belong here")]
pub struct Broken;

/// The header of sealed bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The key that wrapped the data key.
    pub key_arn: String,
    /// The wrapped data key.
    pub wrapped: Vec<u8>,
    salt: [u8; SALT_BYTES],
}

impl Header {
    /// Whether bytes start like sealed ones.
    pub fn is_at_start_of(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// Reads the header that `bytes` start with; give [`HEADER_BYTES_MAX`] of them, or all.
    pub fn parse(bytes: &[u8]) -> Result<Self, Broken> {
        let mut rest = bytes.strip_prefix(MAGIC).ok_or(Broken)?;
        let mut field = || -> Result<&[u8], Broken> {
            let (length, after) = rest.split_first_chunk::<2>().ok_or(Broken)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (found, after) = after.split_at_checked(length).ok_or(Broken)?;
            rest = after;
            Ok(found)
        };
        let (key_arn, wrapped, salt) = (field()?, field()?, field()?);
        Ok(Header {
            key_arn: String::from_utf8(key_arn.to_vec()).map_err(|_| Broken)?,
            wrapped: wrapped.to_vec(),
            salt: salt.try_into().map_err(|_| Broken)?,
        })
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for field in [self.key_arn.as_bytes(), &self.wrapped, &self.salt] {
            // Lengths are below the limit: `Sealer::new` refuses others.
            let length = u16::try_from(field.len()).unwrap_or(u16::MAX);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(field);
        }
        bytes
    }

    fn key(&self, secret: &Secret) -> LessSafeKey {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, &self.salt);
        let derived = salt.extract(secret.bytes());
        let purpose = [PURPOSE];
        let material = derived.expand(&purpose, &AES_256_GCM);
        let material = material.expect("one key is within what can be derived");
        LessSafeKey::new(UnboundKey::from(material))
    }

    /// What every chunk is bound to beside its place.
    fn binding(&self, identity: &str) -> Vec<u8> {
        let mut binding = digest::digest(&digest::SHA256, &self.encode())
            .as_ref()
            .to_vec();
        binding.extend_from_slice(identity.as_bytes());
        binding
    }
}

/// Bytes that a header with this key takes.
fn header_bytes(key_arn: &str, wrapped: &[u8]) -> u64 {
    (MAGIC.len() + 3 * 2 + key_arn.len() + wrapped.len() + SALT_BYTES) as u64
}

/// Bytes that `plain` bytes of content take when sealed with this data key.
pub fn sealed_bytes(key_arn: &str, wrapped: &[u8], plain: u64) -> u64 {
    let chunks = plain.div_ceil(CHUNK_BYTES as u64).max(1);
    header_bytes(key_arn, wrapped) + plain + chunks * TAG_BYTES as u64
}

/// No chunk is sealed twice under one key, so its number makes a nonce.
fn nonce(number: u64, last: bool) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[NONCE_LEN - 1] = u8::from(last);
    Nonce::assume_unique_for_key(bytes)
}

/// Seals content that comes in pieces.
pub struct Sealer {
    key: LessSafeKey,
    binding: Vec<u8>,
    /// Until it is written.
    header: Option<Header>,
    /// The chunk that is not full, or full and perhaps the last one.
    chunk: Vec<u8>,
    number: u64,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer(chunk {})", self.number)
    }
}

impl Sealer {
    /// Seals under a data key for the content called `identity`.
    ///
    /// # Errors
    /// When the key's ARN and wrapped form are larger than a header.
    pub fn new(data_key: &DataKey, identity: &str, random: &dyn Random) -> Result<Self, Broken> {
        if header_bytes(&data_key.key_arn, &data_key.wrapped) > HEADER_BYTES_MAX as u64 {
            return Err(Broken);
        }
        let mut salt = [0; SALT_BYTES];
        random.fill(&mut salt);
        let header = Header {
            key_arn: data_key.key_arn.clone(),
            wrapped: data_key.wrapped.clone(),
            salt,
        };
        Ok(Sealer {
            key: header.key(&data_key.secret),
            binding: header.binding(identity),
            header: Some(header),
            chunk: Vec::new(),
            number: 0,
        })
    }

    /// Takes content and appends what is sealed by now to `out`.
    pub fn push(&mut self, mut content: &[u8], out: &mut Vec<u8>) {
        self.start(out);
        while !content.is_empty() {
            // Only content after it shows that a full chunk is not the last one.
            if self.chunk.len() == CHUNK_BYTES {
                self.seal(false, out);
            }
            let room = CHUNK_BYTES - self.chunk.len();
            let (piece, rest) = content.split_at(content.len().min(room));
            self.chunk.extend_from_slice(piece);
            content = rest;
        }
    }

    /// Appends the last chunk to `out`.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.start(out);
        self.seal(true, out);
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if let Some(header) = self.header.take() {
            out.extend_from_slice(&header.encode());
        }
    }

    fn seal(&mut self, last: bool, out: &mut Vec<u8>) {
        let nonce = nonce(self.number, last);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(&self.binding), &mut self.chunk)
            .expect("a chunk is below the limit of the algorithm");
        out.append(&mut self.chunk);
        out.extend_from_slice(tag.as_ref());
        self.number += 1;
    }
}

/// Opens sealed bytes by ranges.
pub struct Opener {
    key: LessSafeKey,
    binding: Vec<u8>,
    header_bytes: u64,
    plain_bytes: u64,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opener({} bytes)", self.plain_bytes)
    }
}

impl Opener {
    /// Opens what was sealed for `identity` and takes `stored_bytes` in all.
    ///
    /// # Errors
    /// When no content can have that length. Anything else shows when it is read.
    pub fn new(
        header: &Header,
        secret: &Secret,
        identity: &str,
        stored_bytes: u64,
    ) -> Result<Self, Broken> {
        let header_bytes = header_bytes(&header.key_arn, &header.wrapped);
        let body = stored_bytes.checked_sub(header_bytes).ok_or(Broken)?;
        let chunks = body.div_ceil((CHUNK_BYTES + TAG_BYTES) as u64);
        let plain_bytes = body.checked_sub(chunks * TAG_BYTES as u64).ok_or(Broken)?;
        if chunks == 0 || plain_bytes.div_ceil(CHUNK_BYTES as u64).max(1) != chunks {
            return Err(Broken);
        }
        Ok(Opener {
            key: header.key(secret),
            binding: header.binding(identity),
            header_bytes,
            plain_bytes,
        })
    }

    /// Bytes of content.
    pub fn plain_bytes(&self) -> u64 {
        self.plain_bytes
    }

    /// Appends the content `range` to `out`. `fetch` appends a range of the stored bytes.
    ///
    /// Reading an empty range checks nothing; [`Opener::check_end`] does.
    pub fn read<E: From<Broken>>(
        &self,
        range: Range<u64>,
        out: &mut Vec<u8>,
        fetch: impl FnOnce(Range<u64>, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        if range.end > self.plain_bytes {
            return Err(Broken.into());
        }
        if range.is_empty() {
            return Ok(());
        }
        let chunk = CHUNK_BYTES as u64;
        let (first, last) = (range.start / chunk, (range.end - 1) / chunk);
        let content = self.open(first, last, fetch)?;
        let skip = (range.start - first * chunk) as usize;
        let length = (range.end - range.start) as usize;
        out.extend_from_slice(content.get(skip..skip + length).ok_or(Broken)?);
        Ok(())
    }

    /// Checks that the last chunk is there and is the last one.
    pub fn check_end<E: From<Broken>>(
        &self,
        fetch: impl FnOnce(Range<u64>, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let last = self.last_chunk();
        self.open(last, last, fetch).map(|_| ())
    }

    fn last_chunk(&self) -> u64 {
        self.plain_bytes.saturating_sub(1) / CHUNK_BYTES as u64
    }

    /// The content of the chunks `first` to `last`.
    fn open<E: From<Broken>>(
        &self,
        first: u64,
        last: u64,
        fetch: impl FnOnce(Range<u64>, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Vec<u8>, E> {
        let stride = (CHUNK_BYTES + TAG_BYTES) as u64;
        let end_of_all = self.plain_bytes + (self.last_chunk() + 1) * TAG_BYTES as u64;
        let end = ((last + 1) * stride).min(end_of_all);
        let mut bytes = Vec::with_capacity((end - first * stride) as usize);
        let stored = self.header_bytes + first * stride..self.header_bytes + end;
        fetch(stored, &mut bytes)?;
        let mut length = 0;
        let mut at = 0;
        for number in first..=last {
            let size = (bytes.len() - at).min(stride as usize);
            let nonce = nonce(number, number == self.last_chunk());
            let opened = self
                .key
                .open_in_place(nonce, Aad::from(&self.binding), &mut bytes[at..at + size])
                .map_err(|_| Broken)?
                .len();
            bytes.copy_within(at..at + opened, length);
            length += opened;
            at += size;
        }
        bytes.truncate(length);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
