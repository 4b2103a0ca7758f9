//! Multipart uploads: parts arrive in any order, any number of times, and become an object in one
//! transaction.
//!
//! The finished object refers to the parts' blobs. Its entity tag is the MD5 of the parts' MD5s
//! with their number behind it. Its id is the upload's, so that a completion whose answer was lost
//! can be repeated and is answered with the object it made.

use super::blob::BlobWriter;
use super::index::{ObjectRow, PartRow, SegmentRow, UploadRow};
use super::objects::{
    Attributes, ObjectInfo, PutOptions, check_condition, decode, decode_map, encode, find, info_of,
    remove_rows,
};
use super::sealing::Encryption;
use super::{EmbeddedStore, buckets, listing};
use crate::keys::DataKey;
use crate::{Error, Location, PartProblem, PartTag, names};
use kindred_types::time::Timestamp;
use md5::{Digest as _, Md5};
use rusqlite::{Connection, OptionalExtension as _, Transaction};
use std::collections::{BTreeMap, HashMap};

/// A multipart upload that is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadInfo {
    /// Its id.
    pub id: String,
    /// Where its object will be.
    pub location: Location,
    /// When it was started.
    pub started: Timestamp,
    /// What the object will carry.
    pub attributes: Attributes,
}

/// A part that was uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartInfo {
    /// 1 to 10,000.
    pub number: u32,
    /// Its bytes.
    pub size: u64,
    /// Its entity tag, without quotes.
    pub etag: String,
    /// When it was uploaded.
    pub modified: Timestamp,
    /// Its checksums, as [`Attributes::checksums`].
    pub checksums: BTreeMap<String, String>,
}

/// A page of the parts of an upload.
#[derive(Clone, Debug)]
pub struct PartsPage {
    /// The upload.
    pub upload: UploadInfo,
    /// Its parts, by number.
    pub parts: Vec<PartInfo>,
    /// Whether there are more.
    pub truncated: bool,
}

/// A page of the uploads of a bucket.
#[derive(Clone, Debug, Default)]
pub struct UploadsPage {
    /// By key, then by id.
    pub uploads: Vec<UploadInfo>,
    /// Whether there are more.
    pub truncated: bool,
}

impl EmbeddedStore {
    /// Starts an upload whose object will carry `attributes`; gives its id.
    pub fn create_upload(
        &self,
        location: &Location,
        attributes: &Attributes,
    ) -> Result<String, Error> {
        self.insert_upload(location, attributes, None)
    }

    /// Like [`EmbeddedStore::create_upload`], for an object that is encrypted with `key`.
    pub fn create_upload_with_key(
        &self,
        location: &Location,
        attributes: &Attributes,
        key: &str,
    ) -> Result<String, Error> {
        let data_key = self.new_data_key(location, key)?;
        self.insert_upload(location, attributes, Some(Encryption::with(&data_key)))
    }

    fn insert_upload(
        &self,
        location: &Location,
        attributes: &Attributes,
        encryption: Option<Encryption>,
    ) -> Result<String, Error> {
        let attributes = Attributes {
            encryption,
            ..attributes.clone()
        };
        names::check_key(&location.key)?;
        attributes.check()?;
        let row = UploadRow {
            id: self.random_id(),
            location: location.clone(),
            started: self.now(),
            attributes: encode(&attributes)?,
        };
        self.write(|transaction| {
            buckets::require(transaction, &location.bucket)?;
            let count: i64 =
                transaction.query_row("SELECT count(*) FROM uploads", [], |row| row.get(0))?;
            if count as u64 >= names::UPLOADS_MAX {
                let what = "the number of unfinished multipart uploads";
                return Err(Error::TooLarge {
                    what,
                    limit: names::UPLOADS_MAX,
                });
            }
            row.insert(transaction)
        })?;
        Ok(row.id)
    }

    /// The upload `id`, which must be one for `location`.
    pub fn upload(&self, location: &Location, id: &str) -> Result<UploadInfo, Error> {
        self.inner
            .index
            .read(|connection| upload_of(require(connection, location, id)?))
    }

