//! The embedded store: buckets and objects in one directory.
//!
//! Blob files under random ids hold content; a database holds names, entity tags, metadata and
//! which blobs make up which object. So a key never becomes a path, `a` and `a/b` coexist, and
//! listing is in byte order. A write is acknowledged after its blob is synced, renamed, its
//! directory synced and its row committed. Whatever a crash leaves half done has no row and is
//! removed at the next start. A finished multipart object refers to its parts; nothing is copied.
//!
//! Objects may be encrypted with a key of a [`KeyService`]: then nothing of their content is on disk
//! in the clear.
//!
//! Files: [`blob`] the file format, `disk` the steps to durability, `index` the tables, `sealing`
//! encrypted objects; `buckets`, `objects`, `listing`, `multipart` what can be done with them.

mod blob;
mod buckets;
mod disk;
mod index;
mod listing;
mod multipart;
mod objects;
mod pins;
mod sealing;

pub use blob::BlobWriter;
pub use buckets::BucketInfo;
pub use disk::{DiskStep, DiskWatch};
pub use listing::{ListQuery, Listing};
pub use multipart::{PartInfo, PartsPage, UploadInfo, UploadsPage};
pub use objects::{Attributes, Condition, ObjectInfo, ObjectReader, PartExtent, PutOptions};
pub use sealing::Encryption;

use crate::keys::{DataKey, KeyService, NoKeys};
use crate::seal::Sealer;
use crate::store::{Error, ListPage, ObjectMeta, PartTag, Store};
use crate::{Location, names};
use bytes::Bytes;
use disk::{Disk, NoWatch};
use index::Index;
use kindred_types::parts::{Clock, Random, random_hex};
use pins::Pins;
use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Buckets and objects in one directory. Cloning gives another handle on the same store.
#[derive(Clone, Debug)]
pub struct EmbeddedStore {
    inner: Arc<Inner>,
    keys: Arc<dyn KeyService>,
}

