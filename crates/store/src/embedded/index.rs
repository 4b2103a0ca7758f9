//! The index database: which names there are and which blobs they stand for.
//!
//! SQLite in WAL mode with `synchronous=FULL`: a commit that returned is on disk. SQLite does not
//! notice flipped bits, so every row carries a CRC32C of its values, checked on every read. One
//! connection writes; readers take theirs from a small pool.

use crate::{Error, Location};
use rusqlite::{Connection, OpenFlags, Row, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Version of the tables below; a database with a higher one is refused. From 2 on objects may be
/// encrypted, which is said in their attributes; the tables are those of 1.
const FORMAT: i64 = 2;
/// Idle read connections kept open.
const IDLE_READERS_MAX: usize = 8;
const BUSY_TIMEOUT_MS: u64 = 10_000;

const TABLES: &str = "
    CREATE TABLE buckets (
        name TEXT PRIMARY KEY, created INTEGER NOT NULL, policy TEXT, sum INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE objects (
        bucket TEXT NOT NULL, key BLOB NOT NULL, object TEXT NOT NULL, size INTEGER NOT NULL,
        etag TEXT NOT NULL, modified INTEGER NOT NULL, attributes TEXT NOT NULL,
        sum INTEGER NOT NULL, PRIMARY KEY (bucket, key)
    ) WITHOUT ROWID;
    CREATE TABLE segments (
        object TEXT NOT NULL, start INTEGER NOT NULL, number INTEGER NOT NULL, blob TEXT NOT NULL,
        size INTEGER NOT NULL, checksums TEXT NOT NULL, sum INTEGER NOT NULL,
        PRIMARY KEY (object, start)
    ) WITHOUT ROWID;
    CREATE INDEX segments_blob ON segments (blob);
    CREATE TABLE uploads (
        id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key BLOB NOT NULL, started INTEGER NOT NULL,
        attributes TEXT NOT NULL, sum INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX uploads_key ON uploads (bucket, key, id);
    CREATE TABLE parts (
        upload TEXT NOT NULL, number INTEGER NOT NULL, blob TEXT NOT NULL, size INTEGER NOT NULL,
        etag TEXT NOT NULL, modified INTEGER NOT NULL, checksums TEXT NOT NULL,
        sum INTEGER NOT NULL, PRIMARY KEY (upload, number)
    ) WITHOUT ROWID;
    CREATE INDEX parts_blob ON parts (blob);
";

#[derive(Debug)]
pub(crate) struct Index {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
}

impl Index {
    /// Opens or makes the database at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        // SQLite gives its side files the mode of the database, so that is made first, private.
        let mut options = std::fs::OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options
            .create(true)
            .append(true)
            .open(path)
            .map_err(|source| Error::Io {
                path: path.to_path_buf(),
                source,
            })?;
        let mut writer = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let format: i64 = writer.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if format > FORMAT {
            return Err(Error::Invalid(format!(
                "{} was written by a newer version (format {format}, this one knows {FORMAT})",
                path.display()
            )));
        }
        let mode: String = writer.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(Error::Invalid(format!(
                "{} cannot use a write-ahead log",
                path.display()
            )));
        }
        writer.pragma_update(None, "synchronous", "FULL")?;
        if format == 0 {
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
            transaction.commit()?;
        } else if format < FORMAT {
            writer.pragma_update(None, "user_version", FORMAT)?;
        }
        Ok(Index {
            path: path.to_path_buf(),
            writer: Mutex::new(writer),
            readers: Mutex::default(),
        })
    }

    /// The one writing connection.
    pub(crate) fn writer(&self) -> MutexGuard<'_, Connection> {
        // A panic while it was held rolled its transaction back, so the connection is good.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on a read connection.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let idle = self
            .readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        let result = work(&connection);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < IDLE_READERS_MAX {
            readers.push(connection);
        }
        result
    }
}

/// Begins a transaction that may write.
pub(crate) fn begin(connection: &mut Connection) -> Result<Transaction<'_>, Error> {
    Ok(connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, Error> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_TIMEOUT_MS))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Checksum of a row's values, in the order they are given.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RowSum(u32);

impl RowSum {
    pub(crate) fn new(table: &str) -> Self {
        RowSum::default().bytes(table.as_bytes())
    }

    pub(crate) fn bytes(self, value: &[u8]) -> Self {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        let sum = crc32c::crc32c_append(self.0, &(value.len() as u64).to_le_bytes());
        RowSum(crc32c::crc32c_append(sum, value))
    }

    pub(crate) fn text(self, value: &str) -> Self {
        self.bytes(value.as_bytes())
    }

    pub(crate) fn int(self, value: i64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn optional(self, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.int(1).text(value),
            None => self.int(0),
        }
    }

    pub(crate) fn value(self) -> i64 {
        i64::from(self.0)
    }
}

/// A row of `objects`.
#[derive(Clone, Debug)]
pub(crate) struct ObjectRow {
    pub(crate) location: Location,
    pub(crate) object: String,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) modified: i64,
    pub(crate) attributes: String,
}

impl ObjectRow {
    pub(crate) const COLUMNS: &str = "bucket, key, object, size, etag, modified, attributes, sum";

    pub(crate) fn sum(&self) -> i64 {
        RowSum::new("objects")
            .text(&self.location.bucket)
            .text(&self.location.key)
            .text(&self.object)
            .int(self.size as i64)
            .text(&self.etag)
            .int(self.modified)
            .text(&self.attributes)
            .value()
    }