    /// Attaches finished content as part `number`, replacing an earlier one.
    pub fn put_part(
        &self,
        location: &Location,
        upload: &str,
        number: u32,
        mut content: BlobWriter,
        checksums: &BTreeMap<String, String>,
    ) -> Result<PartInfo, Error> {
        names::check_part_number(number)?;
        let encryption = self.upload(location, upload)?.attributes.encryption;
        let fits = match (&encryption, content.data_key()) {
            (None, None) => true,
            (Some(encryption), Some(key)) => encryption.is_of(key),
            _ => false,
        };
        if !fits {
            let message = "a part is encrypted with the data key of its upload: use part_writer";
            return Err(Error::Invalid(message.into()));
        }
        let written = content.publish()?;
        let row = PartRow {
            upload: upload.to_owned(),
            number,
            blob: written.id,
            size: written.bytes,
            etag: hex::encode(written.md5),
            modified: self.now(),
            checksums: encode(checksums)?,
        };
        let replaced = self.write(|transaction| {
            require(transaction, location, upload)?;
            let replaced: Option<String> = transaction
                .prepare_cached("SELECT blob FROM parts WHERE upload = ?1 AND number = ?2")?
                .query_row(rusqlite::params![upload, number], |row| row.get(0))
                .optional()?;
            row.insert(transaction)?;
            Ok(replaced)
        });
        if replaced.is_ok() || self.is_poisoned() {
            content.attached();
        }
        if let Some(blob) = replaced? {
            self.inner.disk.remove(&blob);
        }
        part_of(row, location)
    }

    /// Makes the object out of `parts`, named in ascending order with the entity tags they were
    /// given. The attributes in `options` replace those the upload was started with unless empty.
    pub fn complete(
        &self,
        location: &Location,
        upload: &str,
        parts: &[PartTag],
        options: PutOptions,
    ) -> Result<ObjectInfo, Error> {
        let data_key = self.upload_key(location, upload)?;
        let (row, replaced, unused) = self.write(|transaction| {
            let Some(found) = find_upload(transaction, location, upload)? else {
                let finished = finished_before(transaction, location, upload, parts)?;
                return Ok((finished, None, Vec::new()));
            };
            check_condition(transaction, location, &options.condition)?;
            let mut uploaded = uploaded_parts(transaction, location, upload)?;
            let (mut row, segments) = assemble(found, parts, &mut uploaded, &options, self.now())?;
            let mut attributes = decode(&row)?;
            if let Some(encryption) = attributes.encryption.take() {
                let key = data_key.as_ref().filter(|key| encryption.is_of(key));
                let key = key.ok_or_else(|| Error::Damaged(location.clone()))?;
                attributes.encryption = Some(encryption.sealed(&key.secret, &row, &segments));
                row.attributes = encode(&attributes)?;
            }
            let replaced = remove_rows(transaction, location)?;
            row.insert(transaction)?;
            for segment in &segments {
                segment.insert(transaction)?;
            }
            forget(transaction, upload)?;
            let unused = uploaded.into_values().map(|part| part.blob).collect();
            Ok((row, replaced, unused))
        })?;
        self.remove_blobs(replaced);
        unused
            .iter()
            .for_each(|blob: &String| self.inner.disk.remove(blob));
        info_of(row)
    }

    /// The data key of an encrypted upload, asked for outside of any transaction.
    fn upload_key(&self, location: &Location, upload: &str) -> Result<Option<DataKey>, Error> {
        let found = match self.upload(location, upload) {
            // It may have been finished before; that is found out in the transaction.
            Err(Error::NoSuchUpload(_)) => return Ok(None),
            found => found?.attributes.encryption,
        };
        let unlocked = found.map(|encryption| self.unlock(location, &encryption));
        unlocked.transpose()
    }

    /// Forgets an upload and its parts.
    pub fn abort(&self, location: &Location, upload: &str) -> Result<(), Error> {
        let blobs = self.write(|transaction| {
            require(transaction, location, upload)?;
            forget(transaction, upload)
        })?;
        blobs.iter().for_each(|blob| self.inner.disk.remove(blob));
        Ok(())
    }

