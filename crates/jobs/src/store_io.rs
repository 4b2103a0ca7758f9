//! Objects as readers and writers.
//!
//! A reader pulls ranges and notices when the object changes under it. A writer publishes nothing
//! until it is finished: small bodies in one put, larger ones as a multipart upload whose parts grow
//! so that the limit of 10,000 suffices. Parts are sent while the next ones are filled, see `uploads`.

use crate::measure;
use crate::uploads::Uploads;
use bytes::{Buf, Bytes};
use kindred_store::{Error, Location, ObjectMeta, Store};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes pulled per range read.
const READ_BYTES: u64 = 4 << 20;
/// Size of the first parts of an upload.
const PART_BYTES: usize = 8 << 20;
/// Parts doubles in size after this many of one size: 10,000 parts hold more than 5 TiB.
const PARTS_PER_SIZE: u32 = 1000;

/// Reads one object, or a stretch of it, from start to end.
#[derive(Debug)]
pub struct ObjectReader {
    store: Arc<dyn Store>,
    location: Location,
    meta: ObjectMeta,
    position: u64,
    end: u64,
    buffer: Bytes,
}

impl ObjectReader {
    /// Starts at the first byte of the object that `meta` described when it was listed.
    pub fn new(store: Arc<dyn Store>, bucket: &str, meta: ObjectMeta) -> Self {
        let all = 0..meta.size;
        ObjectReader::of_range(store, bucket, meta, all)
    }

    /// The same for the bytes `range`, clipped to the object's end.
    pub fn of_range(
        store: Arc<dyn Store>,
        bucket: &str,
        meta: ObjectMeta,
        range: Range<u64>,
    ) -> Self {
        let location = Location::new(bucket, meta.key.clone());
        ObjectReader {
            store,
            location,
            position: range.start,
            end: range.end.min(meta.size),
            meta,
            buffer: Bytes::new(),
        }
    }
}

impl Read for ObjectReader {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if self.buffer.is_empty() && self.position < self.end {
            let end = self.end.min(self.position + READ_BYTES);
            self.buffer = self
                .store
                .read(&self.location, self.position..end, Some(&self.meta.etag))
                .map_err(io::Error::other)?;
            if self.buffer.is_empty() {
                return Err(io::Error::other(Error::Changed(self.location.clone())));
            }
            self.position += self.buffer.len() as u64;
            measure::bytes_read(self.buffer.len());
        }
        let count = target.len().min(self.buffer.len());
        self.buffer.copy_to_slice(&mut target[..count]);
        Ok(count)
    }
}

/// A multipart upload that was started.
#[derive(Debug)]
struct Upload {
    id: String,
    parts: Uploads,
}

/// Writes one object that appears when [`ObjectWriter::finish`] returns.
#[derive(Debug)]
pub struct ObjectWriter {
    store: Arc<dyn Store>,
    location: Location,
    buffer: Vec<u8>,
    upload: Option<Upload>,
    written: u64,
    journal: Option<PathBuf>,
    key: Option<String>,
}

impl ObjectWriter {
    /// A writer for `location`. The id of a multipart upload is noted in the file `journal` before
    /// its first part, so that [`abort_journaled`] can clean up after a killed process.
    pub fn new(store: Arc<dyn Store>, location: Location, journal: Option<PathBuf>) -> Self {
        ObjectWriter {
            store,
            location,
            buffer: Vec::new(),
            upload: None,
            written: 0,
            journal,
            key: None,
        }
    }

    /// Encrypts the object with `key`, if there is one.
    pub fn with_key(mut self, key: Option<String>) -> Self {
        self.key = key;
        self
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Publishes the object.
    pub fn finish(mut self) -> Result<ObjectMeta, Error> {
        let body = Bytes::from(std::mem::take(&mut self.buffer));
        measure::bytes_written(body.len());
        let Some(upload) = &mut self.upload else {
            return match &self.key {
                Some(key) => self.store.put_with_key(&self.location, body, key),
                None => self.store.put(&self.location, body),
            };
        };
        if !body.is_empty() {
            upload.parts.send(body)?;
        }
        let parts = upload.parts.finish()?;
        let meta = self
            .store
            .complete_upload(&self.location, &upload.id, &parts)?;
        self.upload = None;
        Ok(meta)
    }

    fn part_bytes(&self) -> usize {
        let parts = self
            .upload
            .as_ref()
            .map_or(0, |upload| upload.parts.parts());
        PART_BYTES << (parts / PARTS_PER_SIZE).min(9)
    }

    fn flush_part(&mut self) -> Result<(), Error> {
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => none.insert(start_upload(
                &self.store,
                &self.location,
                self.key.as_deref(),
                self.journal.as_deref(),
            )?),
        };
        let body = Bytes::from(std::mem::take(&mut self.buffer));
        measure::bytes_written(body.len());
        upload.parts.send(body)
    }
}

/// Starts an upload and notes it in the journal; if that fails, it is forgotten.
fn start_upload(
    store: &Arc<dyn Store>,
    location: &Location,
    key: Option<&str>,
    journal: Option<&Path>,
) -> Result<Upload, Error> {
    let id = match key {
        Some(key) => store.start_upload_with_key(location, key),
        None => store.start_upload(location),
    }?;
    let noted = match journal {
        Some(journal) => note_upload(journal, location, &id).map_err(|source| Error::Io {
            path: journal.to_owned(),
            source,
        }),
        None => Ok(()),
    };
    match noted.and_then(|()| Uploads::new(store, location, &id)) {
        Ok(parts) => Ok(Upload { id, parts }),
        Err(error) => {
            abort(store, location, &id);
            Err(error)
        }
    }
}

fn abort(store: &Arc<dyn Store>, location: &Location, upload: &str) {
    if let Err(error) = store.abort_upload(location, upload) {
        tracing::warn!(%location, %error, "cannot abort an unfinished upload");
    }
}

impl Write for ObjectWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let limit = self.part_bytes();
        let count = bytes.len().min(limit - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..count]);
        self.written += count as u64;
        if self.buffer.len() >= limit {
            self.flush_part().map_err(io::Error::other)?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for ObjectWriter {
    /// An upload that was not finished is forgotten, with its parts.
    fn drop(&mut self) {
        if let Some(Upload { id, parts }) = self.upload.take() {
            // First, so that no part arrives afterwards.
            drop(parts);
            abort(&self.store, &self.location, &id);
        }
    }
}

fn note_upload(journal: &Path, location: &Location, upload: &str) -> io::Result<()> {
    let line = serde_json::to_string(&(location, upload))?;
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(journal)?;
    file.write_all(format!("{line}\n").as_bytes())?;
    file.sync_data()
}

/// Aborts the uploads that an earlier process noted in `journal` and left open, then forgets them.
pub(crate) fn abort_journaled(store: &dyn Store, journal: &Path) -> Result<(), Error> {
    let Ok(text) = std::fs::read_to_string(journal) else {
        return Ok(());
    };
    for line in text.lines() {
        // A torn last line names an upload that never got a part.
        if let Ok((location, upload)) = serde_json::from_str::<(Location, String)>(line) {
            store.abort_upload(&location, &upload)?;
        }
    }
    std::fs::remove_file(journal).map_err(|source| Error::Io {
        path: journal.to_owned(),
        source,
    })
}
