//! The database file and its transactions.
//!
//! SQLite in WAL mode with `synchronous=FULL`: when a write returns, it is on disk. Writers queue
//! on one connection, readers have one of their own and never wait for writers.

use crate::{Error, PageStart, Record, Result};
use kindred_types::parts::Clock;
use kindred_types::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Format of the file this program writes.
const FORMAT: u32 = 1;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS resource (
  arn TEXT PRIMARY KEY, kind TEXT NOT NULL, parent TEXT NOT NULL, created INTEGER NOT NULL,
  body BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS resource_all ON resource (kind, created DESC, arn);
CREATE INDEX IF NOT EXISTS resource_parent ON resource (kind, parent, created DESC, arn);
CREATE TABLE IF NOT EXISTS tag_set (
  arn TEXT PRIMARY KEY, body BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS work (
  arn TEXT PRIMARY KEY, kind TEXT NOT NULL, queue TEXT NOT NULL, sequence INTEGER NOT NULL,
  token INTEGER NOT NULL, running INTEGER NOT NULL, lease_until INTEGER NOT NULL,
  not_before INTEGER NOT NULL, tries INTEGER NOT NULL, stop INTEGER NOT NULL,
  checkpoint BLOB NOT NULL, checkpoint_crc INTEGER NOT NULL, progress TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS work_order ON work (sequence);
";

/// The catalog of one data directory.
#[derive(Debug)]
pub struct Catalog {
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    clock: Arc<dyn Clock>,
}

impl Catalog {
    /// Opens the database at `path`, making it when it is not there. Leases of an earlier process
    /// are void: the caller holds the data directory's lock.
    ///
    /// # Errors
    /// [`Error::Newer`] when a newer program wrote it; the file is then left untouched.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let writer = Connection::open(path)?;
        let found: u32 = writer.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found > FORMAT {
            return Err(Error::Newer {
                path: path.to_owned(),
                found,
                known: FORMAT,
            });
        }
        configure(&writer)?;
        writer.execute_batch(SCHEMA)?;
        writer.pragma_update(None, "user_version", FORMAT)?;
        writer.execute(
            "UPDATE work SET running = 0, lease_until = 0, not_before = 0",
            [],
        )?;
        let reader = Connection::open(path)?;
        configure(&reader)?;
        reader.pragma_update(None, "query_only", true)?;
        Ok(Catalog {
            writer: Mutex::new(writer),
            reader: Mutex::new(reader),
            clock,
        })
    }

    /// Runs `body` in a read transaction: one consistent picture.
    pub fn read<T, E: From<Error>>(
        &self,
        body: impl FnOnce(&Tx<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let mut connection = lock(&self.reader);
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Deferred)
            .map_err(Error::from)?;
        let now = clock_floor(&transaction, self.clock.now())?;
        body(&Tx {
            inner: transaction,
            now,
            monotonic_ms: self.clock.monotonic_ms(),
        })
    }

    /// Runs `body` in a write transaction. It is durable when this returns `Ok`; on any error, also
    /// `body`'s own, nothing of it remains.
    pub fn write<T, E: From<Error>>(
        &self,
        body: impl FnOnce(&Tx<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let mut connection = lock(&self.writer);
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(Error::from)?;
        let now = clock_floor(&transaction, self.clock.now())?;
        let tx = Tx {
            inner: transaction,
            now,
            monotonic_ms: self.clock.monotonic_ms(),
        };
        let value = body(&tx)?;
        tx.inner
            .execute(
                "INSERT OR REPLACE INTO meta (key, value) VALUES ('clock', ?1)",
                params![now.0.to_string()],
            )
            .map_err(Error::from)?;
        tx.inner.commit().map_err(Error::from)?;
        Ok(value)
    }
}

fn configure(connection: &Connection) -> Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    Ok(())
}

/// A panic inside a transaction rolled it back when the transaction was dropped, so the connection
/// behind a poisoned lock is sound.
fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

fn clock_floor(transaction: &Transaction<'_>, now: Timestamp) -> Result<Timestamp> {
    let stored: Option<String> = transaction
        .query_row("SELECT value FROM meta WHERE key = 'clock'", [], |row| {
            row.get(0)
        })
        .optional()?;
    let floor = stored
        .and_then(|text| text.parse().ok())
        .unwrap_or(i64::MIN);
    Ok(Timestamp(now.0.max(floor)))
}

/// An open transaction.
#[derive(Debug)]
pub struct Tx<'c> {
    pub(crate) inner: Transaction<'c>,
    now: Timestamp,
    pub(crate) monotonic_ms: u64,
}

impl Tx<'_> {
    /// The time of this transaction: the clock's, but never before an earlier transaction's.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The record of kind `R` with this ARN. An ARN of another kind gives `None`.
    pub fn get<R: Record>(&self, arn: &str) -> Result<Option<R>> {
        let row = self
            .inner
            .prepare_cached(
                "SELECT arn, parent, created, body, crc FROM resource WHERE arn = ?1 AND kind = ?2",
            )?
            .query_row(params![arn, R::KIND], Row::read)
            .optional()?;
        row.map(|row| row.decode()).transpose()
    }

    /// Like [`Tx::get`], with [`Error::Missing`] when it is not there.
    pub fn need<R: Record>(&self, arn: &str) -> Result<R> {
        self.get(arn)?.ok_or_else(|| Error::Missing(arn.to_owned()))
    }

    /// Whether any record, of whatever kind, has this ARN.
    pub fn exists(&self, arn: &str) -> Result<bool> {
        Ok(self
            .inner
            .prepare_cached("SELECT 1 FROM resource WHERE arn = ?1")?
            .query_row(params![arn], |_| Ok(()))
            .optional()?
            .is_some())
    }

    /// Stores a new record.
    ///
    /// # Errors
    /// [`Error::Exists`] when the ARN is taken.
    pub fn insert<R: Record>(&self, record: &R) -> Result<()> {
        if self.exists(record.arn())? {
            return Err(Error::Exists(record.arn().to_owned()));
        }
        self.store(record)
    }

    /// Replaces a stored record.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not there.
    pub fn update<R: Record>(&self, record: &R) -> Result<()> {
        if self.get::<R>(record.arn())?.is_none() {
            return Err(Error::Missing(record.arn().to_owned()));
        }
        self.store(record)
    }

    fn store<R: Record>(&self, record: &R) -> Result<()> {
        let body = serde_json::to_vec(record).map_err(|source| Error::Format {
            arn: record.arn().to_owned(),
            source,
        })?;
        let parent = record.parent().unwrap_or("");
        let crc = checksum(record.arn(), R::KIND, parent, record.created(), &body);
        self.inner
            .prepare_cached(
                "INSERT OR REPLACE INTO resource (arn, kind, parent, created, body, crc)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                record.arn(),
                R::KIND,
                parent,
                record.created().0,
                body,
                crc
            ])?;
        Ok(())
    }

    /// Removes a record with its tags and pending work; one that is not there is no error.
    pub fn delete<R: Record>(&self, arn: &str) -> Result<()> {
        let removed = self
            .inner
            .prepare_cached("DELETE FROM resource WHERE arn = ?1 AND kind = ?2")?
            .execute(params![arn, R::KIND])?;
        if removed > 0 {
            self.inner
                .prepare_cached("DELETE FROM tag_set WHERE arn = ?1")?
                .execute([arn])?;
            self.inner
                .prepare_cached("DELETE FROM work WHERE arn = ?1")?
                .execute([arn])?;
        }
        Ok(())
    }

    /// At most `limit` records, newest first, ties by ARN; all of them or those under `parent`.
    pub fn list<R: Record>(
        &self,
        parent: Option<&str>,
        after: Option<&PageStart>,
        limit: usize,
    ) -> Result<Vec<R>> {
        let mut sql =
            "SELECT arn, parent, created, body, crc FROM resource WHERE kind = ?1".to_owned();
        if parent.is_some() {
            sql.push_str(" AND parent = ?2");
        }
        if after.is_some() {
            sql.push_str(" AND (created < ?3 OR (created = ?3 AND arn > ?4))");
        }
        sql.push_str(" ORDER BY created DESC, arn LIMIT ?5");
        let mut statement = self.inner.prepare_cached(&sql)?;
        // Parameters that the text does not name are bound all the same; SQLite numbers them.
        let values: [(usize, rusqlite::types::Value); 5] = [
            (1, R::KIND.to_owned().into()),
            (2, parent.unwrap_or("").to_owned().into()),
            (3, after.map_or(0, |start| start.created.0).into()),
            (
                4,
                after
                    .map_or(String::new(), |start| start.arn.clone())
                    .into(),
            ),
            (5, i64::try_from(limit).unwrap_or(i64::MAX).into()),
        ];
        for (index, value) in values {
            if index <= statement.parameter_count() {
                statement.raw_bind_parameter(index, value)?;
            }
        }
        let mut rows = statement.raw_query();
        let mut records = Vec::new();
        while let Some(row) = rows.next()? {
            records.push(Row::read(row)?.decode()?);
        }
        Ok(records)
    }

    /// All records of a kind, or those under `parent`, newest first.
    pub fn all<R: Record>(&self, parent: Option<&str>) -> Result<Vec<R>> {
        self.list(parent, None, usize::MAX)
    }

    /// How many records there are of a kind, or under `parent`.
    pub fn count<R: Record>(&self, parent: Option<&str>) -> Result<u64> {
        let count: i64 = match parent {
            Some(parent) => self
                .inner
                .prepare_cached("SELECT count(*) FROM resource WHERE kind = ?1 AND parent = ?2")?
                .query_row(params![R::KIND, parent], |row| row.get(0))?,
            None => self
                .inner
                .prepare_cached("SELECT count(*) FROM resource WHERE kind = ?1")?
                .query_row(params![R::KIND], |row| row.get(0))?,
        };
        Ok(count.unsigned_abs())
    }
}

struct Row {
    arn: String,
    parent: String,
    created: i64,
    body: Vec<u8>,
    crc: u32,
}

impl Row {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
        Ok(Row {
            arn: row.get(0)?,
            parent: row.get(1)?,
            created: row.get(2)?,
            body: row.get(3)?,
            crc: row.get(4)?,
        })
    }

    fn decode<R: Record>(self) -> Result<R> {
        let found = checksum(
            &self.arn,
            R::KIND,
            &self.parent,
            Timestamp(self.created),
            &self.body,
        );
        if found != self.crc {
            return Err(Error::Damaged(self.arn));
        }
        serde_json::from_slice(&self.body).map_err(|source| Error::Format {
            arn: self.arn,
            source,
        })
    }
}

fn checksum(arn: &str, kind: &str, parent: &str, created: Timestamp, body: &[u8]) -> u32 {
    let mut crc = crc32c::crc32c(arn.as_bytes());
    for part in [&b"|"[..], kind.as_bytes(), b"|", parent.as_bytes(), b"|"] {
        crc = crc32c::crc32c_append(crc, part);
    }
    crc = crc32c::crc32c_append(crc, &created.0.to_le_bytes());
    crc32c::crc32c_append(crc, body)
}

#[cfg(test)]
mod tests;