    pub(crate) fn read(row: &Row<'_>) -> Result<Self, Error> {
        let bucket: String = row.get(0)?;
        let key = utf8(row.get(1)?, &bucket)?;
        let found = ObjectRow {
            location: Location::new(bucket, key),
            object: row.get(2)?,
            size: unsigned(row.get(3)?),
            etag: row.get(4)?,
            modified: row.get(5)?,
            attributes: row.get(6)?,
        };
        checked(found.sum(), row.get(7)?, &found.location)?;
        Ok(found)
    }

    pub(crate) fn insert(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        transaction
            .prepare_cached("INSERT INTO objects VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
            .execute(rusqlite::params![
                self.location.bucket,
                self.location.key.as_bytes(),
                self.object,
                self.size as i64,
                self.etag,
                self.modified,
                self.attributes,
                self.sum()
            ])?;
        Ok(())
    }
}

/// A row of `segments`: a stretch of an object's content and the blob that holds it.
#[derive(Clone, Debug)]
pub(crate) struct SegmentRow {
    pub(crate) object: String,
    pub(crate) start: u64,
    /// Part number; 0 where the object was not uploaded in parts.
    pub(crate) number: u32,
    pub(crate) blob: String,
    pub(crate) size: u64,
    pub(crate) checksums: String,
}

impl SegmentRow {
    pub(crate) const COLUMNS: &str = "object, start, number, blob, size, checksums, sum";

    fn sum(&self) -> i64 {
        RowSum::new("segments")
            .text(&self.object)
            .int(self.start as i64)
            .int(i64::from(self.number))
            .text(&self.blob)
            .int(self.size as i64)
            .text(&self.checksums)
            .value()
    }

    pub(crate) fn read(row: &Row<'_>, owner: &Location) -> Result<Self, Error> {
        let found = SegmentRow {
            object: row.get(0)?,
            start: unsigned(row.get(1)?),
            number: row.get(2)?,
            blob: row.get(3)?,
            size: unsigned(row.get(4)?),
            checksums: row.get(5)?,
        };
        checked(found.sum(), row.get(6)?, owner)?;
        Ok(found)
    }

    pub(crate) fn insert(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        transaction
            .prepare_cached("INSERT INTO segments VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
            .execute(rusqlite::params![
                self.object,
                self.start as i64,
                self.number,
                self.blob,
                self.size as i64,
                self.checksums,
                self.sum()
            ])?;
        Ok(())
    }
}

/// A row of `uploads`.
#[derive(Clone, Debug)]
pub(crate) struct UploadRow {
    pub(crate) id: String,
    pub(crate) location: Location,
    pub(crate) started: i64,
    pub(crate) attributes: String,
}

impl UploadRow {
    pub(crate) const COLUMNS: &str = "id, bucket, key, started, attributes, sum";

    fn sum(&self) -> i64 {
        RowSum::new("uploads")
            .text(&self.id)
            .text(&self.location.bucket)
            .text(&self.location.key)
            .int(self.started)
            .text(&self.attributes)
            .value()
    }

    pub(crate) fn read(row: &Row<'_>) -> Result<Self, Error> {
        let bucket: String = row.get(1)?;
        let key = utf8(row.get(2)?, &bucket)?;
        let found = UploadRow {
            id: row.get(0)?,
            location: Location::new(bucket, key),
            started: row.get(3)?,
            attributes: row.get(4)?,
        };
        checked(found.sum(), row.get(5)?, &found.location)?;
        Ok(found)
    }

    pub(crate) fn insert(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        transaction
            .prepare_cached("INSERT INTO uploads VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(rusqlite::params![
                self.id,
                self.location.bucket,
                self.location.key.as_bytes(),
                self.started,
                self.attributes,
                self.sum()
            ])?;
        Ok(())
    }
}

/// A row of `parts`.
#[derive(Clone, Debug)]
pub(crate) struct PartRow {
    pub(crate) upload: String,
    pub(crate) number: u32,
    pub(crate) blob: String,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) modified: i64,
    pub(crate) checksums: String,
}

impl PartRow {
    pub(crate) const COLUMNS: &str = "upload, number, blob, size, etag, modified, checksums, sum";

    fn sum(&self) -> i64 {
        RowSum::new("parts")
            .text(&self.upload)
            .int(i64::from(self.number))
            .text(&self.blob)
            .int(self.size as i64)
            .text(&self.etag)
            .int(self.modified)
            .text(&self.checksums)
            .value()
    }

    pub(crate) fn read(row: &Row<'_>, owner: &Location) -> Result<Self, Error> {
        let found = PartRow {
            upload: row.get(0)?,
            number: row.get(1)?,
            blob: row.get(2)?,
            size: unsigned(row.get(3)?),
            etag: row.get(4)?,
            modified: row.get(5)?,
            checksums: row.get(6)?,
        };
        checked(found.sum(), row.get(7)?, owner)?;
        Ok(found)
    }

    pub(crate) fn insert(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO parts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
            .execute(rusqlite::params![
                self.upload,
                self.number,
                self.blob,
                self.size as i64,
                self.etag,
                self.modified,
                self.checksums,
                self.sum()
            ])?;
        Ok(())
    }
}

/// Compares a row's checksum with the stored one.
pub(crate) fn checked(computed: i64, stored: i64, owner: &Location) -> Result<(), Error> {
    if computed == stored {
        Ok(())
    } else {
        Err(Error::Damaged(owner.clone()))
    }
}

fn utf8(key: Vec<u8>, bucket: &str) -> Result<String, Error> {
    String::from_utf8(key).map_err(|_| Error::Damaged(Location::new(bucket, "")))
}

fn unsigned(value: i64) -> u64 {
    // A negative size can only be a flipped bit; it then fails the row's checksum.
    value as u64
}
