//! Objects: put under a condition, look up, read by ranges, delete.

use super::blob::{BLOCK_BYTES, BlobReader, BlobWriter, Unreadable};
use super::index::{ObjectRow, SegmentRow};
use super::pins::Pin;
use super::sealing::Encryption;
use super::{EmbeddedStore, buckets};
use crate::keys::DataKey;
use crate::{Error, Location, ObjectMeta, names};
use kindred_types::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Bytes that [`ObjectReader::read_some`] gives at most.
const CHUNK_BYTES: u64 = 4 * BLOCK_BYTES as u64;

/// What a client says about an object beside its content. Kept and given back as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// System headers by lower-case name, for example `content-type`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// User metadata (`x-amz-meta-*`) by name without the prefix.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Checksums the client gave or asked for, base64, by lower-case algorithm name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub checksums: BTreeMap<String, String>,
    /// Tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// How the content is encrypted. Set by the store; what a caller sets is not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
}

impl Attributes {
    /// Fails when the user metadata is over its limit.
    pub fn check(&self) -> Result<(), Error> {
        let bytes: usize = self
            .metadata
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if bytes > names::METADATA_BYTES_MAX {
            let limit = names::METADATA_BYTES_MAX as u64;
            return Err(Error::TooLarge {
                what: "the user metadata",
                limit,
            });
        }
        Ok(())
    }
}

/// What must hold for the object as it is now, decided in the same transaction as the write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    Always,
    /// There is no such object yet.
    Absent,
    /// The object has this entity tag.
    Etag(String),
}

/// How an object is put.
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    /// What is kept beside the content.
    pub attributes: Attributes,
    /// When it may be put.
    pub condition: Condition,
}

/// Everything known about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Key, size, entity tag, time.
    pub meta: ObjectMeta,
    /// What was kept beside the content.
    pub attributes: Attributes,
    /// Identity of this content under this key; a replaced object has another.
    pub object: String,
}

/// Where a part of a finished multipart object lies in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartExtent {
    /// Its number.
    pub number: u32,
    /// Its bytes in the object.
    pub range: Range<u64>,
    /// Its checksums, as [`Attributes::checksums`].
    pub checksums: BTreeMap<String, String>,
}

impl EmbeddedStore {
    /// Puts finished content under a key, replacing what was there.
    pub fn put_blob(
        &self,
        location: &Location,
        mut content: BlobWriter,
        mut options: PutOptions,
    ) -> Result<ObjectInfo, Error> {
        names::check_key(&location.key)?;
        options.attributes.check()?;
        self.bucket(&location.bucket)?;
        let written = content.publish()?;
        let mut row = ObjectRow {
            location: location.clone(),
            object: self.random_id(),
            size: written.bytes,
            etag: hex::encode(written.md5),
            modified: self.now(),
            attributes: String::new(),
        };
        let segment = SegmentRow {
            object: row.object.clone(),
            start: 0,
            number: 0,
            blob: written.id,
            size: written.bytes,
            checksums: "{}".into(),
        };
        options.attributes.encryption = content.data_key().map(|key| {
            Encryption::with(key).sealed(&key.secret, &row, std::slice::from_ref(&segment))
        });
        row.attributes = encode(&options.attributes)?;
        let replaced = self.write(|transaction| {
            buckets::require(transaction, &location.bucket)?;
            check_condition(transaction, location, &options.condition)?;
            let replaced = remove_rows(transaction, location)?;
            row.insert(transaction)?;
            segment.insert(transaction)?;
            Ok(replaced)
        });
        // After a commit of unknown outcome the row may be there, so the blob stays.
        if replaced.is_ok() || self.is_poisoned() {
            content.attached();
        }
        self.remove_blobs(replaced?);
        Ok(ObjectInfo {
            meta: meta_of(&row),
            attributes: options.attributes,
            object: row.object,
        })
    }

    /// Everything known about an object.
    pub fn object(&self, location: &Location) -> Result<ObjectInfo, Error> {
        self.inner
            .index
            .read(|connection| info_of(require(connection, location)?))
    }

    /// Replaces the tags of an object, leaving its content and its time alone.
    pub fn set_tags(
        &self,
        location: &Location,
        tags: BTreeMap<String, String>,
    ) -> Result<(), Error> {
        self.write(|transaction| {
            let mut row = require(transaction, location)?;
            let mut attributes = decode(&row)?;
            attributes.tags = tags;
            row.attributes = encode(&attributes)?;
            transaction.execute(
                "DELETE FROM objects WHERE bucket = ?1 AND key = ?2",
                rusqlite::params![location.bucket, location.key.as_bytes()],
            )?;
            row.insert(transaction)
        })
    }