    /// The parts of an upload with a number above `after`, at most `max`.
    pub fn list_parts(
        &self,
        location: &Location,
        upload: &str,
        after: u32,
        max: usize,
    ) -> Result<PartsPage, Error> {
        self.inner.index.read(|connection| {
            let transaction = connection.unchecked_transaction()?;
            let upload = upload_of(require(&transaction, location, upload)?)?;
            let columns = PartRow::COLUMNS;
            let mut statement = transaction.prepare_cached(&format!(
                "SELECT {columns} FROM parts WHERE upload = ?1 AND number > ?2
                 ORDER BY number LIMIT ?3"
            ))?;
            let mut rows = statement.query(rusqlite::params![upload.id, after, max as i64 + 1])?;
            let mut parts = Vec::new();
            while let Some(row) = rows.next()? {
                parts.push(part_of(PartRow::read(row, location)?, location)?);
            }
            let truncated = parts.len() > max;
            parts.truncate(max);
            Ok(PartsPage {
                upload,
                parts,
                truncated,
            })
        })
    }

    /// The unfinished uploads of a bucket for keys that start with `prefix`, behind `after` (a key
    /// and an upload id; an empty id means everything for that key is behind), at most `max`.
    pub fn list_uploads(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<(&str, &str)>,
        max: usize,
    ) -> Result<UploadsPage, Error> {
        self.inner.index.read(|connection| {
            let transaction = connection.unchecked_transaction()?;
            buckets::require(&transaction, bucket)?;
            let columns = UploadRow::COLUMNS;
            let mut statement = transaction.prepare_cached(&format!(
                "SELECT {columns} FROM uploads
                 WHERE bucket = ?1 AND key >= ?2 AND (?3 IS NULL OR key < ?3)
                   AND (?4 IS NULL OR key > ?4 OR (key = ?4 AND ?5 <> '' AND id > ?5))
                 ORDER BY key, id LIMIT ?6"
            ))?;
            let mut rows = statement.query(rusqlite::params![
                bucket,
                prefix.as_bytes(),
                listing::successor(prefix.as_bytes()),
                after.map(|(key, _)| key.as_bytes()),
                after.map_or("", |(_, id)| id),
                max as i64 + 1
            ])?;
            let mut uploads = Vec::new();
            while let Some(row) = rows.next()? {
                uploads.push(upload_of(UploadRow::read(row)?)?);
            }
            let truncated = uploads.len() > max;
            uploads.truncate(max);
            Ok(UploadsPage { uploads, truncated })
        })
    }
}

/// Takes the named parts out of `uploaded` and makes the rows of the object.
fn assemble(
    upload: UploadRow,
    parts: &[PartTag],
    uploaded: &mut HashMap<u32, PartRow>,
    options: &PutOptions,
    modified: i64,
) -> Result<(ObjectRow, Vec<SegmentRow>), Error> {
    if parts.is_empty() {
        return Err(Error::Invalid(
            "a multipart upload needs at least one part".into(),
        ));
    }
    if let Some(pair) = parts
        .windows(2)
        .find(|pair| pair[0].number >= pair[1].number)
    {
        let problem = PartProblem::OutOfOrder;
        return Err(Error::PartRefused {
            number: pair[1].number,
            problem,
        });
    }
    let mut segments = Vec::with_capacity(parts.len());
    let mut start = 0;
    for (at, tag) in parts.iter().enumerate() {
        let refused = |problem| Error::PartRefused {
            number: tag.number,
            problem,
        };
        let part = uploaded
            .remove(&tag.number)
            .filter(|part| part.etag == tag.etag)
            .ok_or_else(|| refused(PartProblem::Missing))?;
        if part.size < names::PART_BYTES_MIN && at + 1 < parts.len() {
            return Err(refused(PartProblem::TooSmall));
        }
        segments.push(SegmentRow {
            object: upload.id.clone(),
            start,
            number: tag.number,
            blob: part.blob,
            size: part.size,
            checksums: part.checksums,
        });
        start += part.size;
    }
    if start > names::OBJECT_BYTES_MAX {
        return Err(Error::TooLarge {
            what: "the object",
            limit: names::OBJECT_BYTES_MAX,
        });
    }
    let attributes = if options.attributes == Attributes::default() {
        upload.attributes
    } else {
        options.attributes.check()?;
        let begun: Attributes = serde_json::from_str(&upload.attributes)
            .map_err(|_| Error::Damaged(upload.location.clone()))?;
        encode(&Attributes {
            encryption: begun.encryption,
            ..options.attributes.clone()
        })?
    };
    let etag = multipart_etag(parts, &upload.location)?;
    let (location, object) = (upload.location, upload.id);
    Ok((
        ObjectRow {
            location,
            object,
            size: start,
            etag,
            modified,
            attributes,
        },
        segments,
    ))
}

