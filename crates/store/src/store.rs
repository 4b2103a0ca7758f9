//! The one interface between jobs and object storage.
//!
//! Blocking on purpose: it is called from job threads, next to arithmetic and files. A remote back
//! end drives its own runtime inside.

use crate::Location;
use bytes::Bytes;
use std::ops::Range;

/// What went wrong with an object. A caller acts differently on each variant.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such object.
    #[error("no object at {0}")]
    NotFound(Location),
    /// No such bucket.
    #[error("no bucket named {0}")]
    NoSuchBucket(String),
    /// The store refused: rights, key or policy.
    #[error("{operation} on {location} was denied")]
    Denied {
        /// The S3 action, for example `s3:GetObject`.
        operation: &'static str,
        /// On what.
        location: Location,
    },
    /// The object is not the one that was opened (its ETag changed).
    #[error("object {0} changed while it was being read")]
    Changed(Location),
    /// Stored bytes do not match their checksum.
    #[error("stored bytes of {0} are damaged: checksum mismatch")]
    Damaged(Location),
    /// The request makes no sense to this store (a bad name, part or range).
    #[error("{0}")]
    Invalid(String),
    /// The store is away or overloaded; trying again may help.
    #[error("storage is not available: {0}")]
    Unavailable(String),
    /// A disk error under the embedded store.
    #[error("i/o error at {path}: {source}")]
    Io {
        /// The file or directory.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The index database under the embedded store failed.
    #[error("object index: {0}")]
    Index(#[from] rusqlite::Error),
}

/// Facts about a stored object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Object key within its bucket.
    pub key: String,
    /// Length in bytes.
    pub size: u64,
    /// Entity tag without quotes.
    pub etag: String,
    /// Last modification, milliseconds since the epoch.
    pub modified: kindred_types::time::Timestamp,
}

/// One page of a listing, in byte order of the keys.
#[derive(Clone, Debug, Default)]
pub struct ListPage {
    /// The objects of the page.
    pub objects: Vec<ObjectMeta>,
    /// Whether there are more after the last one.
    pub truncated: bool,
}

/// A finished part of a multipart upload.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PartTag {
    /// 1 to 10,000.
    pub number: u32,
    /// Entity tag of the part, without quotes.
    pub etag: String,
}

/// Object storage as jobs see it. An acknowledged write is durable; a reader sees no object or the
/// whole object.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Facts about one object.
    fn head(&self, location: &Location) -> Result<ObjectMeta, Error>;

    /// The bytes `range` of an object, clipped to its end. With `etag`, fails with
    /// [`Error::Changed`] when the object is no longer that one.
    fn read(
        &self,
        location: &Location,
        range: Range<u64>,
        etag: Option<&str>,
    ) -> Result<Bytes, Error>;

    /// At most `max` objects whose key starts with `prefix`, after `after`, in byte order.
    fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<ListPage, Error>;

    /// Stores a whole object in one move.
    fn put(&self, location: &Location, body: Bytes) -> Result<ObjectMeta, Error>;

    /// Removes an object; removing what is not there succeeds.
    fn delete(&self, location: &Location) -> Result<(), Error>;

    /// Starts a multipart upload and gives its id.
    fn start_upload(&self, location: &Location) -> Result<String, Error>;

    /// Stores part `number` (1 to 10,000); the same number again replaces it. Parts other than the
    /// last are at least 5 MiB.
    fn upload_part(
        &self,
        location: &Location,
        upload: &str,
        number: u32,
        body: Bytes,
    ) -> Result<PartTag, Error>;

    /// Publishes the object made of `parts`, in one move.
    fn complete_upload(
        &self,
        location: &Location,
        upload: &str,
        parts: &[PartTag],
    ) -> Result<ObjectMeta, Error>;

    /// Forgets an upload and its parts; one that is not there is no error.
    fn abort_upload(&self, location: &Location, upload: &str) -> Result<(), Error>;
}