    /// Opens an object for reading; with `etag`, only that one. What was opened can be read to its
    /// end, whatever happens to the key meanwhile.
    pub fn open_object(
        &self,
        location: &Location,
        etag: Option<&str>,
    ) -> Result<ObjectReader, Error> {
        let index = &self.inner.index;
        let (pin, row) = self.inner.pins.pin(|| {
            let row = index.read(|connection| require(connection, location))?;
            Ok::<_, Error>((row.object.clone(), row))
        })?;
        if etag.is_some_and(|etag| etag != row.etag) {
            return Err(Error::Changed(location.clone()));
        }
        let segments = index.read(|connection| segments_of(connection, &row))?;
        let location = location.clone();
        let info = info_of(row.clone())?;
        let locked = info.attributes.encryption.is_some().then_some(row);
        Ok(ObjectReader {
            store: self.clone(),
            location,
            info,
            segments,
            locked,
            data_key: None,
            open: None,
            _pin: pin,
        })
    }

    /// Removes an object. `false` if there was none.
    pub fn delete_object(&self, location: &Location) -> Result<bool, Error> {
        let removed = self.write(|transaction| {
            buckets::require(transaction, &location.bucket)?;
            remove_rows(transaction, location)
        })?;
        let existed = removed.is_some();
        self.remove_blobs(removed);
        Ok(existed)
    }

    pub(super) fn remove_blobs(&self, removed: Option<Removed>) {
        if let Some(removed) = removed {
            self.inner.pins.remove(&removed.object, removed.blobs);
        }
    }
}

/// Reads one object, the one that was under the key when it was opened.
#[derive(Debug)]
pub struct ObjectReader {
    store: EmbeddedStore,
    location: Location,
    info: ObjectInfo,
    segments: Arc<[SegmentRow]>,
    /// The row of an encrypted object, until its key was asked for and its seal checked.
    locked: Option<ObjectRow>,
    data_key: Option<DataKey>,
    open: Option<(usize, BlobReader)>,
    _pin: Pin,
}

impl ObjectReader {
    /// What is being read.
    pub fn info(&self) -> &ObjectInfo {
        &self.info
    }

    /// The bytes `range`, clipped to the object's end.
    pub fn read(&mut self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        self.unlock()?;
        let end = range.end.min(self.info.meta.size);
        let mut at = range.start.min(end);
        let mut out = Vec::with_capacity((end - at) as usize + BLOCK_BYTES);
        while at < end {
            let (index, inside) = self.segment_at(at, end);
            let step = inside.end - inside.start;
            self.read_segment(index, inside, &mut out)?;
            at += step;
        }
        Ok(out)
    }

    /// The next bytes of `range`: about a megabyte at most, and nothing only if `range` is empty or
    /// past the end. Read on from where it ended; that way no block is read twice.
    pub fn read_some(&mut self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        self.unlock()?;
        let end = range.end.min(self.info.meta.size);
        if range.start >= end {
            return Ok(Vec::new());
        }
        let (index, mut inside) = self.segment_at(range.start, end);
        // Up to a block boundary of the segment, so that the next call starts on one.
        let block = BLOCK_BYTES as u64;
        inside.end = inside.end.min((inside.start / block) * block + CHUNK_BYTES);
        let mut out = Vec::new();
        self.read_segment(index, inside, &mut out)?;
        Ok(out)
    }

    /// The parts of a multipart object, in order; none for an object put in one piece.
    pub fn parts(&self) -> Result<Vec<PartExtent>, Error> {
        let parts = self.segments.iter().filter(|segment| segment.number > 0);
        parts
            .map(|segment| {
                Ok(PartExtent {
                    number: segment.number,
                    range: segment.start..segment.start + segment.size,
                    checksums: decode_map(&segment.checksums, &self.location)?,
                })
            })
            .collect()
    }

    /// Gets the key of an encrypted object and checks that its rows are those that were sealed.
    fn unlock(&mut self) -> Result<(), Error> {
        let encryption = self.info.attributes.encryption.as_ref();
        if let (Some(row), Some(encryption)) = (&self.locked, encryption) {
            let data_key = self.store.unlock(&self.location, encryption)?;
            encryption.check(&data_key.secret, row, &self.segments)?;
            self.data_key = Some(data_key);
            self.locked = None;
        }
        Ok(())
    }

    /// The segment that holds byte `at`, and the stretch of it from there to `end`.
    fn segment_at(&self, at: u64, end: u64) -> (usize, Range<u64>) {
        let index = self
            .segments
            .partition_point(|segment| segment.start + segment.size <= at);
        let segment = &self.segments[index];
        (
            index,
            at - segment.start..(end - segment.start).min(segment.size),
        )
    }