#[derive(Debug)]
struct Inner {
    disk: Arc<Disk>,
    index: Index,
    pins: Arc<Pins>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl EmbeddedStore {
    /// Opens the store under `dir` (`objects/` and `objects.db`), making it where there is none and
    /// removing what a crash left over. A second process on the same directory is refused.
    pub fn open(dir: &Path, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<Self, Error> {
        Self::open_watched(dir, clock, random, Arc::new(NoWatch))
    }

    /// Like [`EmbeddedStore::open`], with somebody who sees every step of a write and may fail it.
    pub fn open_watched(
        dir: &Path,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        watch: Arc<dyn DiskWatch>,
    ) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::Io {
            path: dir.to_path_buf(),
            source,
        };
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(dir).map_err(failed)?;
        let disk = Arc::new(Disk::open(&dir.join("objects"), watch)?);
        let index = Index::open(&dir.join("objects.db"))?;
        std::fs::File::open(dir)
            .and_then(|handle| handle.sync_all())
            .map_err(failed)?;
        let pins = Arc::new(Pins::new(Arc::clone(&disk)));
        let store = EmbeddedStore {
            inner: Arc::new(Inner {
                disk,
                index,
                pins,
                clock,
                random,
            }),
            keys: Arc::new(NoKeys),
        };
        store.remove_orphans()?;
        Ok(store)
    }

    /// The same store, which encrypts with the keys of a service. Without one there are no keys.
    pub fn with_keys(mut self, keys: Arc<dyn KeyService>) -> Self {
        self.keys = keys;
        self
    }

    /// Whether a sync has failed, after which nothing can be written until a restart. Whoever
    /// serves this store should stop when it is so.
    pub fn is_poisoned(&self) -> bool {
        self.inner.disk.is_poisoned()
    }

    /// Starts taking content. It belongs to no key until it is given to [`EmbeddedStore::put_blob`]
    /// or [`EmbeddedStore::put_part`].
    pub fn writer(&self) -> Result<BlobWriter, Error> {
        BlobWriter::create(Arc::clone(&self.inner.disk), self.random_id())
    }

    /// Starts taking the content of the object at `location`, which is encrypted with `key` from its
    /// first byte on.
    pub fn writer_with_key(&self, location: &Location, key: &str) -> Result<BlobWriter, Error> {
        self.sealed_writer(self.new_data_key(location, key)?)
    }

    /// Starts taking the content of a part of an upload, encrypted if the upload is.
    pub fn part_writer(&self, location: &Location, upload: &str) -> Result<BlobWriter, Error> {
        match self.upload(location, upload)?.attributes.encryption {
            None => self.writer(),
            Some(encryption) => self.sealed_writer(self.unlock(location, &encryption)?),
        }
    }

    fn sealed_writer(&self, data_key: DataKey) -> Result<BlobWriter, Error> {
        let id = self.random_id();
        let sealer = Sealer::new(&data_key, &id, &*self.inner.random)
            .map_err(|_| Error::Invalid("the wrapped data key is too long".into()))?;
        let writer = BlobWriter::create(Arc::clone(&self.inner.disk), id)?;
        Ok(writer.sealed(data_key, sealer))
    }

    fn random_id(&self) -> String {
        random_hex(&*self.inner.random, 16)
    }

    fn now(&self) -> i64 {
        self.inner.clock.now().0
    }

    /// Runs `work` in a transaction and commits it. When this returns `Ok`, it is on disk.
    fn write<T>(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let disk = &self.inner.disk;
        disk.check_writable()?;
        let mut writer = self.inner.index.writer();
        let transaction = index::begin(&mut writer)?;
        let value = work(&transaction)?;
        if let Err(source) = disk.watch(DiskStep::Commit) {
            if source.kind() != io::ErrorKind::StorageFull {
                disk.poison("commit");
            }
            return Err(Error::Io {
                path: "objects.db".into(),
                source,
            });
        }
        if let Err(error) = transaction.commit() {
            // A full disk is rolled back and known to be; after anything else nobody knows.
            if error.sqlite_error_code() != Some(rusqlite::ErrorCode::DiskFull) {
                disk.poison("commit");
            }
            return Err(error.into());
        }
        Ok(value)
    }

    /// Removes blobs that no row names: what a crash left between rename and commit, or between
    /// commit and removal.
    fn remove_orphans(&self) -> Result<(), Error> {
        let mut removed = 0u64;
        for first in 0..=255u8 {
            let found = self.inner.disk.blobs(first)?;
            if found.is_empty() {
                continue;
            }
            let named = self.named_blobs(first)?;
            for id in found.iter().filter(|id| !named.contains(*id)) {
                self.inner.disk.remove(id);
                removed += 1;
            }
        }
        if removed > 0 {
            tracing::info!(removed, "removed blobs that an interrupted write had left");
        }
        Ok(())
    }

    fn named_blobs(&self, first: u8) -> Result<HashSet<String>, Error> {
        let from = format!("{first:02x}");
        // 'g' comes after every hexadecimal digit.
        let to = format!("{first:02x}g");
        self.inner.index.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT blob FROM segments WHERE blob >= ?1 AND blob < ?2
                 UNION SELECT blob FROM parts WHERE blob >= ?1 AND blob < ?2",
            )?;
            let rows = statement.query_map([from, to], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

impl Store for EmbeddedStore {
    fn head(&self, location: &Location) -> Result<ObjectMeta, Error> {
        Ok(self.object(location)?.meta)
    }

    fn encryption_key(&self, location: &Location) -> Result<Option<String>, Error> {
        let encryption = self.object(location)?.attributes.encryption;
        Ok(encryption.map(|encryption| encryption.key_arn))
    }

    fn read(
        &self,
        location: &Location,
        range: Range<u64>,
        etag: Option<&str>,
    ) -> Result<Bytes, Error> {
        let mut reader = self.open_object(location, etag)?;
        Ok(reader.read(range)?.into())
    }

    fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<ListPage, Error> {
        let query = ListQuery {
            prefix,
            delimiter: None,
            after,
            max,
        };
        let listing = self.list_objects(bucket, &query)?;
        Ok(ListPage {
            objects: listing
                .objects
                .into_iter()
                .map(|object| object.meta)
                .collect(),
            truncated: listing.truncated,
        })
    }

    fn put(&self, location: &Location, body: Bytes) -> Result<ObjectMeta, Error> {
        names::check_key(&location.key)?;
        let mut writer = self.writer()?;
        writer.write(&body)?;
        Ok(self.put_blob(location, writer, PutOptions::default())?.meta)
    }

    fn put_with_key(
        &self,
        location: &Location,
        body: Bytes,
        key: &str,
    ) -> Result<ObjectMeta, Error> {
        names::check_key(&location.key)?;
        let mut writer = self.writer_with_key(location, key)?;
        writer.write(&body)?;
        Ok(self.put_blob(location, writer, PutOptions::default())?.meta)
    }

    fn delete(&self, location: &Location) -> Result<(), Error> {
        self.delete_object(location).map(|_| ())
    }

    fn start_upload(&self, location: &Location) -> Result<String, Error> {
        self.create_upload(location, &Attributes::default())
    }

    fn start_upload_with_key(&self, location: &Location, key: &str) -> Result<String, Error> {
        self.create_upload_with_key(location, &Attributes::default(), key)
    }

    fn upload_part(
        &self,
        location: &Location,
        upload: &str,
        number: u32,
        body: Bytes,
    ) -> Result<PartTag, Error> {
        names::check_part_number(number)?;
        let mut writer = self.part_writer(location, upload)?;
        writer.write(&body)?;
        let part = self.put_part(location, upload, number, writer, &Default::default())?;
        Ok(PartTag {
            number,
            etag: part.etag,
        })
    }

    fn complete_upload(
        &self,
        location: &Location,
        upload: &str,
        parts: &[PartTag],
    ) -> Result<ObjectMeta, Error> {
        Ok(self
            .complete(location, upload, parts, PutOptions::default())?
            .meta)
    }

    fn abort_upload(&self, location: &Location, upload: &str) -> Result<(), Error> {
        match self.abort(location, upload) {
            Err(Error::NoSuchUpload(_)) => Ok(()),
            other => other,
        }
    }
}
