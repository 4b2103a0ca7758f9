//! The one interface between jobs and object storage.
//!
//! Blocking on purpose: it is called from job threads, next to arithmetic and files. A remote back
//! end drives its own runtime inside.

use crate::Location;
use crate::keys::KeyProblem;
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
    /// The bucket still holds objects or unfinished uploads.
    #[error("bucket {0} is not empty")]
    BucketNotEmpty(String),
    /// No such multipart upload (never started, finished or aborted).
    #[error("no multipart upload {0}")]
    NoSuchUpload(String),
    /// A part of a multipart upload cannot be used as asked.
    #[error("part {number}: {problem}")]
    PartRefused {
        /// The part's number.
        number: u32,
        /// What is wrong with it.
        problem: PartProblem,
    },
    /// The caller's condition on the object as it is now does not hold.
    #[error("the condition on {0} does not hold")]
    PreconditionFailed(Location),
    /// Something is larger than this store takes.
    #[error("{what} is over the limit of {limit}")]
    TooLarge {
        /// What is too large, in words.
        what: &'static str,
        /// The limit, in bytes or in pieces.
        limit: u64,
    },
    /// The request makes no sense to this store (a bad name, part or range).
    #[error("{0}")]
    Invalid(String),
    /// A key that encrypts cannot be used.
    #[error("{operation} on {key} was denied: {problem}")]
    Key {
        /// The KMS action, for example `kms:Decrypt`.
        operation: &'static str,
        /// The key as it was named.
        key: String,
        /// Why not.
        problem: KeyProblem,
    },
    /// A sync failed earlier, so nothing can be acknowledged any more. Only a restart helps.
    #[error("storage takes no more writes after a failed sync; restart to recover")]
    Poisoned,
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

/// What may be wrong with a part that a completion names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartProblem {
    /// It was not uploaded, or its entity tag is another.
    Missing,
    /// Parts must be named in ascending order, each once.
    OutOfOrder,
    /// Only the last part may be smaller than 5 MiB.
    TooSmall,
}

impl std::fmt::Display for PartProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PartProblem::Missing => "not uploaded, or its entity tag differs",
            PartProblem::OutOfOrder => "not in ascending order",
            PartProblem::TooSmall => "smaller than the minimum of 5 MiB",
        })
    }
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

    /// The ARN of the key that an object is encrypted with, if it is.
    fn encryption_key(&self, location: &Location) -> Result<Option<String>, Error>;

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

    /// Stores a whole object in one move, encrypted with the key that `key` names. Reading it needs
    /// nothing special but that key.
    fn put_with_key(
        &self,
        location: &Location,
        body: Bytes,
        key: &str,
    ) -> Result<ObjectMeta, Error>;

    /// Removes an object; removing what is not there succeeds.
    fn delete(&self, location: &Location) -> Result<(), Error>;

    /// Starts a multipart upload and gives its id.
    fn start_upload(&self, location: &Location) -> Result<String, Error>;

    /// Like [`Store::start_upload`], for an object that is encrypted with the key that `key` names.
    fn start_upload_with_key(&self, location: &Location, key: &str) -> Result<String, Error>;

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