    fn read_segment(
        &mut self,
        index: usize,
        inside: Range<u64>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let segment = &self.segments[index];
        let disk = &self.store.inner.disk;
        let result = match &mut self.open {
            Some((open, reader)) if *open == index => reader.read(inside, out),
            open => match &self.data_key {
                None => BlobReader::open(disk, &segment.blob, segment.size),
                Some(key) => BlobReader::open_sealed(disk, &segment.blob, segment.size, key),
            }
            .and_then(|reader| open.insert((index, reader)).1.read(inside, out)),
        };
        result.map_err(|error| match error {
            Unreadable::Damaged => {
                tracing::error!(location = %self.location, blob = %segment.blob, "stored bytes are damaged");
                Error::Damaged(self.location.clone())
            }
            Unreadable::Io(source) => disk.failed(&segment.blob, source),
        })
    }
}

/// The blobs of an object whose rows are gone.
#[derive(Debug)]
pub(super) struct Removed {
    object: String,
    blobs: Vec<String>,
}

/// Deletes an object's rows, if there is one, and gives what is left to remove from disk.
pub(super) fn remove_rows(
    transaction: &Transaction<'_>,
    location: &Location,
) -> Result<Option<Removed>, Error> {
    let key = location.key.as_bytes();
    let object: Option<String> = transaction
        .prepare_cached("SELECT object FROM objects WHERE bucket = ?1 AND key = ?2")?
        .query_row(rusqlite::params![location.bucket, key], |row| row.get(0))
        .optional()?;
    let Some(object) = object else {
        return Ok(None);
    };
    let blobs = transaction
        .prepare_cached("DELETE FROM segments WHERE object = ?1 RETURNING blob")?
        .query_map([&object], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    transaction
        .prepare_cached("DELETE FROM objects WHERE bucket = ?1 AND key = ?2")?
        .execute(rusqlite::params![location.bucket, key])?;
    Ok(Some(Removed { object, blobs }))
}

pub(super) fn check_condition(
    connection: &Connection,
    location: &Location,
    condition: &Condition,
) -> Result<(), Error> {
    let holds = match condition {
        Condition::Always => true,
        Condition::Absent => find(connection, location)?.is_none(),
        // An object that is not there is "not found" rather than "another one", as on S3.
        Condition::Etag(etag) => require(connection, location)?.etag == *etag,
    };
    if holds {
        Ok(())
    } else {
        Err(Error::PreconditionFailed(location.clone()))
    }
}

pub(super) fn find(
    connection: &Connection,
    location: &Location,
) -> Result<Option<ObjectRow>, Error> {
    let columns = ObjectRow::COLUMNS;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {columns} FROM objects WHERE bucket = ?1 AND key = ?2"
    ))?;
    let found = statement
        .query_row(
            rusqlite::params![location.bucket, location.key.as_bytes()],
            |row| Ok(ObjectRow::read(row)),
        )
        .optional()?;
    found.transpose()
}

fn require(connection: &Connection, location: &Location) -> Result<ObjectRow, Error> {
    if let Some(row) = find(connection, location)? {
        return Ok(row);
    }
    buckets::require(connection, &location.bucket)?;
    Err(Error::NotFound(location.clone()))
}

fn segments_of(connection: &Connection, object: &ObjectRow) -> Result<Arc<[SegmentRow]>, Error> {
    let columns = SegmentRow::COLUMNS;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {columns} FROM segments WHERE object = ?1 ORDER BY start"
    ))?;
    let mut rows = statement.query([&object.object])?;
    let mut segments = Vec::new();
    let mut start = 0;
    while let Some(row) = rows.next()? {
        let segment = SegmentRow::read(row, &object.location)?;
        if segment.start != start {
            return Err(Error::Damaged(object.location.clone()));
        }
        start += segment.size;
        segments.push(segment);
    }
    // A lost or added row would shift everything behind it.
    if start != object.size {
        return Err(Error::Damaged(object.location.clone()));
    }
    Ok(segments.into())
}

pub(super) fn meta_of(row: &ObjectRow) -> ObjectMeta {
    ObjectMeta {
        key: row.location.key.clone(),
        size: row.size,
        etag: row.etag.clone(),
        modified: Timestamp(row.modified),
    }
}

pub(super) fn info_of(row: ObjectRow) -> Result<ObjectInfo, Error> {
    Ok(ObjectInfo {
        meta: meta_of(&row),
        attributes: decode(&row)?,
        object: row.object,
    })
}

pub(super) fn encode<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Invalid(error.to_string()))
}

pub(super) fn decode_map(text: &str, owner: &Location) -> Result<BTreeMap<String, String>, Error> {
    serde_json::from_str(text).map_err(|_| Error::Damaged(owner.clone()))
}

pub(super) fn decode(row: &ObjectRow) -> Result<Attributes, Error> {
    serde_json::from_str(&row.attributes).map_err(|_| Error::Damaged(row.location.clone()))
}