fn multipart_etag(parts: &[PartTag], location: &Location) -> Result<String, Error> {
    let mut digest = Md5::new();
    for part in parts {
        digest.update(hex::decode(&part.etag).map_err(|_| Error::Damaged(location.clone()))?);
    }
    Ok(format!(
        "{}-{}",
        hex::encode(digest.finalize()),
        parts.len()
    ))
}

/// The object that this very upload has made, if it still stands under the key.
fn finished_before(
    connection: &Connection,
    location: &Location,
    upload: &str,
    parts: &[PartTag],
) -> Result<ObjectRow, Error> {
    let unknown = || Error::NoSuchUpload(upload.to_owned());
    buckets::require(connection, &location.bucket)?;
    let row = find(connection, location)?
        .filter(|row| row.object == upload)
        .ok_or_else(unknown)?;
    let same = multipart_etag(parts, location).is_ok_and(|etag| etag == row.etag);
    if same { Ok(row) } else { Err(unknown()) }
}

fn uploaded_parts(
    connection: &Connection,
    location: &Location,
    upload: &str,
) -> Result<HashMap<u32, PartRow>, Error> {
    let columns = PartRow::COLUMNS;
    let mut statement =
        connection.prepare_cached(&format!("SELECT {columns} FROM parts WHERE upload = ?1"))?;
    let mut rows = statement.query([upload])?;
    let mut parts = HashMap::new();
    while let Some(row) = rows.next()? {
        let part = PartRow::read(row, location)?;
        parts.insert(part.number, part);
    }
    Ok(parts)
}

/// Deletes an upload's rows; gives the blobs of the parts it had.
fn forget(transaction: &Transaction<'_>, upload: &str) -> Result<Vec<String>, Error> {
    let blobs = transaction
        .prepare_cached("DELETE FROM parts WHERE upload = ?1 RETURNING blob")?
        .query_map([upload], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    transaction
        .prepare_cached("DELETE FROM uploads WHERE id = ?1")?
        .execute([upload])?;
    Ok(blobs)
}

fn find_upload(
    connection: &Connection,
    location: &Location,
    id: &str,
) -> Result<Option<UploadRow>, Error> {
    let columns = UploadRow::COLUMNS;
    let mut statement =
        connection.prepare_cached(&format!("SELECT {columns} FROM uploads WHERE id = ?1"))?;
    let found = statement
        .query_row([id], |row| Ok(UploadRow::read(row)))
        .optional()?;
    Ok(found.transpose()?.filter(|row| row.location == *location))
}

fn require(connection: &Connection, location: &Location, id: &str) -> Result<UploadRow, Error> {
    buckets::require(connection, &location.bucket)?;
    find_upload(connection, location, id)?.ok_or_else(|| Error::NoSuchUpload(id.to_owned()))
}

fn upload_of(row: UploadRow) -> Result<UploadInfo, Error> {
    let attributes =
        serde_json::from_str(&row.attributes).map_err(|_| Error::Damaged(row.location.clone()))?;
    Ok(UploadInfo {
        id: row.id,
        location: row.location,
        started: Timestamp(row.started),
        attributes,
    })
}

fn part_of(row: PartRow, owner: &Location) -> Result<PartInfo, Error> {
    Ok(PartInfo {
        number: row.number,
        size: row.size,
        modified: Timestamp(row.modified),
        checksums: decode_map(&row.checksums, owner)?,
        etag: row.etag,
    })
}
